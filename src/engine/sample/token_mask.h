// What a grammar, a schema or a list of choices says to the sampler: which tokens may come next.
// The engine asks only for rows it samples and tells only of tokens it emitted, so an
// implementation never has to go back, and preemption does not concern it. It says beforehand what
// it may ask, so that the work can be done elsewhere while the device computes.
#pragma once

#include <span>

#include "base/types.h"

namespace tg::engine {

class TokenMask {
 public:
  virtual ~TokenMask() = default;
  // A step is about to run that asks allow() once, and once more behind each of the `proposed`
  // tokens that is drawn. The answer is how many of these can be drawn at all: what follows one
  // that cannot is not worth computing.
  virtual i64 prepare(std::span<const i32> proposed) { return static_cast<i64>(proposed.size()); }
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
