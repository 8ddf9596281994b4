// A source of proposals beyond a sequence's own repetitions: a draft model, past answers. Whatever
// it proposes, outputs stay bit for bit what they are without it; only time is at stake.
#pragma once

#include <span>
#include <vector>

#include "base/types.h"
#include "isa/sampling.h"
#include "unit/actual.h"

namespace tg::engine {

// What speculation did for one request, or for all. Rejected tokens were computed, so they are in
// the actual work; they are never in a usage's tokens.
struct DraftCount {
  u64 drafted = 0;
  u64 accepted = 0;
};

// One sequence that could use proposals.
struct DraftAsk {
  u64 request = 0;
  std::span<const i32> tokens;  // prompt, then output
  i64 prompt_tokens = 0;
  const isa::SamplingParams* sampling = nullptr;  // a drafter that draws with its seed hits oftener
  i64 most = 0;                                   // tokens to propose
  std::vector<i32>* draft = nullptr;              // where to put them; empty, with room
  unit::StepShare cost;                           // out: its share of what the proposals took
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Proposes for all of them at once; token ids must be in the vocabulary. Notes what it cost.
  virtual void propose(std::span<DraftAsk> asks) = 0;
  // What a proposed token takes, as far as it knows.
  virtual f64 ns_per_token() const { return 0; }
  // The request has ended.
  virtual void forget(u64 request) = 0;
};

}  // namespace tg::engine
