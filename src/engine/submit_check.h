// What a request must be before the engine takes it: everything a caller can get wrong is found
// here, so that the loop behind it needs no checks of its own.
#pragma once

#include "base/result.h"
#include "engine/engine.h"

namespace tg::engine {

inline constexpr i64 kStopTokensMax = 256;
inline constexpr i64 kLogitBiasMax = 4'096;
inline constexpr i32 kLogprobsMax = 20;

// What the model and the pool can hold.
struct RequestBounds {
  i64 vocabulary = 0;
  i64 context_max = 0;  // tokens of prompt and output together
  i64 pool_tokens = 0;  // keys that the whole KV pool holds
};

// kInvalid, naming the field and its value, if the request could never run.
Status check_request(const EngineRequest& request, const RequestBounds& bounds);

}  // namespace tg::engine
