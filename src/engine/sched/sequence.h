// A request inside the engine. There are no phases: a sequence has tokens that are known and
// tokens that are computed, and steps let the second catch up with the first. When it does, one
// more token is sampled and known. Prefill, chunks of it, decode, a prefix hit and recomputation
// after a preemption differ only in where `computed` stands.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace tg::engine {

// How a request ends; it leaves the queue, and its blocks, before step() returns.
struct Ending {
  Finish reason = Finish::kStop;
  std::string error;
};

struct Sequence {
  EngineRequest request;    // Its prompt has moved to `tokens`.
  std::vector<i32> tokens;  // Known: the prompt, then what was sampled.
  i64 prompt_tokens = 0;
  i64 computed = 0;   // Tokens whose keys are in the blocks.
  i64 reached = 0;    // The most that `computed` ever was; below it is recomputation.
  i64 published = 0;  // Leading blocks that are in the prefix cache.
  std::vector<i32> blocks;
  std::optional<Ending> ending;
  i64 submitted_ns = 0;
  unit::Usage usage;

  i64 known() const { return static_cast<i64>(tokens.size()); }
  // Keys at the end of the longest possible output; the last token is never fed back.
  i64 keys_max() const { return prompt_tokens + request.max_tokens - 1; }
};

// All open requests, oldest first; the first `running` of them hold blocks. Preemption takes the
// newest running one and admission the oldest waiting one, so one boundary is all the order there
// is, and nobody is overtaken.
struct SequenceQueue {
  std::vector<std::unique_ptr<Sequence>> order;
  i64 running = 0;

  i64 size() const { return static_cast<i64>(order.size()); }
  Sequence& at(i64 index) const { return *order[static_cast<std::size_t>(index)]; }
};

}  // namespace tg::engine
