#include "fleet/calibrate.h"

#include <algorithm>

#include "unit/nominal.h"

namespace tg::fleet {
namespace {

constexpr i64 kNsPerSecond = 1'000'000'000;
constexpr i64 kReplyNsMax = 120 * kNsPerSecond;
constexpr i64 kWaitNs = 20'000'000;
constexpr i64 kProbePrompt = 24;
constexpr i64 kProbeOutput = 16;
// A cell of few requests is repeated until it has so many, or so much time has gone into it.
constexpr i64 kRequestsWanted = 6;
constexpr i64 kCellNs = 3 * kNsPerSecond;

i64 quantile(std::vector<i64> values, f64 share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  std::size_t index = static_cast<std::size_t>(share * static_cast<f64>(values.size() - 1) + 0.5);
  return values[index];
}

}  // namespace

Calibration::Calibration(Supplier& supplier, const CalibrationOptions& options, Clock& clock)
    : supplier_(supplier),
      options_(options),
      clock_(clock),
      random_(options.seed),
      plan_(suite_cells(options.context_max, options.batch_max)),
      started_ns_(clock.monotonic_ns()) {
  TG_ASSERT(options.context_max > 0 && options.cost != nullptr);
  TG_ASSERT(options.vocabulary > options.first_token);
}

i64 Calibration::seconds_spent() const {
  return (clock_.monotonic_ns() - started_ns_ + kNsPerSecond - 1) / kNsPerSecond;
}

// Prompts differ from their first token on, so that no cache helps.
SupplyRequest Calibration::request_of(const Cell& cell) {
  SupplyRequest request;
  request.id = id_next_++;
  u64 range = static_cast<u64>(options_.vocabulary - options_.first_token);
  for (i64 i = 0; i < cell.prompt; ++i) {
    request.prompt.push_back(
        static_cast<TokenId>(options_.first_token + static_cast<i64>(random_.below(range))));
  }
  request.max_tokens = cell.output;
  request.sampling.temperature = 0;
  request.cache_salt = request.id;
  return request;
}

// All at once; returns when the last has ended.
Result<std::vector<Calibration::Reply>> Calibration::run(Supplier& supplier,
                                                         std::vector<SupplyRequest> requests) {
  std::shared_ptr<Mailbox<SupplierEvent>> mailbox =
      std::make_shared<Mailbox<SupplierEvent>>(1 << 16);
  std::vector<Reply> replies(requests.size());
  u64 first_id = requests.front().id;
  std::size_t open = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    requests[i].events = mailbox;
    replies[i].sent_ns = clock_.monotonic_ns();
    Status sent = supplier.submit(std::move(requests[i]));
    replies[i].is_ended = replies[i].is_failed = !sent.ok();
    if (sent.ok()) {
      ++open;
    } else {
      replies[i].error = sent.error().message;
    }
  }
  i64 until_ns = clock_.monotonic_ns() + kReplyNsMax;
  std::vector<SupplierEvent> events;
  while (open > 0) {
    events.clear();
    mailbox->wait(events, kWaitNs);
    i64 now_ns = clock_.monotonic_ns();
    for (SupplierEvent& event : events) {
      u64 index = event.request - first_id;
      if (index >= replies.size() || replies[index].is_ended) continue;
      Reply& reply = replies[index];
      if (!event.tokens.empty()) {
        if (reply.first_ns == 0) reply.first_ns = now_ns;
        reply.last_ns = now_ns;
        reply.tokens.insert(reply.tokens.end(), event.tokens.begin(), event.tokens.end());
      }
      if (event.kind != SupplierEvent::Kind::kFinished) continue;
      reply.is_ended = true;
      reply.is_failed = event.reason == FinishReason::kError || reply.tokens.empty();
      reply.error = event.error;
      --open;
    }
    if (now_ns > until_ns) {
      for (u64 i = 0; i < replies.size(); ++i) {
        if (!replies[i].is_ended) supplier.cancel(first_id + i);
      }
      return Error{Code::kUnavailable, "the supplier did not answer within two minutes"};
    }
  }
  return replies;
}

Result<CellResult> Calibration::measure(const Cell& cell) {
  CellResult result{.cell = cell};
  std::vector<i64> first, rate;
  f64 joules_before = -1;
  if (options_.meter != nullptr) {
    TG_ASSIGN(joules_before, options_.meter->joules());
  }
  i64 begun_ns = clock_.monotonic_ns();
  do {
    std::vector<SupplyRequest> requests;
    for (i64 i = 0; i < cell.batch; ++i) requests.push_back(request_of(cell));
    i64 round_ns = clock_.monotonic_ns();
    TG_ASSIGN(std::vector<Reply> replies, run(supplier_, std::move(requests)));
    result.wall_ns += clock_.monotonic_ns() - round_ns;
    for (const Reply& reply : replies) {
      ++(reply.is_failed ? result.failures : result.requests);
      if (reply.is_failed) {
        last_error_ = reply.error;
        continue;
      }
      i64 tokens = static_cast<i64>(reply.tokens.size());
      result.output_tokens += tokens;
      first.push_back(reply.first_ns - reply.sent_ns);
      if (tokens > 1) rate.push_back((reply.last_ns - reply.first_ns) / (tokens - 1));
      i64 outputs[] = {tokens};
      TG_ASSIGN(unit::NominalWork work,
                unit::nominal_work(*options_.cost, {.prompt = cell.prompt, .outputs = outputs}));
      result.nominal_nst += work.total.value;
    }
  } while (result.requests > 0 && result.requests < kRequestsWanted &&
           clock_.monotonic_ns() - begun_ns < kCellNs);
  result.ttft_ns_p50 = quantile(first, 0.5);
  result.ttft_ns_p90 = quantile(first, 0.9);
  result.tpot_ns_p50 = quantile(rate, 0.5);
  result.tpot_ns_p90 = quantile(rate, 0.9);
  if (joules_before >= 0) {
    TG_ASSIGN(f64 joules_after, options_.meter->joules());
    result.joules = joules_after - joules_before;
  }
  return result;
}

Result<bool> Calibration::step() {
  if (next_ == plan_.size()) return false;
  // What the next cell may take: as much as the longest so far.
  i64 longest_ns = 0;
  for (const CellResult& r : cells_) longest_ns = std::max(longest_ns, r.wall_ns);
  i64 spent_ns = clock_.monotonic_ns() - started_ns_;
  if (spent_ns + longest_ns > options_.seconds * kNsPerSecond) return false;
  if (cells_.empty()) {
    // The first requests of a process are slow for reasons of their own.
    std::vector<SupplyRequest> warm;
    warm.push_back(request_of({16, 1, 4}));
    TG_ASSIGN(std::vector<Reply> ignored, run(supplier_, std::move(warm)));
    if (ignored[0].is_failed)
      return Error{Code::kUnavailable, "the supplier does not serve: " + ignored[0].error};
  }
  TG_ASSIGN(CellResult result, measure(plan_[next_]));
  ++next_;
  cells_.push_back(result);
  return true;
}

Result<QualityProbes> Calibration::probe(Supplier* reference) {
  QualityProbes quality;
  std::vector<SupplyRequest> together;
  std::vector<std::vector<TokenId>> alone;
  Cell cell{std::min(kProbePrompt, options_.context_max / 2), 1,
            std::min(kProbeOutput, options_.context_max / 4)};
  for (i64 i = 0; i < options_.probes; ++i) together.push_back(request_of(cell));
  for (const SupplyRequest& request : together) {
    TG_ASSIGN(std::vector<Reply> reply, run(supplier_, {request}));
    alone.push_back(reply[0].tokens);
  }
  std::vector<SupplyRequest> again = together;
  for (SupplyRequest& request : again) request.id = id_next_++;
  TG_ASSIGN(std::vector<Reply> beside, run(supplier_, again));
  std::vector<Reply> wanted;
  if (reference != nullptr) {
    TG_ASSIGN(wanted, run(*reference, together));
  }
  for (std::size_t i = 0; i < alone.size(); ++i) {
    ++quality.probes;
    quality.repeatable += !alone[i].empty() && alone[i] == beside[i].tokens ? 1 : 0;
    if (reference == nullptr) continue;
    const std::vector<TokenId>& other = wanted[i].tokens;
    quality.compared_tokens += static_cast<i64>(other.size());
    std::size_t same = 0;
    while (same < other.size() && same < alone[i].size() && other[same] == alone[i][same]) ++same;
    quality.agreed_tokens += static_cast<i64>(same);
  }
  return quality;
}

}  // namespace tg::fleet
