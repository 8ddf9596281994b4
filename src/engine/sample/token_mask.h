// What a grammar, a schema or a list of choices says to the sampler: which tokens may come next.
// The engine asks only for rows it samples and tells only of tokens it emitted, so an
// implementation never has to go back, and preemption does not concern it.
#pragma once

#include <span>

#include "base/types.h"

namespace tg::engine {

class TokenMask {
 public:
  virtual ~TokenMask() = default;
  // Sets bit t % 64 of word t / 64 for each token t that may be sampled next; the words come
  // zeroed, enough for the vocabulary. If the output is_complete(), the engine allows the request's
  // stop tokens besides. No token at all ends the request: kStop if complete, kError if not.
  virtual void allow(std::span<u64> words) = 0;
  // `token`, which was allowed, has been emitted; not called for stop tokens.
  virtual void accept(i32 token) = 0;
  // Whether the output may end here.
  virtual bool is_complete() const = 0;
};

}  // namespace tg::engine
