// What a batch must satisfy before a step begins; each failure is a trap.
#pragma once

#include "isa/reference/interpreter.h"

namespace tg::isa {

// Sizes, partitions, bounds, pages, slots, trees and state slots. `caches` and `states` by symbol.
Status check_batch(const ReferenceBatch& batch, const Program& program,
                   std::span<const ReferenceKv> caches, std::span<const ReferenceState> states);

}  // namespace tg::isa
