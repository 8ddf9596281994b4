// The outcome table of money.md §5.4: which outcome a request has, whatever happened to it and in
// whatever order, and what of it is charged. Both are total functions.
#pragma once

#include "market/lifecycle/request_rate.h"
#include "meter/outcome.h"

namespace tg::market {

// Why a request ended.
#define TG_END_CAUSES(X)                                                       \
  X(kNone, "none", "it has not")                                               \
  X(kRefused, "refused", "not admitted: funds, limits or capacity")            \
  X(kFault, "fault", "engine, supplier, gateway or upstream timeout")          \
  X(kPreempted, "preempted", "interruptible capacity was withdrawn")           \
  X(kDeadline, "deadline", "the buyer's own deadline passed")                  \
  X(kAbort, "abort", "the buyer went away or cancelled")                       \
  X(kFundsEnd, "funds_end", "the last slice that could be paid was delivered") \
  X(kLength, "length", "max_tokens or the context's end")                      \
  X(kEmpty, "empty", "it ended by itself without anything to see")             \
  X(kStop, "stop", "end-of-generation token or stop string")

enum class EndCause : u8 {
#define TG_END_CAUSE_ENUM(id, name, meaning) id,
  TG_END_CAUSES(TG_END_CAUSE_ENUM)
#undef TG_END_CAUSE_ENUM
};
std::string_view name(EndCause cause);

// Of two causes that are known when the request closes: the first that happened, except that a
// generation which has ended by itself yields to what kept its rest from the buyer (fault,
// preemption, deadline, abort).
EndCause prevailing(EndCause first, EndCause later);

struct Evidence {
  EndCause cause = EndCause::kNone;  // Not kNone.
  bool was_admitted = false;         // A hold was in the ledger.
  i64 delivered_tokens = 0;
};
// Precedence: never admitted (BUYER_ABORT if the buyer left, EXPIRED if time ran out, else
// REJECTED); deadline before the first token EXPIRED, after it BUYER_ABORT; then by cause; an end
// of generation without a token is EMPTY.
meter::Outcome outcome_of(const Evidence& evidence);

// What the outcome charges of what was delivered, before it is cut to what was authorised. Nothing
// delivered charges nothing (I-19).
i64 charge_of(meter::Outcome outcome, const RequestRate& rate, const InputReading& input,
              const OutputReading& delivered);

}  // namespace tg::market
