// A grammar compiled for one vocabulary, and a reply being written under it: which tokens may come
// next, one step per token, back again after rejected drafts, copies for several choices.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "grammar/stacks.h"

namespace tg::grammar {

// Tokens that a matcher can always take back, if it has accepted so many.
inline constexpr i64 kRollbackMax = 256;

// Immutable to its users, who may be on any threads. What matchers work out on the way (transitions
// and masks) is kept behind a lock that is held for one call, so that they share it; it changes how
// fast an answer comes, never the answer.
class CompiledGrammar {
 public:
  // Errors as compile_machine; kLimit if rules nest past kStackDepthMax at the start. `tokens` is
  // shared because a cache, requests under way and their matchers all outlive each other in some
  // order.
  static Result<std::shared_ptr<const CompiledGrammar>> create(
      const Grammar& grammar, std::shared_ptr<const TokenTable> tokens);

  const Machine& machine() const { return machine_; }
  const TokenTable& tokens() const { return *tokens_; }

 private:
  friend class GrammarMatcher;
  struct Pool {
    Pool(const Machine& machine, const TokenTable& tokens) : stacks(machine, tokens) {}
    std::mutex mutex;
    StackPool stacks;  // Under `mutex`.
  };

  CompiledGrammar(Machine machine, std::shared_ptr<const TokenTable> tokens)
      : machine_(std::move(machine)), tokens_(std::move(tokens)) {}
  // The pool in use. A spent one is replaced here and lives on until its last matcher has moved.
  std::shared_ptr<Pool> pool() const;

  Machine machine_;
  std::shared_ptr<const TokenTable> tokens_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<Pool> pool_;  // Under `mutex_`.
};

// One thread at a time. Copying is cheap and gives an independent matcher at the same place.
class GrammarMatcher {
 public:
  explicit GrammarMatcher(std::shared_ptr<const CompiledGrammar> grammar);

  // A matcher at the same place that cannot go back; unlike a copy, as cheap after a long text.
  GrammarMatcher without_history() const;

  // Words that fill_mask needs at least.
  i64 words() const { return grammar_->tokens().words(); }
  // Tokens that end a reply.
  std::span<const TokenId> ends() const { return grammar_->tokens().ends(); }
  // Writes all words: bit t % 64 of word t / 64 says whether token t may come next. Tokens that end
  // a reply may where the text can end. None may after one of them has been accepted. If no bit is
  // set before that, the vocabulary cannot write what the grammar asks for.
  // REQUIRES: words() words or more.
  void fill_mask(std::span<u64> mask);
  // Whether fill_mask only has to look up what it, here or for another reply, has worked out.
  bool is_mask_known() const;
  // The token has been written. False, and nothing changes, if it is not allowed.
  bool accept(TokenId token);
  // Text has been written that is not a token's; takes one place of the history. False, and nothing
  // changes, if it is not allowed.
  bool accept_bytes(std::string_view bytes);
  // The text so far is complete. It may still go on.
  bool can_end() const;
  // A token that ends the reply has been accepted.
  bool is_finished() const { return is_finished_; }
  // Takes back the last n accepts. False, and nothing changes, if fewer are remembered: at least
  // min(kRollbackMax, all).
  bool rollback(i64 n);
  // The bytes that must follow, as far as there is no choice and the text cannot end; at most
  // bytes_max of them. They may end inside a character.
  std::string forced_bytes(i64 bytes_max);

 private:
  // Moves to a new pool if the one in use is spent.
  void renew();
  bool push(i32 config);

  std::shared_ptr<const CompiledGrammar> grammar_;
  std::shared_ptr<CompiledGrammar::Pool> pool_;
  std::vector<i32> history_;  // Configs; the last is now, the first before what is remembered.
  bool is_finished_ = false;
};

}  // namespace tg::grammar
