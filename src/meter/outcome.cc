#include "meter/outcome.h"

#include "base/assert.h"

namespace tg::meter {

std::string_view name(Outcome outcome) {
  switch (outcome) {
#define TG_OUTCOME_NAME(id, name, meaning) \
  case Outcome::id: return name;
    TG_OUTCOMES(TG_OUTCOME_NAME)
#undef TG_OUTCOME_NAME
  }
  return "UNKNOWN";
}

std::optional<Outcome> outcome_by_name(std::string_view text) {
#define TG_OUTCOME_FIND(id, name, meaning) \
  if (text == name) return Outcome::id;
  TG_OUTCOMES(TG_OUTCOME_FIND)
#undef TG_OUTCOME_FIND
  return std::nullopt;
}

unit::NanoSt billable(Outcome outcome, const unit::NominalWork& work, i64 delivered_tokens) {
  TG_ASSERT(delivered_tokens >= 0);
  if (delivered_tokens == 0) return unit::NanoSt(0);
  switch (outcome) {
    case Outcome::kCompleted:
    case Outcome::kLength:
    case Outcome::kBudget:
    case Outcome::kBuyerAbort:
    case Outcome::kPreempted: return work.total;
    case Outcome::kSellerFault: return work.output;
    case Outcome::kEmpty:
    case Outcome::kRejected:
    case Outcome::kExpired: return unit::NanoSt(0);
  }
  return unit::NanoSt(0);
}

}  // namespace tg::meter
