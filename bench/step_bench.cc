// Whole steps of the made-up decoder of 1.1 billion parameters: prompts, decoding at several
// depths, and batches.
//
//   step_bench [CODEC [XQ [THREADS [LAYERS [BACKEND [PROMPT]]]]]]
//                       (q4_k i8/32, all cores, 22, cpu, prompts of 512 tokens; XQ "none": f32)
//
// Every figure is the best of a few steps, by wall clock and by CPU time over threads, which on a
// shared machine is what a quiet one would show for work that memory does not bound. Speeds are
// also fractions of what the machine allowed in the same run.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "backend/bound_executor.h"
#include "backend/cpu/limits.h"
#include "backend/tiny_llama.h"
#include "bench/made_up_llama.h"
#include "env/clock.h"

namespace tg {

namespace {

constexpr i64 kContext = 2'560;
constexpr i64 kPageTokens = 16;
constexpr i64 kSequences = 32;
constexpr i64 kRepeats = 3;

struct Setting {
  std::string codec = "q4_k";
  std::string xq = "i8/32";
  i32 threads = 1;
  i64 layers = 22;
  std::string backend = "cpu";
  i64 prompt = 512;
};

// `sequences` sequences of `past` keys with `fresh` new tokens each, a row of logits for each.
backend::PackedStep batch_of(i64 sequences, i64 past, i64 fresh) {
  backend::PackedStep batch;
  i64 pages_each = (past + fresh + kPageTokens - 1) / kPageTokens;
  for (i64 s = 0; s < sequences; ++s) {
    std::vector<i32> ids;
    for (i64 i = 0; i < fresh; ++i) ids.push_back(static_cast<i32>((s + i) % 1'000));
    batch.add(ids, past, backend::pages_from(s * pages_each, pages_each), 1);
  }
  return batch;
}

f64 cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<f64>(now.tv_sec) + 1e-9 * static_cast<f64>(now.tv_nsec);
}

struct Times {
  f64 wall = 1e9, cpu = 1e9;
};

Result<Times> time_step(backend::Executor& executor, const backend::PackedStep& batch,
                        i32 threads) {
  SystemClock clock;
  Times best;
  for (i64 i = 0; i < kRepeats; ++i) {
    f64 cpu = cpu_seconds();
    i64 start = clock.monotonic_ns();
    TG_TRY(executor.run(batch.view()));
    best.wall = std::min(best.wall, 1e-9 * static_cast<f64>(clock.monotonic_ns() - start));
    best.cpu = std::min(best.cpu, (cpu_seconds() - cpu) / threads);
  }
  return best;
}

Status bench(const Setting& setting) {
  i32 threads = setting.threads;
  isa::VerifiedProgram program = made_up_llama(setting.codec, setting.xq, setting.layers);
  MadeUpWeights weights(program.program());
  backend::ExecutorLimits limits{.tokens_max = 512,
                                 .sequences_max = kSequences,
                                 .rows_max = kSequences,
                                 .context_max = kContext,
                                 .kv_pages = kContext / kPageTokens * 2,
                                 .threads = threads};
  TG_ASSIGN(std::unique_ptr<backend::Executor> executor,
            backend::make_executor(setting.backend, program, weights.table, limits));
  fmt::print("{} xq={} threads={} layers={} {}\n", setting.codec, setting.xq, threads,
             setting.layers, executor->device_name());
  backend::cpu::Pool pool(threads);
  TG_ASSIGN(backend::cpu::Limits machine,
            backend::cpu::measure_limits(*backend::cpu::supported_variants()[0], pool));
  f64 bytes = static_cast<f64>(program.cost().per_pass[unit::kWBytes] + program.cost().head_bytes);
  fmt::print("reads {:.1f} GB/s, f32 {:.0f}, bf16 {:.0f}, int8 {:.0f} Gop/s\n",
             machine.read_bytes * 1e-9, machine.f32_ops * 1e-9, machine.bf16_ops * 1e-9,
             machine.int8_ops * 1e-9);
  struct Case {
    const char* name;
    i64 sequences, past, fresh;
  };
  for (const Case& c :
       {Case{"prefill", 1, 0, setting.prompt}, Case{"prefill at 2048", 1, 2'048, setting.prompt},
        Case{"decode at 0", 1, 0, 1}, Case{"decode at 2048", 1, 2'048, 1},
        Case{"decode x8", 8, 64, 1}, Case{"decode x32", 32, 64, 1}}) {
    TG_ASSIGN(Times best, time_step(*executor, batch_of(c.sequences, c.past, c.fresh), threads));
    f64 tokens = static_cast<f64>(c.sequences * c.fresh);
    fmt::print(
        "{:<20} {:>9.2f} ms {:>8.1f} tok/s {:>6.3f} of reads | by CPU {:>9.2f} ms {:>8.1f} tok/s\n",
        c.name, best.wall * 1e3, tokens / best.wall, bytes / best.wall / machine.read_bytes,
        best.cpu * 1e3, tokens / best.cpu);
  }
  return {};
}

}  // namespace

}  // namespace tg

int main(int argc, char** argv) {
  tg::Setting setting;
  setting.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  if (argc > 1 && argv[1][0] != '-') setting.codec = argv[1];  // ./dev bench passes a filter to all
  if (argc > 2) setting.xq = argv[2];
  if (argc > 3) setting.threads = std::atoi(argv[3]);
  if (argc > 4) setting.layers = std::atoi(argv[4]);
  if (argc > 5) setting.backend = argv[5];
  if (argc > 6) setting.prompt = std::atoi(argv[6]);
  tg::Status status = tg::bench(setting);
  if (!status) fmt::print("{}\n", status.error().message);
  return status ? 0 : 1;
}
