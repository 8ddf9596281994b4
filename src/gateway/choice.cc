#include "gateway/choice.h"

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

namespace tg::gateway {

static StopMatcher matcher_of(const std::vector<std::string>& stop) {
  Result<StopMatcher> matcher = StopMatcher::create(stop);
  TG_ASSERT(matcher.ok());
  return std::move(matcher).value();
}

Choice::Choice(const Tokenizer& tokenizer, const Options& options)
    : tokenizer_(&tokenizer),
      ignore_eos_(options.ignore_eos),
      shown_(options.shown),
      detokenizer_(tokenizer, {.show_special = false,
                               .continues_text = options.continues_text,
                               .shown = options.shown}),
      matcher_(matcher_of(options.stop)) {}

void Choice::push(const fleet::SupplierEvent& event) {
  TG_ASSERT(!is_finished());
  if (event.kind == fleet::SupplierEvent::Kind::kTokens) {
    for (std::size_t i = 0; i < event.tokens.size() && !is_stopped();) {
      std::size_t plain = push_plain(event, i);
      if (plain == 0) push_token(event, i);
      i += std::max<std::size_t>(plain, 1);
    }
    return;
  }
  finished_ = std::make_unique<fleet::SupplierEvent>(event);
  if (is_stopped() || is_broken_off()) return;
  push_text(detokenizer_.flush());
  if (!is_stopped()) emit(matcher_.flush());
}

Delta Choice::take() {
  // After the last byte every token counts, those of a matched stop string included: the buyer
  // asked for the search.
  bool is_whole = is_over() && !is_broken_off();
  i64 released = is_whole ? pushed_ : emitted_;
  if (is_whole) end_token(true);
  std::vector<Pending>::iterator next = pending_.begin();
  for (; next != pending_.end() && next->end <= released; ++next) {
    delta_.tokens += next->tokens;
    // Tokens of a matched stop string have no visible text, so no report either.
    if (next->end > emitted_) continue;
    delta_.reports.insert(delta_.reports.end(), std::make_move_iterator(next->reports.begin()),
                          std::make_move_iterator(next->reports.end()));
  }
  pending_.erase(pending_.begin(), next);
  return std::exchange(delta_, Delta{});
}

bool Choice::is_broken_off() const {
  if (is_stopped() || !is_finished()) return false;
  return finished_->reason == fleet::FinishReason::kError ||
         finished_->reason == fleet::FinishReason::kCancelled;
}

// As many tokens from `first` on as need no look of their own: nothing waits, and nothing is asked
// about them.
std::size_t Choice::push_plain(const fleet::SupplierEvent& event, std::size_t first) {
  bool may_wait = matcher_.has_stops() || !event.logprobs.empty();
  bool is_waiting = incomplete_.tokens > 0 || !pending_.empty() || emitted_ != pushed_;
  if (may_wait || is_waiting) return 0;
  std::span<const TokenId> ids(event.tokens);
  std::size_t before = delta_.text.size();
  std::size_t count = detokenizer_.append_plain(ids.subspan(first), delta_.text);
  i64 bytes = static_cast<i64>(delta_.text.size() - before);
  pushed_ += bytes;
  emitted_ += bytes;
  tokens_ += static_cast<i64>(count);
  delta_.tokens += static_cast<i64>(count);
  return count;
}

void Choice::push_token(const fleet::SupplierEvent& event, std::size_t index) {
  TokenId id = event.tokens[index];
  ++tokens_;
  ++incomplete_.tokens;
  bool is_shown = std::find(shown_.begin(), shown_.end(), id) != shown_.end();
  bool is_mark = (tokenizer_->is_special(id) && !is_shown) ||
                 (!ignore_eos_ && tokenizer_->is_end_of_generation(id));
  if (is_mark) return end_token(true);
  text_.clear();
  detokenizer_.append(id, text_);
  push_text(text_);
  bool is_complete = !text_.empty() || tokenizer_->piece(id).empty();
  if (index < event.logprobs.size()) incomplete_.reports.push_back(report_of(event, index));
  end_token(is_complete);
}

void Choice::push_text(std::string_view text) {
  if (text.empty()) return;
  pushed_ += static_cast<i64>(text.size());
  if (!matcher_.has_stops()) return emit(text);
  StopMatcher::Output output = matcher_.push(text);
  if (output.stop_index >= 0) stop_index_ = output.stop_index;
  emit(output.text);
}

void Choice::end_token(bool is_complete) {
  if (!is_complete || incomplete_.tokens == 0) return;
  // Nothing is held back, which is what most tokens find.
  bool is_released = pending_.empty() && emitted_ == pushed_ && incomplete_.reports.empty();
  if (is_released) {
    delta_.tokens += std::exchange(incomplete_.tokens, 0);
    return;
  }
  incomplete_.end = pushed_;
  pending_.push_back(std::exchange(incomplete_, Pending{}));
}

void Choice::emit(std::string_view text) {
  emitted_ += static_cast<i64>(text.size());
  delta_.text += text;
}

TokenReport Choice::report_of(const fleet::SupplierEvent& event, std::size_t index) const {
  TokenReport report;
  report.token = tokenizer_->piece(event.tokens[index]);
  report.logprob = event.logprobs[index].logprob;
  if (index >= event.top_logprobs.size()) return report;
  for (const fleet::TokenLogprob& other : event.top_logprobs[index]) {
    report.top.emplace_back(tokenizer_->piece(other.id), other.logprob);
  }
  return report;
}

}  // namespace tg::gateway
