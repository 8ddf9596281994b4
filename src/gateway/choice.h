// One continuation while it is being produced: ids in, text out, and the exact count of tokens
// whose text has been let go. Nothing here knows HTTP; delivery is confirmed from outside.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fleet/supplier.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace tg::gateway {

// One token's place in the distribution, in text.
struct TokenReport {
  std::string token;  // Bytes; may be part of a character.
  f32 logprob = 0;
  std::vector<std::pair<std::string, f32>> top;
};

// What became visible since the last take().
struct Delta {
  std::string text;
  std::vector<TokenReport> reports;  // Of the tokens that `text` completes; if asked for.
  i64 tokens = 0;                    // Tokens that `text` completes, and those without text.
};

class Choice {
 public:
  struct Options {
    std::vector<std::string> stop;  // Within the StopMatcher's limits.
    bool ignore_eos = false;
    bool continues_text = false;  // Completions go on where the prompt ended; chat begins anew.
    std::vector<TokenId> shown;   // Control tokens that are part of the text.
  };
  Choice(const Tokenizer& tokenizer, const Options& options);

  // A kTokens or the kFinished event of this choice. Tokens after a stop string are dropped.
  void push(const fleet::SupplierEvent& event);
  // Empty text and no tokens if nothing became visible. Each token is handed out once.
  Delta take();

  // Nothing more is wanted: as if a stop string had matched here.
  void stop() { is_cut_ = true; }

  // A stop string matched or stop() was called: no more text will come and the supplier should be
  // told to stop.
  bool is_stopped() const { return is_cut_ || matcher_.is_stopped(); }
  // Which of the stop strings matched, or -1.
  i64 stop_index() const { return stop_index_; }
  // The supplier's kFinished has come.
  bool is_finished() const { return finished_ != nullptr; }
  // REQUIRES: is_finished().
  const fleet::SupplierEvent& finished() const { return *finished_; }
  // No text will follow: stopped or finished.
  bool is_over() const { return is_stopped() || is_finished(); }
  // Tokens received and not dropped.
  i64 tokens() const { return tokens_; }
  bool has_text() const { return emitted_ > 0; }

 private:
  // Where a token's last byte lies in the text; it is released when the text is out that far.
  struct Pending {
    i64 end = 0;
    i64 tokens = 0;
    std::vector<TokenReport> reports;
  };
  // Finished otherwise than by its own end: half a character and what a stop string may need stay
  // where they are, unseen and uncounted.
  bool is_broken_off() const;
  std::size_t push_plain(const fleet::SupplierEvent& event, std::size_t first);
  void push_token(const fleet::SupplierEvent& event, std::size_t index);
  void push_text(std::string_view text);
  void end_token(bool is_complete);
  void emit(std::string_view text);
  TokenReport report_of(const fleet::SupplierEvent& event, std::size_t index) const;

  const Tokenizer* tokenizer_;
  bool ignore_eos_;
  std::vector<TokenId> shown_;
  bool is_cut_ = false;
  i64 stop_index_ = -1;
  Detokenizer detokenizer_;
  StopMatcher matcher_;
  std::vector<Pending> pending_;
  Pending incomplete_;  // Tokens whose character is not complete yet.
  std::string text_;    // Scratch: of one token.
  Delta delta_;
  i64 pushed_ = 0;   // Bytes given to the matcher.
  i64 emitted_ = 0;  // Bytes let go by it.
  i64 tokens_ = 0;
  std::unique_ptr<fleet::SupplierEvent> finished_;  // Elsewhere: a stream that lasts has none.
};

}  // namespace tg::gateway
