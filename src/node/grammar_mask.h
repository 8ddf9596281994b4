// A reply's grammar as the engine sees it, and the thread on which masks are worked out while the
// device computes: the engine says before a step what it may ask after it. What is worked out stays
// with the grammar, so that the engine's own question is a look-up; if it comes first, it is
// answered on the spot.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "engine/sample/token_mask.h"
#include "env/mailbox.h"
#include "grammar/matcher.h"

namespace tg::node {

class MaskWorker {
 public:
  MaskWorker();
  ~MaskWorker();
  MaskWorker(const MaskWorker&) = delete;
  MaskWorker& operator=(const MaskWorker&) = delete;

  // Works out the masks at the matcher's place and behind each of `tokens`. Never waits: with too
  // much to do already, this is left to who asks.
  void warm(grammar::GrammarMatcher matcher, std::vector<TokenId> tokens);
  // Masks worked out here, and those that the engine asked for first.
  i64 masks() const { return masks_.load(); }
  i64 late_masks() const { return late_masks_.load(); }
  void note_late_mask() { ++late_masks_; }

 private:
  struct Job {
    grammar::GrammarMatcher matcher;
    std::vector<TokenId> tokens;
  };
  void run();

  Mailbox<Job> inbox_;
  std::atomic<i64> masks_ = 0;
  std::atomic<i64> late_masks_ = 0;
  std::thread thread_;
};

class GrammarMask final : public engine::TokenMask {
 public:
  // `worker` outlives it. The matcher stands behind what the prompt says of the reply.
  GrammarMask(grammar::GrammarMatcher matcher, MaskWorker& worker)
      : matcher_(std::move(matcher)), worker_(worker) {}

  i64 prepare(std::span<const i32> proposed) override;
  void allow(std::span<u64> words) override;
  void accept(i32 token) override;
  bool is_complete() const override { return matcher_.can_end(); }

 private:
  grammar::GrammarMatcher matcher_;
  MaskWorker& worker_;
};

}  // namespace tg::node
