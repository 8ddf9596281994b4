// Supplier: whoever turns a request into tokens: the embedded engine, a remote node, an external
// engine. The gateway's only view of them: submit, read events from a mailbox, cancel.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "env/mailbox.h"
#include "isa/sampling.h"
#include "text/vocab.h"
#include "unit/usage.h"

namespace tg::fleet {

enum class FinishReason { kStop, kLength, kCancelled, kError };

struct TokenLogprob {
  TokenId id = 0;
  f32 logprob = 0;
};

// Events of one request arrive in order: any number of kTokens, then exactly one kFinished.
struct SupplierEvent {
  enum class Kind { kTokens, kFinished };
  u64 request = 0;
  Kind kind = Kind::kTokens;
  std::vector<TokenId>
      tokens;  // kTokens; the end-of-generation token is included when it was sampled
  std::vector<TokenLogprob> logprobs;  // one per token if asked for
  std::vector<std::vector<TokenLogprob>> top_logprobs;
  FinishReason reason = FinishReason::kStop;  // kFinished
  std::string error;                          // kError: one line
  unit::Usage usage;                          // kFinished
};

struct SupplyRequest {
  u64 id = 0;  // Unique among the open requests of a supplier.
  std::vector<TokenId> prompt;
  i64 max_tokens = 0;  // > 0
  isa::SamplingParams sampling;
  // Prompts share cached prefixes only with requests of the same salt: one per account, so that
  // neither usage nor time tells one tenant what another has said.
  u64 cache_salt = 0;
  std::vector<TokenId> stop_tokens;  // Sampling one of these ends the request (it is emitted).
  // Where events go. The receiver must drain it: a supplier waits for no one and cancels a request
  // whose events it cannot deliver.
  std::shared_ptr<Mailbox<SupplierEvent>> events;
};

// An immutable picture of a supplier's state, taken on a tick.
struct SupplierLoad {
  i64 running = 0;
  i64 waiting = 0;
  i64 kv_pages_total = 0;
  i64 kv_pages_free = 0;
  i64 context_max = 0;
  u64 steps = 0;
  u64 prompt_tokens = 0;  // totals since start
  u64 cached_tokens = 0;
  u64 output_tokens = 0;
};

class Supplier {
 public:
  virtual ~Supplier() = default;
  // Hands the request over; kUnavailable if the queue is full, kInvalid if it can never run (too
  // long).
  virtual Status submit(SupplyRequest request) = 0;
  // Ends the request within a step; its kFinished event (kCancelled) still comes. Unknown ids are
  // ignored.
  virtual void cancel(u64 id) = 0;
  virtual SupplierLoad load() const = 0;
};

}  // namespace tg::fleet
