#include "apps/bench_load.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "apps/bench_report.h"
#include "apps/loaded_model.h"
#include "apps/progress.h"
#include "backend/packed_step.h"
#include "env/clock.h"

namespace tg::apps {

namespace {

constexpr f64 kMiB = 1 << 20;

f64 ms_between(i64 from_ns, i64 to_ns) {
  return static_cast<f64>(to_ns - from_ns) * 1e-6;
}

// Of this process, now; 0 where /proc says nothing.
f64 resident_mib() {
  std::ifstream file("/proc/self/status");
  std::string word;
  while (file >> word) {
    f64 kib = 0;
    if (word == "VmRSS:" && file >> kib) return kib / 1'024;
  }
  return 0;
}

f64 file_mib(const std::string& path) {
  std::error_code failure;
  u64 bytes = std::filesystem::file_size(path, failure);
  return failure ? 0 : static_cast<f64>(bytes) / kMiB;
}

struct Load {
  f64 file_ms = 0;    // the file's header, vocabulary and program
  f64 engine_ms = 0;  // weights in their place, buffers
  f64 token_ms = 0;   // a first token
  f64 resident = 0;   // MiB
  f64 keys = 0;       // MiB of the KV pool
  i64 packed = 0;     // 1: the weights had to be packed
};

Result<Load> load_once(const LoadBenchOptions& o) {
  SystemClock clock;
  Load out;
  i64 began_ns = clock.monotonic_ns();
  TG_ASSIGN(LoadedModel loaded, load_model(o.model));
  i64 opened_ns = clock.monotonic_ns();
  i64 context = std::min(o.kv_tokens, loaded.model->program().program().bounds.context);
  Progress bar("packing " + loaded.id);
  backend::PackedFile packed = packed_file_of(*loaded.model);
  packed.progress = [&](u64 done, u64 total) {
    out.packed = 1;
    bar.update(done, total);
  };
  TG_ASSIGN(std::unique_ptr<backend::Executor> executor,
            backend::make_executor(
                "cpu", loaded.model->program(), loaded.model->weights(),
                {.context_max = context, .kv_pages = (o.kv_tokens + 15) / 16, .threads = o.threads},
                packed));
  loaded.model->release_weights();
  i64 placed_ns = clock.monotonic_ns();
  backend::PackedStep step;
  std::vector<i32> ids = {1};
  step.add(ids, 0, backend::pages_from(0, 1), 1, executor->page_tokens());
  TG_TRY(executor->run(step.view()));
  out.file_ms = ms_between(began_ns, opened_ns);
  out.engine_ms = ms_between(opened_ns, placed_ns);
  out.token_ms = ms_between(placed_ns, clock.monotonic_ns());
  out.resident = resident_mib();
  out.keys = static_cast<f64>(executor->page_bytes() * executor->limits().kv_pages) / kMiB;
  return out;
}

}  // namespace

Status bench_load(const LoadBenchOptions& o) {
  f64 file = file_mib(o.model);
  f64 bare = resident_mib();
  Report report("load",
                {"load", "weights packed", "file ms", "engine ms", "both ms", "first token ms",
                 "file MiB", "KV pool MiB", "resident MiB", "resident beyond file and pool"});
  report.note("model", o.model);
  report.note("resident MiB of the bare process", bare);
  for (i64 i = 0; i < o.repeats; ++i) {
    TG_ASSIGN(Load load, load_once(o));
    report.row({std::to_string(i + 1), load.packed, load.file_ms, load.engine_ms,
                load.file_ms + load.engine_ms, load.token_ms, file, load.keys, load.resident,
                load.resident - file - load.keys});
  }
  report.print(o.json);
  return report.plot(o.svg);
}

}  // namespace tg::apps
