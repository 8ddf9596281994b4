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

}  // namespace

i64 output_tokens(const Receipt& receipt) {
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
  TG_ASSIGN(unit::NominalWork work, unit::nominal_work(cost, {.prompt = r.prompt_tokens,
                                                              .cached = r.cached_tokens,
                                                              .outputs = r.output_tokens}));
  TG_TRY(expect_equal("nominal_nst", r.nominal_nst, work.total.value));
  TG_TRY(expect_equal("input_nst", r.input_nst, work.input.value));
  TG_TRY(expect_equal("output_nst", r.output_nst, work.output.value));
  TG_TRY(expect_equal("billable_nst", r.billable_nst,
                      billable(r.outcome, work, output_tokens(r)).value));
  TG_TRY(expect_equal("billed", r.billed, billed_amount(r.billable_nst, r.factor_ppm, r.held)));
  if ((r.billed == 0) != (r.post == 0))
    return Error{Code::kCorrupt, "receipt: post does not match billed"};
  return {};
}

Status check_registers(const Receipt& r) {
  if (r.version != 2) return Error{Code::kInvalid, "receipt: version 1 has no registers"};
  if (r.page == 0) return Error{Code::kCorrupt, "receipt: pages count from 1"};
  if (advance(r.begin, r) != r.end)
    return Error{Code::kCorrupt, "receipt: the end registers are not begin plus this request"};
  if (r.page == 1 && r.begin != Registers{})
    return Error{Code::kCorrupt, "receipt: the first page does not begin at zero"};
  return {};
}

Status check_continuity(const Receipt& earlier, const Receipt& later) {
  if (earlier.version != 2 || later.version != 2)
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
  tlog::Hasher hasher(suite);
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
