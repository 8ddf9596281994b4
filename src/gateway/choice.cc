#include "gateway/choice.h"

#include <algorithm>
#include <iterator>
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
    for (std::size_t i = 0; i < event.tokens.size() && !is_stopped(); ++i) push_token(event, i);
    return;
  }
  finished_ = event;
  if (is_stopped() || is_broken_off()) return;
  push_text(detokenizer_.flush());
  if (!is_stopped()) emit(matcher_.flush());
}

Delta Choice::take() {
  // After the last byte every token counts, those of a matched stop string included: the buyer
  // asked for the search.
  bool is_whole = is_over() && !is_broken_off();
  i64 released = is_whole ? pushed_ : emitted_;
  if (is_whole) end_token(true, std::nullopt);
  while (!pending_.empty() && pending_.front().end <= released) {
    Pending& front = pending_.front();
    delta_.tokens += front.tokens;
    // Tokens of a matched stop string have no visible text, so no report either.
    if (front.end <= emitted_) {
      delta_.reports.insert(delta_.reports.end(), std::make_move_iterator(front.reports.begin()),
                            std::make_move_iterator(front.reports.end()));
    }
    pending_.pop_front();
  }
  return std::exchange(delta_, Delta{});
}

bool Choice::is_broken_off() const {
  if (is_stopped() || !is_finished()) return false;
  return finished_->reason == fleet::FinishReason::kError ||
         finished_->reason == fleet::FinishReason::kCancelled;
}

void Choice::push_token(const fleet::SupplierEvent& event, std::size_t index) {
  TokenId id = event.tokens[index];
  ++tokens_;
  bool is_shown = std::find(shown_.begin(), shown_.end(), id) != shown_.end();
  bool is_mark = (tokenizer_->is_special(id) && !is_shown) ||
                 (!ignore_eos_ && tokenizer_->is_end_of_generation(id));
  if (is_mark) {
    ++incomplete_.tokens;
    end_token(true, std::nullopt);
    return;
  }
  std::string text = detokenizer_.push(id);
  push_text(text);
  bool is_complete = !text.empty() || tokenizer_->piece(id).empty();
  std::optional<TokenReport> report;
  if (index < event.logprobs.size()) report = report_of(event, index);
  ++incomplete_.tokens;
  end_token(is_complete, std::move(report));
}

void Choice::push_text(const std::string& text) {
  if (text.empty()) return;
  pushed_ += static_cast<i64>(text.size());
  StopMatcher::Output output = matcher_.push(text);
  if (output.stop_index >= 0) stop_index_ = output.stop_index;
  emit(std::move(output.text));
}

void Choice::end_token(bool is_complete, std::optional<TokenReport> report) {
  if (report) incomplete_.reports.push_back(*std::move(report));
  if (!is_complete || incomplete_.tokens == 0) return;
  incomplete_.end = pushed_;
  pending_.push_back(std::exchange(incomplete_, Pending{}));
}

void Choice::emit(std::string text) {
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
