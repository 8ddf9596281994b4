#include "meter/receipt.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/checked.h"
#include "meter/receipt_text.h"

namespace tg::meter {

namespace {

Status expect_equal(const char* figure, i64 stated, i64 recomputed) {
  if (stated == recomputed) return {};
  return Error{Code::kCorrupt,
               fmt::format("receipt: {} is {}, recomputed {}", figure, stated, recomputed)};
}

constexpr u128 Registers::*kRegisters[] = {&Registers::nominal_nst, &Registers::billed,
                                           &Registers::prompt_tokens, &Registers::cached_tokens,
                                           &Registers::output_tokens};

// Tokens, or an embedding's vector.
i64 delivered(const Receipt& r) {
  i64 sum = 0;
  for (i64 output : r.output_tokens) sum += output;
  return sum;
}

Result<unit::NominalWork> work_of(const Receipt& r, const unit::CostMatrix& cost) {
  std::span<const i64> outputs;
  if (!r.is_embedding) outputs = r.output_tokens;
  return unit::nominal_work(cost, {.prompt = r.prompt_tokens,
                                   .cached = r.cached_tokens,
                                   .outputs = outputs,
                                   .embedding = r.is_embedding});
}

enum class Part : u8 { kAll, kOutput };

// The registers once so much of the output was there.
Result<Consumption> use_of(const Receipt& r, const unit::CostMatrix& cost, Part part, i64 output,
                           i64 reasoning) {
  Consumption use;
  std::array<i64, 1> total = {output + reasoning};
  Receipt until = r;
  until.output_tokens.assign(total.begin(), total.end());
  TG_ASSIGN(unit::NominalWork work, work_of(until, cost));
  use[RatedClass::kWork] = part == Part::kAll ? work.total.value : work.output.value;
  if (!r.is_embedding) {
    use[RatedClass::kOutput] = output;
    use[RatedClass::kReasoning] = reasoning;
  }
  if (part == Part::kOutput) return use;
  use[RatedClass::kUncachedInput] = r.prompt_tokens - r.cached_tokens - r.written_tokens;
  use[RatedClass::kCachedInput] = r.cached_tokens;
  use[RatedClass::kCacheWrite] = r.written_tokens;
  return use;
}

Result<i64> rated(const Receipt& r, const unit::CostMatrix& cost, Part part) {
  const std::vector<PriceSegment>& segments = r.pricing.segments;
  i64 reasoning = r.reasoning_tokens;
  i64 output = delivered(r) - reasoning;
  Rater rater;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    bool is_last = i + 1 == segments.size();
    i64 output_end = is_last ? output : std::min(output, segments[i + 1].output_from);
    i64 reasoning_end = is_last ? reasoning : std::min(reasoning, segments[i + 1].reasoning_from);
    TG_ASSIGN(Consumption use, use_of(r, cost, part, output_end, reasoning_end));
    TG_TRY(rater.read(use, segments[i].prices));
  }
  return rater.charge();
}

Status check_bill(const Receipt& r, const unit::CostMatrix& cost) {
  TG_ASSIGN(i64 due, charge_of(r, cost));
  TG_TRY(expect_equal("billed", r.billed, std::min(due, r.held)));
  i64 paid = 0;
  for (const Payment& payment : r.paid) {
    std::optional<i64> sum = checked_add(paid, payment.amount);
    if (!sum) return Error{Code::kCorrupt, "receipt: the payments are too large"};
    paid = *sum;
  }
  TG_TRY(expect_equal("billed", r.billed, paid));
  if (r.held <= r.max_cost) return {};
  return Error{Code::kCorrupt,
               fmt::format("receipt: {} was authorised, above max_cost {}", r.held, r.max_cost)};
}

}  // namespace

Result<i64> charge_of(const Receipt& r, const unit::CostMatrix& cost) {
  if (r.pricing.segments.empty() || r.output_tokens.size() != 1 ||
      r.reasoning_tokens > delivered(r) || r.cached_tokens + r.written_tokens > r.prompt_tokens)
    return Error{Code::kInvalid, "receipt: impossible readings"};
  if (delivered(r) == 0) return 0;
  switch (r.outcome) {
    case Outcome::kCompleted:
    case Outcome::kLength:
    case Outcome::kBudget:
    case Outcome::kBuyerAbort:
    case Outcome::kPreempted: return rated(r, cost, Part::kAll);
    case Outcome::kSellerFault: return rated(r, cost, Part::kOutput);
    case Outcome::kEmpty:
    case Outcome::kRejected:
    case Outcome::kExpired: return 0;
  }
  return 0;
}

i64 output_tokens(const Receipt& receipt) {
  if (receipt.is_embedding) return 0;
  i64 sum = 0;
  for (i64 output : receipt.output_tokens) sum += output;
  return sum;
}

std::optional<Registers> advance(const Registers& before, const Receipt& r) {
  const i64 amounts[] = {r.nominal_nst, r.billed, r.prompt_tokens, r.cached_tokens,
                         output_tokens(r)};
  Registers after = before;
  for (std::size_t i = 0; i < std::size(amounts); ++i) {
    std::optional<u128> sum =
        checked_add<u128>(after.*kRegisters[i], static_cast<u128>(amounts[i]));
    if (!sum) return std::nullopt;
    after.*kRegisters[i] = *sum;
  }
  return after;
}

i64 billed_amount(i64 billable_nst, u64 factor_ppm, i64 held) {
  TG_ASSERT(billable_nst >= 0 && held >= 0);
  u128 billed = static_cast<u128>(billable_nst) * factor_ppm / 1'000'000;
  return static_cast<i64>(std::min<u128>(billed, static_cast<u128>(held)));
}

Status check_arithmetic(const Receipt& r, const unit::CostMatrix& cost) {
  TG_ASSIGN(unit::NominalWork work, work_of(r, cost));
  TG_TRY(expect_equal("nominal_nst", r.nominal_nst, work.total.value));
  TG_TRY(expect_equal("input_nst", r.input_nst, work.input.value));
  TG_TRY(expect_equal("output_nst", r.output_nst, work.output.value));
  TG_TRY(
      expect_equal("billable_nst", r.billable_nst, billable(r.outcome, work, delivered(r)).value));
  if (r.version == 3) return check_bill(r, cost);
  TG_TRY(expect_equal("billed", r.billed, billed_amount(r.billable_nst, r.factor_ppm, r.held)));
  if ((r.billed == 0) != (r.post == 0))
    return Error{Code::kCorrupt, "receipt: post does not match billed"};
  return {};
}

Status check_registers(const Receipt& r) {
  if (r.version == 1) return Error{Code::kInvalid, "receipt: version 1 has no registers"};
  if (r.page == 0) return Error{Code::kCorrupt, "receipt: pages count from 1"};
  if (advance(r.begin, r) != r.end)
    return Error{Code::kCorrupt, "receipt: the end registers are not begin plus this request"};
  if (r.page == 1 && r.begin != Registers{})
    return Error{Code::kCorrupt, "receipt: the first page does not begin at zero"};
  return {};
}

Status check_continuity(const Receipt& earlier, const Receipt& later) {
  if (earlier.version == 1 || later.version == 1)
    return Error{Code::kInvalid, "receipt: version 1 has no pages"};
  if (earlier.log != later.log || earlier.meter != later.meter)
    return Error{Code::kInvalid, "receipt: the other page is of another meter"};
  if (earlier.page >= later.page)
    return Error{Code::kInvalid, fmt::format("receipt: page {} does not come after page {}",
                                             later.page, earlier.page)};
  bool is_next = later.page == earlier.page + 1;
  for (u128 Registers::*field : kRegisters) {
    u128 before = earlier.end.*field;
    u128 after = later.begin.*field;
    if (is_next ? before != after : before > after)
      return Error{Code::kCorrupt, fmt::format("receipt: registers of page {} do not continue {}",
                                               later.page, earlier.page)};
  }
  return {};
}

Nonce nonce_of(tlog::Hasher& hasher, const Salt& salt) {
  tlog::Hash hash = hasher.hmac(salt, as_bytes("tokengrid nonce"));
  Nonce nonce;
  std::copy_n(hash.begin(), nonce.size(), nonce.begin());
  return nonce;
}

tlog::Hash bound_digest(tlog::Hasher& hasher, const Salt& salt, Side side,
                        const tlog::Hash& digest) {
  std::string message = side == Side::kInput ? "in:" : "out:";
  message += as_text(digest);
  return hasher.hmac(salt, as_bytes(message));
}

tlog::Hash bound_bytes(tlog::Hasher& hasher, const Salt& salt, Side side, std::string_view bytes) {
  return bound_digest(hasher, salt, side, hasher.of(bytes));
}

Binding bind(tlog::Suite suite, const Salt& salt, const std::optional<Content>& sent,
             const std::optional<Content>& received) {
  thread_local tlog::Hasher hasher(suite);
  if (hasher.suite() != suite) hasher = tlog::Hasher(suite);
  Binding out;
  if (sent) {
    out.input = bound_digest(hasher, salt, Side::kInput, sent->digest);
    out.input_bytes = sent->bytes;
  }
  if (received) {
    out.output = bound_digest(hasher, salt, Side::kOutput, received->digest);
    out.output_bytes = received->bytes;
  }
  return out;
}

std::string receipt_name(std::string_view text) {
  std::string out(text.substr(0, kNameBytesMax));
  for (char& c : out) {
    if (!is_name_byte(c)) c = '_';
  }
  return out.empty() ? "_" : out;
}

}  // namespace tg::meter
