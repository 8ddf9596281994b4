// Supplier: whoever turns a request into tokens: the embedded engine, a remote node, an external
// engine. The gateway's only view of them: submit, read events from a mailbox, cancel.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "env/lent_work.h"
#include "env/mailbox.h"
#include "grammar/reply_shape.h"
#include "isa/sampling.h"
#include "text/vocab.h"
#include "unit/usage.h"

namespace tg::fleet {

// kFunds: the output tokens that were paid for are used up, and max_tokens is not reached; either
// nothing will be added, or nobody has said so for longer than the supplier waits.
enum class FinishReason { kStop, kLength, kCancelled, kError, kFunds };

// Who comes first when not everybody can.
enum class ServiceClass { kInteractive, kStandard, kBatch };

struct TokenLogprob {
  TokenId id = 0;
  f32 logprob = 0;
};

// Why a request ended in kError, as far as the next supplier's chances go: kBusy may work elsewhere
// or later, kInvalid nowhere of this kind, kBroken says something about the supplier itself.
enum class Fault { kBroken, kBusy, kInvalid };

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
  Fault fault = Fault::kBroken;               // kError
  unit::Usage usage;                          // kFinished
  // Tokens were counted from the supplier's text by our tokenizer, since it names no ids.
  bool is_estimated = false;
  // kFinished: what the supplier claims that contradicts what came; "" if nothing does. Billing
  // goes by what came, trust by this.
  std::string dispute;
  // Of a router, on the first kTokens and on kFinished: who served, and one line that says why.
  std::string supplier;
  std::string route;
  std::vector<f32> embedding;  // kFinished, if asked for and kStop
};

// What a buyer asks of routing, for one request.
struct RouteWishes {
  i64 price_max_ucredit = 0;       // what the supplier may be expected to charge; 0: anything
  i64 tpot_target_ns = 0;          // time per output token after the first; 0: no wish
  f64 energy_weight = 0;           // what a joule counts beside the price, in ucredit; 0: nothing
  std::string zone;                // only suppliers there; "": anywhere
  std::vector<std::string> allow;  // only these suppliers, by name; empty: all
  std::vector<std::string> deny;
  friend bool operator==(const RouteWishes&, const RouteWishes&) = default;
};

struct SupplyRequest {
  u64 id = 0;  // Unique among the open requests of a supplier.
  std::vector<TokenId> prompt;
  i64 max_tokens = 0;  // > 0, or 0 with is_embedding
  isa::SamplingParams sampling;
  // Prompts share cached prefixes only with requests of the same salt: one per account, so that
  // neither usage nor time tells one tenant what another has said.
  u64 cache_salt = 0;
  std::vector<TokenId> stop_tokens;  // Sampling one of these ends the request (it is emitted).
  // Where events go. The receiver must drain it: a supplier waits for no one and cancels a request
  // whose events it cannot deliver.
  std::shared_ptr<Mailbox<SupplierEvent>> events;
  ServiceClass service = ServiceClass::kStandard;
  i64 deadline_ns = 0;    // the first token is wanted this long after submission; 0: no wish
  i64 funded_tokens = 0;  // output tokens paid for so far, see extend(); 0: all of max_tokens
  bool is_funding_final = false;  // nothing will be added to them
  RouteWishes wishes;             // heeded by routers
  // What the reply must look like; none: anything. The supplier compiles it, or refuses it with
  // kUnsupported. Shared because all choices of a request have it, and immutable.
  std::shared_ptr<const grammar::ReplyShape> shape = {};
  bool is_embedding = false;  // The prompt's vector is wanted, and no tokens.
};

// How long a supplier's steps take, as far as it knows: the sum of these times the step's sizes.
struct StepEstimate {
  f64 ns_per_step = 0;
  f64 ns_per_token = 0;
  f64 ns_per_row = 0;   // of logits: one per sequence that gets a token
  f64 ns_per_key = 0;   // read: cached and new ones of each sequence
  f64 ns_per_pair = 0;  // of a new token and a key it attends
  f64 error = 1;        // relative, of late estimates
};

// kModelled: of a stated power, not by a meter.
enum class EnergySource : u8 { kNone, kModelled, kMeasured };

// Joules since the start, of its requests and of the time in which it had none.
struct EnergyCount {
  f64 request_joules = 0;
  f64 idle_joules = 0;
  EnergySource source = EnergySource::kNone;
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
  StepEstimate step;
  bool is_up = true;         // false: nothing reaches it now
  bool is_draining = false;  // finishes what it has, takes nothing new
  bool is_resting = false;   // unloaded; the next request loads it again
  i64 slots = 0;             // requests it runs at once; 0: not known
  EnergyCount energy;
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
  // Raises the funded_tokens of an open request; unknown ids and lower numbers are ignored. Whoever
  // has used them up waits for more until one word is final. By default a supplier cannot.
  virtual Status extend(u64, i64, bool /*is_final*/) {
    return Error{Code::kUnsupported, "this supplier takes no more funds for an open request"};
  }
  // What it does between its askers and others, if an asker's loop may do that: whoever borrows it
  // calls its turn() soon after submit(), cancel() and extend(). None by default.
  virtual LentWork* lent_work() { return nullptr; }
  // Lines of Prometheus text about itself, beyond its load; "" if it has nothing to say.
  virtual std::string metrics() const { return ""; }
  // How many of its suppliers there should be and why, as one JSON object; "" if nobody decides it.
  virtual std::string scaling() const { return ""; }
  // Where a request would go and why, as one JSON object; nothing is submitted. A supplier that is
  // no router has nothing to choose.
  virtual std::string explain(const SupplyRequest&) const { return "{\"suppliers\":[]}"; }
};

}  // namespace tg::fleet
