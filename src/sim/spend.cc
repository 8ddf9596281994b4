// The world and its money: what has come is told to the market now and then, and what it holds for
// more to the devices, which end a request where its funds do.
#include <algorithm>

#include "sim/world.h"

namespace tg::sim {

namespace {

constexpr i64 kRenewNs = 10'000'000'000;  // holds of those of whom nothing comes

}  // namespace

void World::begin_money() {
  money_ = std::make_unique<Money>(scenario_.money, static_cast<i64>(scenario_.suppliers.size()));
  post(scenario_.money.tick_ns, Kind::kMoney, 0, 0);
}

bool World::has_funds(u32 request) {
  if (!money_) return true;
  const TraceRequest& r = trace_.requests[request];
  Money::Asked asked{.request = request,
                     .tenant = r.tenant,
                     .prompt_tokens = r.prompt_tokens,
                     .output_tokens = r.output_tokens};
  if (!money_->open(asked, now_ns_)) return false;
  live_[request].edge = money_->edge(request);
  return true;
}

// For the attempt that begins; 0: all of them.
i64 World::funded_tokens(u32 request, i64 output_tokens) const {
  if (!money_) return 0;
  const Live& live = live_[request];
  return std::clamp<i64>(live.edge.tokens - live.delivered, 1, output_tokens);
}

void World::tell_market() {
  if (next_ < trace_.requests.size() || open_ > 0) {
    post(now_ns_ + scenario_.money.tick_ns, Kind::kMoney, 0, 0);
  }
  std::erase_if(streaming_, [this](u32 request) { return !live_[request].is_open; });
  for (u32 request : streaming_) {
    const Live& live = live_[request];
    const Supplier& s = suppliers_[live.supplier];
    if (s.is_cut) continue;
    hear_delivered(request, live.delivered + s.device->produced(id_of(request, live.attempt)));
  }
  if (now_ns_ - renewed_ns_ >= kRenewNs) renew_holds();
}

void World::renew_holds() {
  renewed_ns_ = now_ns_;
  for (u32 request = 0; request < next_; ++request) {
    if (live_[request].is_open) hear_delivered(request, live_[request].delivered);
  }
}

void World::hear_delivered(u32 request, i64 output_tokens) {
  Live& live = live_[request];
  Money::Edge edge = money_->delivered(request, output_tokens, now_ns_);
  if (edge == live.edge) return;
  live.edge = edge;
  if (live.supplier == dispatch::kNobody) return;
  i64 tokens = std::max<i64>(1, edge.tokens - live.delivered);
  i64 heard_ns = now_ns_ + scenario_.money.latency_ns;
  post(heard_ns + scenario_.suppliers[live.supplier].rtt_ns / 2, Kind::kFund, live.supplier,
       id_of(request, live.attempt), 2 * tokens + (edge.is_final ? 1 : 0));
}

void World::fund(const Event& e) {
  Supplier& s = suppliers_[e.supplier];
  if (s.is_cut || s.is_down) return;
  s.device->fund(e.id, e.value / 2, e.value % 2 == 1);
  if (!s.device->is_stepping()) step_of(e.supplier);
}

void World::close_money(u32 request, i64 cached) {
  if (!money_) return;
  const Live& live = live_[request];
  bool is_cut = live.delivered < trace_.requests[request].output_tokens;
  market::EndCause cause = results_[request].fate == Fate::kRefused ? market::EndCause::kRefused
                           : is_cut                                 ? market::EndCause::kFundsEnd
                                                                    : market::EndCause::kStop;
  money_->close(request, {.cached_tokens = cached, .output_tokens = live.delivered, .cause = cause},
                now_ns_);
}

}  // namespace tg::sim
