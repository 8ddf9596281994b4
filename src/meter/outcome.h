// How a request ended, and what of it is billable: the outcome table of money.md §5.4. Every
// request has exactly one.
#pragma once

#include <optional>
#include <string_view>

#include "unit/nominal.h"

namespace tg::meter {

#define TG_OUTCOMES(X)                                                 \
  X(kCompleted, "COMPLETED", "end-of-generation token or stop string") \
  X(kLength, "LENGTH", "max_tokens or the context's end")              \
  X(kBudget, "BUDGET", "the hold's edge")                              \
  X(kBuyerAbort, "BUYER_ABORT", "the client went away or cancelled")   \
  X(kSellerFault, "SELLER_FAULT", "engine or supplier failed")         \
  X(kPreempted, "PREEMPTED", "interruptible capacity was withdrawn")   \
  X(kEmpty, "EMPTY", "ended without a token")                          \
  X(kRejected, "REJECTED", "never admitted")                           \
  X(kExpired, "EXPIRED", "waited past its deadline")

enum class Outcome {
#define TG_OUTCOME_ENUM(id, name, meaning) id,
  TG_OUTCOMES(TG_OUTCOME_ENUM)
#undef TG_OUTCOME_ENUM
};

std::string_view name(Outcome outcome);
std::optional<Outcome> outcome_by_name(std::string_view name);

// The part of `work` (nominal work of what was delivered) that is billed. Nothing delivered bills
// nothing; a seller's fault after the first token bills the output only, because the input bought
// no usable continuation.
unit::NanoSt billable(Outcome outcome, const unit::NominalWork& work, i64 delivered_tokens);

}  // namespace tg::meter
