// Tokenizer: text to token ids and back, for one vocabulary, in the known ways: byte-level BPE
// behind a pre-tokenizer, BPE over characters, SentencePiece's score-driven merging and its unigram
// model, and WordPiece.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/vocab.h"

namespace tg {

// Longest input of one encode call, and largest vocabulary, accepted.
inline constexpr i64 kEncodeBytesMax = i64{16} << 20;
inline constexpr i64 kVocabTokensMax = i64{1} << 22;

struct Fragment;

// Immutable after create, so that threads may share one.
class Tokenizer {
 public:
  // Checks the vocabulary and builds its indexes. kUnsupported if vocab.pre is not known, kInvalid
  // if the vocabulary contradicts itself. If vocab.end_of_generation is empty it is found by name.
  static Result<Tokenizer> create(Vocab vocab);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  struct EncodeOptions {
    bool add_bos = false;        // Put the vocabulary's bos (and after_bos) first, if it has one.
    bool add_eos = false;        // Put the vocabulary's eos last, if it has one.
    bool parse_special = false;  // Control tokens' texts in the input become their ids.
  };

  // Ids of `utf8`. kInvalid if it is not UTF-8, kLimit past kEncodeBytesMax (or if normalizing
  // makes it too long). User-defined tokens are always matched; control tokens only with
  // parse_special.
  Result<std::vector<TokenId>> encode(std::string_view utf8, const EncodeOptions& options) const;

  // Text of a whole sequence; control tokens are left out unless show_special. May hold partial
  // UTF-8 if the ids do. Ids outside the vocabulary give nothing.
  std::string decode(std::span<const TokenId> ids, bool show_special = false) const;

  // Raw bytes of one token, which may be part of a UTF-8 character. Borrowed from the tokenizer;
  // empty for an id outside the vocabulary.
  std::string_view piece(TokenId id) const;

  // What decode appends for `id`. `is_at_start` says whether a text begins here (SPM then drops the
  // space that encode put first) and is updated; it starts out true.
  std::string_view next_text(TokenId id, bool show_special, bool& is_at_start) const;

  // Whether `id` is ordinary text of whole characters, at least one, wherever but at a text's start
  // it stands: it neither ends anything nor is a mark. What most tokens are.
  bool is_plain(TokenId id) const;
  bool is_end_of_generation(TokenId id) const;
  // True for control and unknown tokens: those that are not text.
  bool is_special(TokenId id) const;
  // The token whose stored text is exactly `text` ("<|im_end|>"), or -1.
  TokenId find(std::string_view text) const;
  i64 size() const;
  const Vocab& vocab() const;

 private:
  struct Parts;
  static Result<std::vector<Fragment>> prepare(const Parts& parts, std::string_view utf8,
                                               bool with_control, std::deque<std::string>& storage);
  explicit Tokenizer(std::unique_ptr<const Parts> parts);
  std::unique_ptr<const Parts> parts_;
};

}  // namespace tg
