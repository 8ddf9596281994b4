#include "market/lifecycle/request_rate.h"

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "unit/nominal.h"

namespace tg::market {

RequestRate::Segment RequestRate::segment(const OutputReading& from, const PriceVector& prices) {
  Segment out{.from = from, .prices = prices, .highest = prices, .lowest = prices};
  out.lowest[RatedClass::kOutput] =
      std::min(prices[RatedClass::kOutput], prices[RatedClass::kReasoning]);
  out.highest[RatedClass::kUncachedInput] =
      std::max({prices[RatedClass::kUncachedInput], prices[RatedClass::kCachedInput],
                prices[RatedClass::kCacheWrite]});
  out.highest[RatedClass::kOutput] =
      std::max(prices[RatedClass::kOutput], prices[RatedClass::kReasoning]);
  return out;
}

RequestRate::RequestRate(const unit::CostMatrix* cost, const PriceVector& prices, i64 prompt,
                         i64 output_max)
    : cost_(cost), segments_({segment({}, prices)}), prompt_(prompt), output_max_(output_max) {}

Status RequestRate::reprice(const OutputReading& at, const PriceVector& prices) {
  const OutputReading& last = segments_.back().from;
  TG_ASSERT(at.output >= last.output && at.reasoning >= last.reasoning);
  if (prices == segments_.back().prices) return {};
  TG_TRY(is_embedding_ ? make_embedding(cost_, prices, prompt_)
                       : make(cost_, prices, prompt_, output_max_));
  if (static_cast<i64>(segments_.size()) == kPriceSegmentsMax)
    return Error{Code::kLimit,
                 "request: more than " + std::to_string(kPriceSegmentsMax) + " prices"};
  segments_.push_back(segment(at, prices));
  return {};
}

Result<RequestRate> RequestRate::make(const unit::CostMatrix* cost, const PriceVector& prices,
                                      i64 prompt, i64 output_max) {
  TG_TRY(check(prices));
  if (prompt < 0 || prompt > kRatedTokensMax || output_max < 0 || output_max > kRatedTokensMax) {
    return Error{Code::kInvalid, "request: " + std::to_string(prompt) + " prompt and " +
                                     std::to_string(output_max) + " output tokens out of range"};
  }
  RequestRate out(cost, prices, prompt, output_max);
  TG_ASSIGN(Consumption use, out.use({.prompt = prompt}, {.output = output_max}, Part::kAll));
  TG_TRY(rate(use, out.segments_[0].highest));
  return out;
}

Result<RequestRate> RequestRate::make_embedding(const unit::CostMatrix* cost,
                                                const PriceVector& prices, i64 prompt) {
  TG_ASSIGN(RequestRate out, make(nullptr, prices, prompt, 0));
  out.cost_ = cost;
  out.is_embedding_ = true;
  TG_ASSIGN(Consumption use, out.use({.prompt = prompt}, {}, Part::kAll));
  TG_TRY(rate(use, out.segments_[0].highest));
  return out;
}

std::vector<meter::PriceSegment> RequestRate::price_segments() const {
  std::vector<meter::PriceSegment> out;
  for (const Segment& segment : segments_) {
    out.push_back({.output_from = segment.from.output,
                   .reasoning_from = segment.from.reasoning,
                   .prices = segment.prices});
  }
  return out;
}

Result<Consumption> RequestRate::use(const InputReading& input, const OutputReading& output,
                                     Part part) const {
  Consumption out;
  if (!is_embedding_) {
    out[RatedClass::kOutput] = output.output;
    out[RatedClass::kReasoning] = output.reasoning;
  }
  if (part == Part::kAll) {
    out[RatedClass::kUncachedInput] = input.prompt - input.cached - input.written;
    out[RatedClass::kCachedInput] = input.cached;
    out[RatedClass::kCacheWrite] = input.written;
  }
  if (cost_ == nullptr) return out;
  std::array<i64, 1> output_of_one = {output.total()};
  std::span<const i64> outputs;
  if (!is_embedding_) outputs = output_of_one;
  TG_ASSIGN(unit::NominalWork work, unit::nominal_work(*cost_, {.prompt = input.prompt,
                                                                .cached = input.cached,
                                                                .outputs = outputs,
                                                                .embedding = is_embedding_}));
  out[RatedClass::kWork] = part == Part::kAll ? work.total.value : work.output.value;
  return out;
}

// Segment by segment: the registers where each ends, and at last as they are.
i64 RequestRate::rated(const InputReading& input, const OutputReading& output, Part part,
                       Prices prices) const {
  Rater rater;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    OutputReading until = output;
    if (i + 1 < segments_.size()) {
      OutputReading end = segments_[i + 1].from;
      // The highest prices know no reasoning apart.
      if (prices != Prices::kActual) end = {.output = end.total()};
      until = {.output = std::min(output.output, end.output),
               .reasoning = std::min(output.reasoning, end.reasoning)};
    }
    Result<Consumption> used = use(input, until, part);
    const Segment& segment = segments_[i];
    const PriceVector& applied = prices == Prices::kHighest ? segment.highest : segment.prices;
    // Beyond any bound is beyond any hold: what was authorised is then the charge.
    if (!used.ok()) return kChargeMax;
    if (!rater.read(*used, applied).ok()) return kChargeMax;
  }
  return rater.charge();
}

i64 RequestRate::most(i64 output_tokens) const {
  return rated({.prompt = prompt_}, {.output = output_tokens}, Part::kAll, Prices::kHighest);
}

i64 RequestRate::charge(const InputReading& input, const OutputReading& output) const {
  return rated(input, output, Part::kAll, Prices::kActual);
}

i64 RequestRate::output_charge(const InputReading& input, const OutputReading& output) const {
  return rated(input, output, Part::kOutput, Prices::kActual);
}

i64 RequestRate::sure_charge(i64 output_tokens) const {
  // What has been delivered need not be what was produced first, once reasoning is told apart:
  // after a change of prices no token's price is sure but the lowest.
  PriceVector lowest = segments_.front().lowest;
  for (const Segment& segment : segments_) {
    for (std::size_t i = 0; i < lowest.values.size(); ++i)
      lowest.values[i] = std::min(lowest.values[i], segment.lowest.values[i]);
  }
  Result<Consumption> used = use({.prompt = prompt_}, {.output = output_tokens}, Part::kOutput);
  Rater rater;
  if (!used.ok() || !rater.read(*used, lowest).ok()) return 0;
  return std::max<i64>(0, rater.charge() - output_slack());
}

i64 RequestRate::output_slack() const {
  constexpr i64 kRoundings = 2;  // Of the prefill, and of the whole.
  i128 slack = 0;
  for (const Segment& segment : segments_) {
    i64 price = segment.prices[RatedClass::kWork];
    if (price > 0) slack += kRoundings * (price / units_per_price(RatedClass::kWork) + 1);
  }
  return static_cast<i64>(std::min<i128>(slack, kChargeMax));
}

PriceViews RequestRate::views_of(i64 charge, const InputReading& input,
                                 const OutputReading& output) const {
  Result<Consumption> used = use(input, output, Part::kAll);
  return used.ok() ? views(charge, *used) : PriceViews{};
}

i64 RequestRate::tokens_within(i64 amount) const {
  if (most(0) > amount) return -1;
  // As often as not it is for all of it.
  if (most(output_max_) <= amount) return output_max_;
  i64 low = 0;
  i64 high = output_max_;
  while (low < high) {
    i64 middle = low + (high - low + 1) / 2;
    if (most(middle) <= amount) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace tg::market
