#include "market/settle.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::market {

Result<Quote> quote(const unit::CostMatrix& cost, const Tariff& tariff, i64 prompt, i64 output_max,
                    i64 choices) {
  std::vector<i64> outputs(static_cast<std::size_t>(choices), output_max);
  Quote out;
  // A cache hit lowers the work except at some very long prompts, where shifted chunk boundaries
  // read more keys again than the saved tokens cost; the difference is the seller's, because
  // billing stops at the hold.
  TG_ASSIGN(out.maximum, unit::nominal_work(cost, {.prompt = prompt, .outputs = outputs}));
  out.held =
      std::max<i64>(1, meter::billed_amount(out.maximum.total.value, tariff.factor_ppm, INT64_MAX));
  return out;
}

ledger::Request hold_request(const Hold& hold) {
  TG_ASSERT(hold.amount > 0);
  ledger::Transfer transfer;
  transfer.id = hold.id;
  transfer.debit_account = hold.parties.buyer;
  transfer.credit_account = hold.parties.seller;
  transfer.amount = static_cast<u128>(hold.amount);
  transfer.correlation = hold.request;
  transfer.timeout_ms = kHoldTimeoutMs;
  transfer.ledger = ledger::ledgers::kStandard;
  transfer.code = ledger::transfer_code::kHold;
  transfer.flags = ledger::transfer_flag::kPending;
  ledger::Request request;
  request.transfers.push_back(transfer);
  return request;
}

// Captures receipt.billed of the hold and releases the rest, or releases all of it.
static ledger::Transfer resolution(const Hold& hold, const meter::Receipt& receipt, u128 post) {
  ledger::Transfer transfer;
  transfer.id = post;
  transfer.pending_id = hold.id;
  transfer.correlation = hold.request;
  transfer.ledger = ledger::ledgers::kStandard;
  bool bills = receipt.billed > 0;
  transfer.amount = static_cast<u128>(receipt.billed);
  transfer.code = bills ? ledger::transfer_code::kPostSlice : ledger::transfer_code::kVoid;
  transfer.flags =
      bills ? ledger::transfer_flag::kPostPending : ledger::transfer_flag::kVoidPending;
  return transfer;
}

static Status fill_work(meter::Receipt& r, const Contract& contract, const Closing& closing) {
  TG_ASSIGN(unit::NominalWork work,
            unit::nominal_work(*contract.cost, {.prompt = r.prompt_tokens,
                                                .cached = r.cached_tokens,
                                                .outputs = r.output_tokens}));
  i64 delivered = 0;
  for (i64 output : r.output_tokens) delivered += output;
  r.nominal_nst = work.total.value;
  r.input_nst = work.input.value;
  r.output_nst = work.output.value;
  r.billable_nst = meter::billable(r.outcome, work, delivered).value;
  TG_ASSIGN(unit::NanoSt actual, unit::round_to_nano(closing.usage.actual_atto_st));
  r.actual_nst = actual.value;
  return {};
}

static void fill_timing(meter::Receipt& r, const unit::Usage& usage) {
  constexpr i64 kNsPerUs = 1'000;
  r.steps = usage.steps;
  r.device_us = usage.attributed_ns / kNsPerUs;
  r.queue_us = usage.queue_ns / kNsPerUs;
  r.first_token_us = usage.first_token_ns / kNsPerUs;
  r.total_us = usage.total_ns / kNsPerUs;
}

Result<Settlement> settle(const Contract& contract, const Hold& hold, const Closing& closing,
                          u128 post, const meter::Salt& salt) {
  TG_ASSERT(contract.cost != nullptr && post != 0);
  constexpr i64 kNsPerMs = 1'000'000;
  Settlement out;
  meter::Receipt& r = out.receipt;
  r.suite = contract.suite;
  r.device = meter::receipt_name(contract.device);
  r.request = hold.request;
  r.buyer = hold.parties.buyer;
  r.seller = hold.parties.seller;
  r.model = meter::receipt_name(contract.model);
  r.program = contract.program;
  r.tariff = contract.tariff.name;
  r.factor_ppm = contract.tariff.factor_ppm;
  r.time = Timestamp{closing.time.ns / kNsPerMs * kNsPerMs};
  r.prompt_tokens = closing.prompt_tokens;
  r.cached_tokens = closing.cached_tokens;
  r.output_tokens = closing.delivered;
  r.outcome = closing.outcome;
  TG_TRY(fill_work(r, contract, closing));
  fill_timing(r, closing.usage);
  r.hold = hold.id;
  r.held = hold.amount;
  r.billed = meter::billed_amount(r.billable_nst, r.factor_ppm, r.held);
  r.post = r.billed > 0 ? post : 0;
  r.binding = meter::bind(r.suite, salt, closing.sent, closing.received);
  std::string draft = meter::to_text(meter::Draft{.receipt = r, .salt = salt});
  out.request.transfers.push_back(resolution(hold, r, post));
  out.request.documents.push_back(ledger::Document{.id = hold.request, .bytes = std::move(draft)});
  return out;
}

}  // namespace tg::market
