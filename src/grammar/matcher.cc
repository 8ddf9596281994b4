#include "grammar/matcher.h"

#include <algorithm>

namespace tg::grammar {

Result<std::shared_ptr<const CompiledGrammar>> CompiledGrammar::create(
    const Grammar& grammar, std::shared_ptr<const TokenTable> tokens) {
  TG_ASSIGN(Machine machine, compile_machine(grammar));
  std::shared_ptr<CompiledGrammar> made(new CompiledGrammar(std::move(machine), std::move(tokens)));
  made->pool_ = std::make_shared<Pool>(made->machine_, *made->tokens_);
  if (made->pool_->stacks.start() == StackPool::kDead)
    return Error{Code::kLimit, "grammar: rules nest deeper than " + std::to_string(kStackDepthMax) +
                                   " before the first byte"};
  return std::shared_ptr<const CompiledGrammar>(std::move(made));
}

std::shared_ptr<CompiledGrammar::Pool> CompiledGrammar::pool() const {
  std::scoped_lock lock(mutex_);
  std::unique_lock pool_lock(pool_->mutex);
  bool is_spent = pool_->stacks.is_spent();
  pool_lock.unlock();
  if (is_spent) pool_ = std::make_shared<Pool>(machine_, *tokens_);
  return pool_;
}

GrammarMatcher::GrammarMatcher(std::shared_ptr<const CompiledGrammar> grammar)
    : grammar_(std::move(grammar)), pool_(grammar_->pool()) {
  std::scoped_lock lock(pool_->mutex);
  history_.push_back(pool_->stacks.start());
}

void GrammarMatcher::renew() {
  {
    std::scoped_lock lock(pool_->mutex);
    if (!pool_->stacks.is_spent()) return;
  }
  std::shared_ptr<CompiledGrammar::Pool> fresh = grammar_->pool();
  if (fresh == pool_) return;
  std::shared_ptr<CompiledGrammar::Pool> spent = pool_;  // Outlives the lock on its mutex.
  // std::scoped_lock takes both without deadlock, whatever others move between.
  std::scoped_lock lock(spent->mutex, fresh->mutex);
  if (static_cast<i64>(history_.size()) > kRollbackMax + 1)
    history_.erase(history_.begin(), history_.end() - (kRollbackMax + 1));
  for (i32& config : history_) config = fresh->stacks.adopt(spent->stacks, config);
  pool_ = std::move(fresh);
}

void GrammarMatcher::fill_mask(std::span<u64> mask) {
  if (is_finished_) return std::fill(mask.begin(), mask.end(), 0);
  renew();
  std::scoped_lock lock(pool_->mutex);
  pool_->stacks.fill_mask(history_.back(), mask);
}

bool GrammarMatcher::is_mask_known() const {
  std::scoped_lock lock(pool_->mutex);
  return is_finished_ || pool_->stacks.is_mask_known(history_.back());
}

GrammarMatcher GrammarMatcher::without_history() const {
  GrammarMatcher out(grammar_);
  out.pool_ = pool_;
  out.history_.assign(1, history_.back());
  out.is_finished_ = is_finished_;
  return out;
}

bool GrammarMatcher::push(i32 config) {
  if (config == StackPool::kDead) return false;
  history_.push_back(config);
  return true;
}

bool GrammarMatcher::accept(TokenId token) {
  if (is_finished_) return false;
  if (grammar_->tokens().is_end(token)) {
    if (!can_end()) return false;
    history_.push_back(history_.back());
    is_finished_ = true;
    return true;
  }
  std::string_view text = grammar_->tokens().text(token);
  return !text.empty() && accept_bytes(text);
}

bool GrammarMatcher::accept_bytes(std::string_view bytes) {
  if (is_finished_) return false;
  renew();
  std::scoped_lock lock(pool_->mutex);
  return push(pool_->stacks.run(history_.back(), bytes));
}

bool GrammarMatcher::can_end() const {
  std::scoped_lock lock(pool_->mutex);
  return pool_->stacks.can_end(history_.back());
}

bool GrammarMatcher::rollback(i64 n) {
  TG_ASSERT(n >= 0);
  if (n >= static_cast<i64>(history_.size())) return false;
  if (n > 0) is_finished_ = false;
  history_.resize(history_.size() - static_cast<std::size_t>(n));
  return true;
}

std::string GrammarMatcher::forced_bytes(i64 bytes_max) {
  std::string out;
  if (is_finished_) return out;
  renew();
  std::scoped_lock lock(pool_->mutex);
  StackPool& stacks = pool_->stacks;
  i32 at = history_.back();
  while (static_cast<i64>(out.size()) < bytes_max && !stacks.can_end(at)) {
    i32 only = StackPool::kDead;
    char byte = 0;
    int choices = 0;
    for (int b = 0; b < 256 && choices < 2; ++b) {
      i32 next = stacks.step(at, static_cast<u8>(b));
      if (next == StackPool::kDead) continue;
      ++choices;
      only = next;
      byte = static_cast<char>(b);
    }
    if (choices != 1) break;
    out.push_back(byte);
    at = only;
  }
  return out;
}

}  // namespace tg::grammar
