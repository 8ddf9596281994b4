#include "market/lifecycle/outcome_rule.h"

#include "base/assert.h"

namespace tg::market {

using meter::Outcome;

std::string_view name(EndCause cause) {
  switch (cause) {
#define TG_END_CAUSE_NAME(id, text, meaning) \
  case EndCause::id: return text;
    TG_END_CAUSES(TG_END_CAUSE_NAME)
#undef TG_END_CAUSE_NAME
  }
  return "unknown";
}

EndCause prevailing(EndCause first, EndCause later) {
  if (first == EndCause::kNone || later == EndCause::kNone)
    return first == EndCause::kNone ? later : first;
  auto is_own_end = [](EndCause cause) {
    return cause == EndCause::kStop || cause == EndCause::kLength || cause == EndCause::kFundsEnd ||
           cause == EndCause::kEmpty;
  };
  return is_own_end(first) && !is_own_end(later) ? later : first;
}

Outcome outcome_of(const Evidence& evidence) {
  TG_ASSERT(evidence.cause != EndCause::kNone);
  TG_ASSERT(evidence.delivered_tokens >= 0);
  bool is_delivered = evidence.delivered_tokens > 0;
  if (!evidence.was_admitted) {
    if (evidence.cause == EndCause::kAbort) return Outcome::kBuyerAbort;
    return evidence.cause == EndCause::kDeadline ? Outcome::kExpired : Outcome::kRejected;
  }
  switch (evidence.cause) {
    case EndCause::kNone:
    case EndCause::kRefused: return Outcome::kRejected;
    case EndCause::kFault: return Outcome::kSellerFault;
    case EndCause::kPreempted: return Outcome::kPreempted;
    case EndCause::kDeadline: return is_delivered ? Outcome::kBuyerAbort : Outcome::kExpired;
    case EndCause::kAbort: return Outcome::kBuyerAbort;
    case EndCause::kFundsEnd: return is_delivered ? Outcome::kBudget : Outcome::kEmpty;
    case EndCause::kEmpty: return Outcome::kEmpty;
    case EndCause::kLength: return is_delivered ? Outcome::kLength : Outcome::kEmpty;
    case EndCause::kStop: return is_delivered ? Outcome::kCompleted : Outcome::kEmpty;
  }
  return Outcome::kRejected;
}

i64 charge_of(Outcome outcome, const RequestRate& rate, const InputReading& input,
              const OutputReading& delivered) {
  if (delivered.total() == 0) return 0;
  switch (outcome) {
    case Outcome::kCompleted:
    case Outcome::kLength:
    case Outcome::kBudget:
    case Outcome::kBuyerAbort:
    case Outcome::kPreempted: return rate.charge(input, delivered);
    case Outcome::kSellerFault: return rate.output_charge(input, delivered);
    case Outcome::kEmpty:
    case Outcome::kRejected:
    case Outcome::kExpired: return 0;
  }
  return 0;
}

}  // namespace tg::market
