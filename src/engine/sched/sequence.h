// A request inside the engine. There are no phases: a sequence has tokens that are known and
// tokens that are computed, and steps let the second catch up with the first. When it does, one
// more token is sampled and known. Prefill, chunks of it, decode, a prefix hit and recomputation
// after a preemption differ only in where `computed` stands; proposals of a drafter are tokens
// after the known ones that a step computes on trial.
#pragma once

#include <compare>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/sample/token_mask.h"
#include "engine/spec/suffix_index.h"

namespace tg::engine {

// What speculation keeps of a request.
struct Drafting {
  f64 hit_rate = 0.5;  // estimated chance that a proposed token is accepted
  DraftCount count;
  SuffixIndex repeats;  // where its own tokens repeat
};

// How a request ends; it leaves the queue, and its blocks, before step() returns.
struct Ending {
  Finish reason = Finish::kStop;
  std::string error;
};

// Whose turn it is: the least comes first. A ripe request, of whatever class, stands before all
// that are not; the others by class, then by due time. Equals go by their order of submission.
struct Standing {
  i32 rank = 0;  // 0: ripe; 1 + class
  i64 time_ns = 0;
  u64 serial = 0;
  friend auto operator<=>(const Standing&, const Standing&) = default;
};

struct Sequence {
  EngineRequest request;    // Its prompt has moved to `tokens`.
  std::vector<i32> tokens;  // Known: the prompt, then what was sampled.
  i64 prompt_tokens = 0;
  i64 computed = 0;                 // Tokens whose keys are in the blocks.
  i64 reached = 0;                  // The most that `computed` ever was; below it is recomputation.
  i64 published = 0;                // Leading blocks that are in the prefix cache.
  std::vector<i32> blocks;          // May exceed the known tokens by what proposals once needed.
  std::vector<i32> swapped;         // Pages of the host, of one that gave way: its first keys,
  i64 swapped_tokens = 0;           // of so many tokens.
  std::vector<i32> draft;           // Proposed to follow the known tokens; of this step only.
  std::unique_ptr<TokenMask> mask;  // none: every token may be sampled
  Drafting drafting;
  std::optional<Ending> ending;
  u64 serial = 0;        // order of submission
  i64 submitted_ns = 0;  // all times are the clock's monotonic ones
  i64 due_ns = 0;        // its place within its class
  i64 ripe_ns = 0;       // from then on it comes before whatever is not ripe
  i64 preemptions = 0;
  i64 paused_ns = 0;  // since when it has waited for funds; 0: it does not
  Standing standing;  // among the running
  unit::Usage usage;

  i64 known() const { return static_cast<i64>(tokens.size()); }
  i64 missing() const { return known() - computed; }
  // Output tokens that may still be sampled, now that so many are paid for.
  i64 outputs_left() const { return request.funded_tokens - usage.output_tokens; }
  // Keys at the end of the longest possible output; the last token is never fed back.
  i64 keys_max() const { return prompt_tokens + request.max_tokens - 1; }
  Standing standing_at(i64 now_ns) const {
    if (now_ns >= ripe_ns) return {0, ripe_ns, serial};
    return {1 + static_cast<i32>(request.priority), due_ns, serial};
  }
};

}  // namespace tg::engine
