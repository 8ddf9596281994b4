// Text out of a token stream, one token at a time: a client must never see half a character, nor
// the beginning of a stop string that later completes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace tg {

// Turns ids into text as they come. Only complete characters are returned; bytes that cannot be
// UTF-8 become U+FFFD. What all calls returned, joined, is Tokenizer::decode of all ids (made
// valid).
class Detokenizer {
 public:
  // Where the tokens stand: a continuation of a prompt keeps SPM's leading space, a text's start
  // drops it as decode does.
  struct Options {
    bool show_special = false;
    bool continues_text = false;
    std::vector<TokenId> shown = {};  // Special tokens that are shown though others are not.
  };

  // Borrows `tokenizer`, which must outlive it.
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  Detokenizer(const Tokenizer& tokenizer, Options options)
      : tokenizer_(&tokenizer), options_(options), is_at_start_(!options.continues_text) {}

  // Text that became complete with `id`; often empty.
  std::string push(TokenId id);
  // The same, appended to `out`.
  void append(TokenId id, std::string& out);
  // The same for as many of `ids`, from the first on, as are plain and follow whole characters;
  // how many. What is left is for append().
  std::size_t append_plain(std::span<const TokenId> ids, std::string& out) const;
  // The rest; an unfinished character becomes one U+FFFD. The next push starts a new text.
  std::string flush();

 private:
  const Tokenizer* tokenizer_;
  Options options_;
  std::string pending_;
  bool is_at_start_ = true;
};

// Looks for stop strings in streamed text. Text that may be the beginning of one is held back until
// that is decided.
class StopMatcher {
 public:
  static constexpr i64 kStopsMax = 16;
  static constexpr i64 kStopBytesMax = 1024;

  // kLimit past the limits above; empty strings are kInvalid.
  static Result<StopMatcher> create(std::vector<std::string> stops);
  StopMatcher() = default;  // No stop strings: everything passes.

  struct Output {
    std::string text;     // Safe to show now; never part of a match.
    i64 stop_index = -1;  // Which stop string matched, or -1. Nothing is emitted after a match.
  };

  // Takes more text. The match that ends first wins; of those that end together, the longest.
  Output push(std::string_view text);
  // The stream is over without a match: what was held back.
  std::string flush();
  bool is_stopped() const { return is_stopped_; }
  // False: everything passes as it comes.
  bool has_stops() const { return !stops_.empty(); }

 private:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  std::vector<std::string> stops_;
  std::string held_;
  bool is_stopped_ = false;
};

// Appends `bytes` to `out` with every ill-formed part replaced by U+FFFD (Unicode's "maximal
// subpart" practice). With `keep_partial`, an unfinished but so far valid last character is not
// consumed. Returns the number of bytes consumed.
i64 append_valid_utf8(std::string& out, std::string_view bytes, bool keep_partial);

}  // namespace tg
