// The engine under any order of submissions, extensions, cancellations and steps: bytes choose
// them. Its own assertions are the oracle, and the fake device's, which ends requests with an error
// if a batch breaks the contract.
#include <algorithm>

#include "base/assert.h"
#include "engine/engine.h"
#include "engine/fake_executor.h"

namespace tg::engine {
namespace {

class Bytes {
 public:
  Bytes(const u8* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  i64 below(i64 bound) {
    if (left_ == 0) return 0;
    --left_;
    return *data_++ % bound;
  }

 private:
  const u8* data_;
  std::size_t left_;
};

// Moves by a tick at each reading, and with the device's steps.
class FakeClock final : public Clock {
 public:
  Timestamp now() override { return {}; }
  i64 monotonic_ns() override { return ++ns; }
  i64 ns = 0;
};

EngineRequest read_request(Bytes& bytes, u64 id) {
  EngineRequest request{.id = id};
  i64 length = bytes.below(24);
  i64 plain = bytes.below(24);
  for (i64 i = 0; i < length; ++i) {
    request.prompt.push_back(i < plain ? 1 : static_cast<i32>(bytes.below(3)));
  }
  request.max_tokens = bytes.below(30);
  request.sampling.temperature = static_cast<f32>(bytes.below(3));
  request.sampling.top_k = static_cast<i32>(bytes.below(5));
  request.stop_tokens = {static_cast<i32>(bytes.below(16))};
  request.cache_salt = static_cast<u64>(bytes.below(2));
  request.priority = static_cast<Priority>(bytes.below(3));
  request.deadline_ns = bytes.below(100);
  request.funded_tokens = bytes.below(30);
  return request;
}

void run(Bytes bytes) {
  FakeExecutor executor({.vocabulary = 16,
                         .page_tokens = 1 + bytes.below(5),
                         .limits = {.tokens_max = 1 + bytes.below(40),
                                    .sequences_max = 1 + bytes.below(8),
                                    .rows_max = 1 + bytes.below(8),
                                    .context_max = 48,
                                    .kv_pages = 1 + bytes.below(40),
                                    .swap_pages = bytes.below(12)},
                         .habit = static_cast<u64>(bytes.below(256))});
  unit::CostMatrix matrix;
  matrix.per_token[unit::kMmF16] = 3;
  FakeClock clock;
  Engine engine(executor, matrix,
                {.running_max = 1 + bytes.below(8),
                 .waiting_max = 1 + bytes.below(16),
                 .step_tokens_max = 1 + bytes.below(40),
                 .step_target_ns = bytes.below(50),
                 .patience_ns = {bytes.below(50), bytes.below(50), bytes.below(50)},
                 .funds_wait_ns = bytes.below(3) == 0 ? 0 : bytes.below(200),
                 .funds_keep_ns = bytes.below(100),
                 .preemptions_max = bytes.below(4),
                 .output_guess = bytes.below(40),
                 .draft_tokens_max = bytes.below(6),
                 .prefix_cache = bytes.below(4) != 0},
                clock);
  executor.time_ns = &clock.ns;
  executor.time.ns_per_step = static_cast<f64>(1 + bytes.below(20));
  executor.time.ns_per_token = static_cast<f64>(bytes.below(20));
  i64 open = 0;
  u64 next_id = 0;
  auto step = [&] {
    StepResult result = engine.step();
    open -= static_cast<i64>(result.finished.size());
    for (const FinishEvent& event : result.finished) TG_ASSERT(event.reason != Finish::kError);
  };
  while (!bytes.empty()) {
    switch (bytes.below(5)) {
      case 0: open += engine.submit(read_request(bytes, next_id++)).ok() ? 1 : 0; break;
      case 1: engine.cancel(next_id - static_cast<u64>(bytes.below(8))); break;
      case 2: {
        u64 id = next_id - static_cast<u64>(bytes.below(8));
        bool is_final = bytes.below(4) == 0;
        (void)engine.extend(id, bytes.below(30), is_final).ok();
        break;
      }
      default: step();
    }
  }
  for (i64 i = 0; i < 100'000 && engine.has_work(); ++i) step();
  TG_ASSERT(!engine.has_work() && open == 0);
  TG_ASSERT(engine.status().kv_pages_free == engine.status().kv_pages_total);
}

}  // namespace
}  // namespace tg::engine

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  tg::engine::run({data, size});
  return 0;
}
