// The vocabulary a tokenizer is made of, as plain data. Whoever reads a model file fills it;
// nothing here knows a file format. The numbering of TokenType is that of GGUF's
// tokenizer.ggml.token_type.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace tg {

using TokenId = i32;

enum class TokenType : u8 {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // Steers the model; matched in input only when special tokens are parsed.
  kUserDefined = 4,  // Ordinary text that is always one token.
  kUnused = 5,
  kByte = 6,  // "<0xHH>": one raw byte.
};

enum class VocabKind {
  kSpm,           // SentencePiece's BPE: best score first, bytes as fallback.
  kBpe,           // Byte-level BPE: lowest merge rank first, within the words of a pre-tokenizer.
  kCharacterBpe,  // BPE over characters, spaces as U+2581: lowest rank first, bytes as fallback.
  kUnigram,       // SentencePiece's unigram: the segmentation whose scores sum to most.
  kWordPiece,     // BERT: words at white space and punctuation, longest piece first.
};

// One rewriting of text on its way to the encoder.
struct NormalizeStep {
  enum class Kind : u8 {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kLowercase,
    kStripAccents,  // Drops every \p{Mn}.
    kStripMarks,    // Drops every \p{M}.
    kCleanControl,  // BERT: drops control characters, U+0000 and U+FFFD; any white space is ' '.
    kSpaceCjk,      // BERT: a space on both sides of every CJK ideograph.
    kCharsmap,      // SentencePiece's table of replacements, Vocab::charsmap.
    kReplace,       // Every `from` by `to`.
    kPrepend,       // `to` before text that is not empty.
    kStripLeft,     // White space at the start goes.
    kStripRight,    // White space at the end goes.
    kJoinSpaces,    // Every run of two or more ' ' is one `to`.
  };
  Kind kind = Kind::kNfc;
  std::string from;
  std::string to;

  bool operator==(const NormalizeStep&) const = default;
};

// How a special token is looked for in input: bits of Vocab::match_flags.
enum MatchFlag : u8 {
  kMatchLeftSpace = 1,   // White space before it is part of it.
  kMatchRightSpace = 2,  // White space after it is part of it.
  kMatchWholeWord = 4,   // Not beside a word character.
  kMatchNormalized = 8,  // Looked for, normalized itself, in normalized text.
};

// Where kCharacterBpe and kUnigram put a U+2581 that the text does not have: before every stretch
// of text that does not begin with one, or only where such a stretch begins the whole input.
enum class SpacePrefix : u8 { kNever, kFirst, kAlways };

struct Vocab {
  VocabKind kind = VocabKind::kBpe;
  // kBpe: name of the pre-tokenizer (GGUF's tokenizer.ggml.pre): "llama-bpe", "gpt-2", "qwen2",
  // ...; empty and "default" mean gpt-2.
  std::string pre;
  // kBpe: the published expressions of the pre-tokenizer, one cutting the pieces of the one before;
  // `pre` is not used if there are any.
  std::vector<std::string> splits;
  // kBpe: a word that is a token is that token, whatever the merges say; unset: as `pre` has it.
  std::optional<bool> ignores_merges;
  // kWordPiece: a token that begins a word starts with U+2581, one that continues it does not.
  std::vector<std::string> tokens;
  std::vector<f32> scores;          // kSpm, kUnigram: one per token.
  std::vector<TokenType> types;     // One per token; empty means all are kNormal.
  std::vector<u8> match_flags;      // One MatchFlag set per token; empty means none.
  std::vector<std::string> merges;  // kBpe, kCharacterBpe: "left right", best first.
  std::vector<NormalizeStep> normalizers;
  std::string charsmap;  // Bytes of SentencePiece's precompiled_charsmap.
  TokenId bos = -1;
  std::vector<TokenId> after_bos;  // Follow bos wherever it is added.
  TokenId eos = -1;
  TokenId unknown = -1;
  TokenId pad = -1;
  std::vector<TokenId> end_of_generation;  // Tokens after which a reply is over, sorted.
  bool add_bos = false;
  bool add_eos = false;
  // kSpm: text is encoded as if one space stood before it. Decoding drops that space, whatever the
  // kind.
  bool add_space_prefix = false;
  SpacePrefix space_prefix = SpacePrefix::kNever;  // kCharacterBpe, kUnigram.
  bool splits_at_spaces = false;  // kCharacterBpe, kUnigram: nothing reaches over a U+2581.
  // kCharacterBpe, kUnigram: words between white space are joined by one space (by none before a
  // U+2581), once normalized.
  bool joins_words = false;
  bool fuses_unknown = false;  // kCharacterBpe: neighbouring unknown characters are one token.
  i64 word_chars_max = 100;    // kWordPiece: a longer word is unknown.
  std::string chat_template;   // Jinja; empty if the model has none.
};

// The tokens that end a reply: `eos`, and every token whose text is one of the end markers in use
// (<|im_end|>, <|eot_id|>, <|endoftext|>, <end_of_turn>, ...). Sorted, without duplicates.
std::vector<TokenId> find_end_of_generation(const Vocab& vocab);

// What BERT does to text: cleans it, spaces CJK, then takes accents and case away if asked to.
struct BertNormalizing {
  bool cleans = true;
  bool spaces_cjk = true;
  bool strips_accents = true;
  bool lowers_case = true;
};
std::vector<NormalizeStep> bert_normalizers(const BertNormalizing& options);

}  // namespace tg
