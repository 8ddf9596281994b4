// Proposals from a smaller model of the same vocabulary, on an executor of its own. It draws with
// the request's own parameters and seed: as the draw depends on seed, position and token id only,
// the two models agree wherever their scores nearly do, sampled or not.
#pragma once

#include <vector>

#include "engine/engine.h"
#include "engine/kv/block_pool.h"
#include "engine/run/attribution.h"
#include "engine/run/batch.h"
#include "engine/sample/sampler.h"
#include "engine/spec/drafter.h"

namespace tg::engine {

class ModelDrafter final : public Drafter {
 public:
  // All must outlive the drafter. REQUIRES: the vocabulary is the target's; a program without
  // states.
  ModelDrafter(backend::Executor& executor, const EngineCosts& costs, Clock& clock);

  // One pass brings the model up to date with everybody, as far as a batch reaches: who is not
  // there yet proposes at a later step. Then a pass per token.
  void propose(std::span<DraftAsk> asks) override;
  f64 ns_per_token() const override { return ns_per_token_; }
  void forget(u64 request) override;

  // Pages that hold keys.
  i64 pages_used() const { return pool_.used(); }

 private:
  // What the model has seen of a request.
  struct Track {
    u64 request = 0;
    bool is_open = false;
    u64 used_at = 0;        // the call that used it last
    std::vector<i32> seen;  // tokens whose keys are in the blocks
    std::vector<i32> blocks;
  };
  struct Active {
    DraftAsk* ask;
    Track* track;
  };

  Track* find(u64 request);
  Track* open(u64 request);
  bool make_room(Track& track, i64 tokens);
  void close(Track& track);
  void pass();
  bool take(const Active& active, const BatchPart& part, std::span<const f32> logits);

  backend::Executor& executor_;
  Clock& clock_;
  BlockPool pool_;
  BatchBuilder builder_;
  Attribution attribution_;
  Sampler sampler_;
  std::vector<Track> tracks_;
  std::vector<Active> active_;  // asks that still want tokens
  std::vector<Active> going_;   // scratch of pass(): those that its batch has
  u64 calls_ = 0;
  f64 ns_per_token_ = 0;
};

}  // namespace tg::engine
