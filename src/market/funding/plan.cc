#include "market/funding/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "ledger/id.h"

namespace tg::market {

namespace {

ledger::Transfer movement(u32 ledger_number, u16 code, const std::string& name) {
  ledger::Transfer out;
  out.id = ledger::id_from_name(name);
  out.ledger = ledger_number;
  out.code = code;
  return out;
}

ledger::Transfer between(const FundingBooks& books, u16 code, const std::string& name, u128 debit,
                         u128 credit, u128 amount) {
  ledger::Transfer out = movement(books.ledger, code, name);
  out.debit_account = debit;
  out.credit_account = credit;
  out.amount = amount;
  return out;
}

Result<Chain> pay_back(const Charged& charged, u128 amount, u32 number, u16 code) {
  u128 total = sum(charged.draws);
  TG_ASSERT(charged.refunded <= total);
  if (amount == 0 || amount > total - charged.refunded) {
    return Error{
        Code::kInvalid,
        fmt::format("request {}: {} to pay back, {} of {} left", to_hex(charged.request),
                    to_string(amount), to_string(total - charged.refunded), to_string(total))};
  }
  Chain out;
  u128 skipped = charged.refunded;
  for (std::size_t i = charged.draws.size(); i-- > 0 && amount > 0;) {
    const Draw& draw = charged.draws[i];
    u128 skip = std::min(skipped, draw.amount);
    u128 take = std::min(amount, draw.amount - skip);
    skipped -= skip;
    amount -= take;
    if (take == 0) continue;
    ledger::Transfer t = movement(
        charged.ledger, code, fmt::format("payback/{}/{}/{}", to_hex(charged.request), number, i));
    t.debit_account = charged.seller;
    t.credit_account = draw.account;
    t.amount = take;
    t.correlation = charged.request;
    t.reference = charged.reference;
    t.sequence = number;
    out.push_back(t);
  }
  TG_ASSERT(amount == 0);
  link(out);
  return out;
}

}  // namespace

void link(Chain& chain) {
  for (std::size_t i = 0; i < chain.size(); ++i) {
    chain[i].flags &= static_cast<u16>(~ledger::transfer_flag::kLinked);
    if (i + 1 < chain.size()) chain[i].flags |= ledger::transfer_flag::kLinked;
  }
}

Chain grant_chain(const FundingBooks& books, const Grant& grant) {
  TG_ASSERT(grant.amount > 0);
  std::string name = fmt::format("grant/{}/{}", to_hex(grant.account), to_hex(grant.purchase));
  return {between(books, grant.code, name, books.wash, grant.account, grant.amount)};
}

Chain expiry_chain(const FundingBooks& books, const FundingSource& source, Sweep sweep) {
  if (source.available == 0) return {};
  std::string name =
      fmt::format("expire/{}/{}/{}", to_hex(source.account), sweep.number, sweep.attempt);
  return {between(books, ledger::transfer_code::kExpire, name, source.account, books.breakage,
                  source.available)};
}

Chain refill_chain(const FundingBooks& books, const FundingSource& source, const Refill& refill) {
  TG_ASSERT(refill.amount > 0);
  std::string account = to_hex(source.account);
  u128 lapsed = source.available > refill.rollover_max ? source.available - refill.rollover_max : 0;
  Chain out;
  if (lapsed > 0) {
    std::string lapse = fmt::format("lapse/{}/{}/{}", account, refill.period, refill.attempt);
    out.push_back(between(books, ledger::transfer_code::kExpire, lapse, source.account,
                          books.breakage, lapsed));
  }
  std::string name = fmt::format("refill/{}/{}", account, refill.period);
  ledger::Transfer grant = between(books, ledger::transfer_code::kGrant, name, books.wash,
                                   source.account, refill.amount);
  // The grant says which plan it belongs to: the same period planned otherwise contradicts it, and
  // its lapse is undone with it. Without that, a replay would let the new period lapse.
  grant.sequence = refill.attempt;
  grant.reference = static_cast<u64>(lapsed);
  out.push_back(grant);
  link(out);
  return out;
}

Verdict judge(std::span<const ledger::TransferStatus> statuses) {
  using ledger::TransferStatus;
  for (TransferStatus status : statuses) {
    if (ledger::succeeded(status) || status == TransferStatus::kLinkedEventFailed) continue;
    switch (status) {
      case TransferStatus::kExceedsCredits:
      case TransferStatus::kIdAlreadyFailed: return Verdict::kAgain;
      // The id is in the ledger; only what the view said was different then.
      case TransferStatus::kExistsWithDifferentAmount:
      case TransferStatus::kExistsWithDifferentReference:
      case TransferStatus::kExistsWithDifferentSequence: return Verdict::kDone;
      default: return Verdict::kFailed;
    }
  }
  return Verdict::kDone;
}

Chain credit_chain(const FundingBooks& books, const CreditChange& change) {
  std::string name = fmt::format("credit/{}/{}", to_hex(change.account), to_hex(change.change));
  constexpr u16 kCode = ledger::transfer_code::kGrant;
  if (change.to > change.from)
    return {between(books, kCode, name, books.wash, change.account, change.to - change.from)};
  if (change.to < change.from)
    return {between(books, kCode, name, change.account, books.wash, change.from - change.to)};
  return {};
}

u128 owed(const ledger::Account& account, u128 limit) {
  u128 free = ledger::available(account);
  return limit > free ? limit - free : 0;
}

Result<Chain> refund_chain(const Charged& charged, u128 amount, u32 number) {
  return pay_back(charged, amount, number, ledger::transfer_code::kRefund);
}

Result<Chain> correction_chain(const Charged& charged, u128 right, u32 number) {
  u128 now = sum(charged.draws) - charged.refunded;
  if (right > now) {
    return Error{Code::kInvalid,
                 fmt::format("request {}: cannot be corrected from {} up to {}",
                             to_hex(charged.request), to_string(now), to_string(right))};
  }
  return pay_back(charged, now - right, number, ledger::transfer_code::kCorrect);
}

}  // namespace tg::market
