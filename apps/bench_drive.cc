#include "apps/bench_drive.h"

#include <algorithm>
#include <set>
#include <thread>

namespace tg::apps {

i64 Served::worst_gap_ns() const {
  i64 worst = 0;
  for (std::size_t i = 1; i < token_ns.size(); ++i)
    worst = std::max(worst, token_ns[i] - token_ns[i - 1]);
  return worst;
}

i64 Driven::tokens() const {
  i64 total = 0;
  for (const auto& [id, served] : requests) total += static_cast<i64>(served.tokens.size());
  return total;
}

Result<Driven> drive(backend::Executor& executor, const unit::CostMatrix& cost,
                     const engine::EngineLimits& limits, const std::vector<Arrival>& arrivals) {
  SystemClock clock;
  engine::Engine engine(executor, cost, limits, clock);
  Driven out;
  std::set<u64> ended;
  std::vector<const Arrival*> open;
  for (const Arrival& arrival : arrivals) open.push_back(&arrival);
  i64 start = clock.monotonic_ns();
  while (!open.empty() || engine.has_work()) {
    i64 now = clock.monotonic_ns();
    auto is_due = [&](const Arrival* a) {
      return now - start >= a->after_ns && (a->after_end == 0 || ended.contains(a->after_end));
    };
    for (const Arrival* arrival : open) {
      if (!is_due(arrival)) continue;
      out.requests[arrival->request.id].arrived_ns = now;
      TG_TRY(engine.submit(arrival->request));
    }
    std::erase_if(open, is_due);
    if (!engine.has_work()) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      continue;
    }
    engine::StepResult result = engine.step();
    now = clock.monotonic_ns();
    for (const engine::TokenEvent& event : result.tokens) {
      out.requests[event.request].token_ns.push_back(now);
      out.requests[event.request].tokens.push_back(event.token);
    }
    for (const engine::FinishEvent& event : result.finished) {
      if (event.reason == engine::Finish::kError) return Error{Code::kIo, event.error};
      ended.insert(event.request);
    }
  }
  out.wall_ns = clock.monotonic_ns() - start;
  out.status = engine.status();
  return out;
}

}  // namespace tg::apps
