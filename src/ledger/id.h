// Account, transfer and document ids: 128 bits, written as 32 hex digits.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "env/clock.h"
#include "env/random.h"

namespace tg::ledger {

// Milliseconds above 80 random bits: unique without coordination, and in order of time. Never 0.
u128 time_ordered_id(Timestamp now, Random& random);

// The last 16 bytes of SHA-256(text), never 0: the same name is always the same id.
u128 id_from_name(std::string_view text);

// REQUIRES nothing of the text: 1 to 32 hex digits, else kInvalid.
Result<u128> parse_id(std::string_view text);

}  // namespace tg::ledger
