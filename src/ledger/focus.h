// What was posted, as rows with the columns of FOCUS (FinOps Open Cost and Usage
// Specification 1.0), for the tools that read cloud bills: usage, purchases of prepaid units,
// credits and adjustments. A ledger of money gives costs, one of units gives quantities, whose cost
// is the purchase's.
#pragma once

#include <functional>
#include <string_view>

#include "base/result.h"
#include "env/clock.h"
#include "ledger/export.h"
#include "ledger/state_machine.h"

namespace tg::ledger {

// CSV: a header, then a row for each applied transfer that moved something and has
// from <= time < to.
Status export_focus(const StateMachine& machine, Timestamp from, Timestamp to,
                    const ExportSink& sink);

}  // namespace tg::ledger
