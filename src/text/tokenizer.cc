#include "text/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <variant>

#include "base/bytes.h"
#include "text/bpe.h"
#include "text/character_bpe.h"
#include "text/fragments.h"
#include "text/normalizer.h"
#include "text/pieces.h"
#include "text/special_matcher.h"
#include "text/spm.h"
#include "text/token_index.h"
#include "text/unigram.h"
#include "text/wordpiece.h"

namespace tg {

namespace {

using Encoder =
    std::variant<BpeEncoder, SpmEncoder, CharacterBpeEncoder, UnigramEncoder, WordPieceEncoder>;

// Buffers of one encode call.
struct EncodeScratch {
  MergeScratch merge;
  UnigramEncoder::Scratch cells;
};

}  // namespace

// Behind one pointer, so that what borrows the vocabulary's strings survives a move.
struct Tokenizer::Parts {
  Vocab vocab;
  Pieces pieces;
  Normalizer normalizer;
  SpecialMatcher special;
  SpecialMatcher normalized_special;
  TextIndex names;
  Encoder encoder;
  std::vector<u8> plain;  // By id; 1: is_plain.
  u32 number;             // No other tokenizer of this process has it.
};

namespace {

u32 next_number() {
  static std::atomic<u32> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

Status check_id(const Vocab& vocab, TokenId id, const char* name) {
  if (id >= -1 && id < static_cast<i64>(vocab.tokens.size())) return {};
  return Error{Code::kInvalid, std::string("vocab: ") + name + " token " + std::to_string(id) +
                                   " of " + std::to_string(vocab.tokens.size())};
}

Status check_types(const Vocab& vocab) {
  if (!vocab.types.empty() && vocab.types.size() != vocab.tokens.size()) {
    return Error{Code::kInvalid, "vocab: " + std::to_string(vocab.types.size()) + " types for " +
                                     std::to_string(vocab.tokens.size()) + " tokens"};
  }
  for (TokenType type : vocab.types) {
    if (type < TokenType::kNormal || type > TokenType::kByte)
      return Error{Code::kInvalid, "vocab: token type " + std::to_string(static_cast<int>(type))};
  }
  return {};
}

Status check_match_flags(const Vocab& vocab) {
  constexpr u8 kAll = kMatchLeftSpace | kMatchRightSpace | kMatchWholeWord | kMatchNormalized;
  if (!vocab.match_flags.empty() && vocab.match_flags.size() != vocab.tokens.size()) {
    return Error{Code::kInvalid, "vocab: " + std::to_string(vocab.match_flags.size()) +
                                     " match flags for " + std::to_string(vocab.tokens.size()) +
                                     " tokens"};
  }
  for (u8 flags : vocab.match_flags) {
    if ((flags & ~kAll) != 0)
      return Error{Code::kInvalid, "vocab: match flags " + std::to_string(int{flags})};
  }
  return {};
}

Status check_vocab(const Vocab& vocab) {
  i64 count = static_cast<i64>(vocab.tokens.size());
  if (count == 0) return Error{Code::kInvalid, "vocab: no tokens"};
  if (count > kVocabTokensMax)
    return Error{Code::kLimit, "vocab: " + std::to_string(count) + " tokens"};
  TG_TRY(check_types(vocab));
  TG_TRY(check_match_flags(vocab));
  TG_TRY(check_id(vocab, vocab.bos, "bos"));
  TG_TRY(check_id(vocab, vocab.eos, "eos"));
  TG_TRY(check_id(vocab, vocab.unknown, "unknown"));
  TG_TRY(check_id(vocab, vocab.pad, "pad"));
  for (TokenId id : vocab.after_bos) TG_TRY(check_id(vocab, id, "after-bos"));
  for (TokenId id : vocab.end_of_generation) TG_TRY(check_id(vocab, id, "end-of-generation"));
  return {};
}

// All that happens to text before it is cut: what the vocabulary says and, for kSpm, its spaces.
Result<Normalizer> make_normalizer(const Vocab& vocab) {
  using Kind = NormalizeStep::Kind;
  std::vector<NormalizeStep> steps = vocab.normalizers;
  std::string space(kSpmSpace);
  if (vocab.kind == VocabKind::kSpm) {
    if (vocab.add_space_prefix) steps.push_back({Kind::kPrepend, "", space});
    steps.push_back({Kind::kReplace, " ", space});
  }
  return Normalizer::create(std::move(steps), vocab.charsmap);
}

template <typename T>
Result<Encoder> as_encoder(Result<T> encoder) {
  if (!encoder.ok()) return std::move(encoder).error();
  return Encoder(std::move(encoder).value());
}

Result<Encoder> make_encoder(const Vocab& vocab, const Pieces& pieces) {
  switch (vocab.kind) {
    case VocabKind::kBpe: return as_encoder(BpeEncoder::create(vocab, pieces));
    case VocabKind::kSpm: return as_encoder(SpmEncoder::create(vocab));
    case VocabKind::kCharacterBpe: return as_encoder(CharacterBpeEncoder::create(vocab));
    case VocabKind::kUnigram: return as_encoder(UnigramEncoder::create(vocab));
    case VocabKind::kWordPiece: return as_encoder(WordPieceEncoder::create(vocab));
  }
  return Error{Code::kInvalid, "vocab: kind " + std::to_string(static_cast<int>(vocab.kind))};
}

// `text` with its spaces as the encoder wants them; `storage` keeps it if it is not `text` itself.
std::string_view with_spaces(const Vocab& vocab, const Fragment& fragment,
                             std::deque<std::string>& storage) {
  bool is_escaped = vocab.kind == VocabKind::kCharacterBpe || vocab.kind == VocabKind::kUnigram;
  bool is_as_is = !is_escaped && vocab.space_prefix == SpacePrefix::kNever;
  if (is_as_is || fragment.text.empty()) return fragment.text;
  std::string_view space = is_escaped ? kSpmSpace : " ";
  std::string_view text = fragment.text;
  if (vocab.joins_words) text = storage.emplace_back(joined_words(text));
  if (text.empty()) return text;
  bool has_space = text.substr(0, 1) == " " || text.substr(0, space.size()) == space;
  bool is_prefixed = vocab.space_prefix == SpacePrefix::kAlways ||
                     (vocab.space_prefix == SpacePrefix::kFirst && fragment.begins_input);
  std::string& out = storage.emplace_back();
  out.reserve(text.size() + space.size());
  if (is_prefixed && !has_space) out += space;
  for (char c : text) {
    if (c == ' ') {
      out += space;
    } else {
      out.push_back(c);
    }
  }
  return out;
}

bool is_plain_token(const Vocab& vocab, const Pieces& pieces, TokenId id) {
  const std::vector<TokenId>& ends = vocab.end_of_generation;
  return type_of(vocab, id) == TokenType::kNormal && !pieces[id].empty() && is_utf8(pieces[id]) &&
         !std::binary_search(ends.begin(), ends.end(), id);
}

void encode_text(const Encoder& encoder, std::string_view text, WordCache& cache,
                 EncodeScratch& scratch, std::vector<TokenId>& ids) {
  if (const BpeEncoder* bpe = std::get_if<BpeEncoder>(&encoder))
    return bpe->encode(text, cache, scratch.merge, ids);
  if (const SpmEncoder* spm = std::get_if<SpmEncoder>(&encoder))
    return spm->encode(text, cache, scratch.merge, ids);
  if (const CharacterBpeEncoder* bpe = std::get_if<CharacterBpeEncoder>(&encoder))
    return bpe->encode(text, cache, scratch.merge, ids);
  if (const UnigramEncoder* unigram = std::get_if<UnigramEncoder>(&encoder))
    return unigram->encode(text, cache, scratch.cells, ids);
  std::get_if<WordPieceEncoder>(&encoder)->encode(text, cache, ids);
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<const Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::create(Vocab vocab) {
  TG_TRY(check_vocab(vocab));
  if (vocab.end_of_generation.empty()) vocab.end_of_generation = find_end_of_generation(vocab);
  std::sort(vocab.end_of_generation.begin(), vocab.end_of_generation.end());
  TG_ASSIGN(Pieces pieces, Pieces::create(vocab));
  TG_ASSIGN(SpecialMatcher special, SpecialMatcher::create(vocab));
  TG_ASSIGN(Normalizer normalizer, make_normalizer(vocab));
  TG_ASSIGN(SpecialMatcher normalized, SpecialMatcher::create_normalized(vocab, normalizer));
  TG_ASSIGN(Encoder encoder, make_encoder(vocab, pieces));
  i64 count = pieces.size();
  std::unique_ptr<Parts> parts(
      new Parts{std::move(vocab), std::move(pieces), std::move(normalizer), std::move(special),
                std::move(normalized), TextIndex(count), std::move(encoder),
                std::vector<u8>(static_cast<std::size_t>(count)), next_number()});
  for (TokenId id = 0; id < count; ++id) {
    parts->names.insert(parts->vocab.tokens[id], id);
    parts->plain[static_cast<std::size_t>(id)] = is_plain_token(parts->vocab, parts->pieces, id);
  }
  return Tokenizer(std::move(parts));
}

// The fragments of `utf8`, ready for the encoder. They point into `utf8` and `storage`.
Result<std::vector<Fragment>> Tokenizer::prepare(const Parts& parts, std::string_view utf8,
                                                 bool with_control,
                                                 std::deque<std::string>& storage) {
  std::vector<Fragment> raw;
  split_special(parts.vocab, parts.special, {utf8, -1, true}, with_control, raw);
  std::vector<Fragment> fragments;
  for (Fragment& fragment : raw) {
    if (fragment.id < 0 && !parts.normalizer.is_identity()) {
      TG_ASSIGN(storage.emplace_back(), parts.normalizer.apply(fragment.text));
      fragment.text = storage.back();
    }
    if (fragment.id < 0 && !parts.normalized_special.is_empty()) {
      split_special(parts.vocab, parts.normalized_special, fragment, with_control, fragments);
    } else {
      fragments.push_back(fragment);
    }
  }
  for (Fragment& fragment : fragments)
    if (fragment.id < 0) fragment.text = with_spaces(parts.vocab, fragment, storage);
  return fragments;
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view utf8,
                                               const EncodeOptions& options) const {
  if (utf8.size() > kEncodeBytesMax) {
    return Error{Code::kLimit, "encode: text of " + std::to_string(utf8.size()) +
                                   " bytes, more than " + std::to_string(kEncodeBytesMax)};
  }
  if (!is_utf8(utf8)) return Error{Code::kInvalid, "encode: text is not UTF-8"};
  std::deque<std::string> storage;
  TG_ASSIGN(std::vector<Fragment> fragments,
            prepare(*parts_, utf8, options.parse_special, storage));
  std::vector<TokenId> ids;
  constexpr std::size_t kTokensAheadMax = 4'096, kBytesPerToken = 3;
  ids.reserve(std::min(utf8.size() / kBytesPerToken + kBytesPerToken, kTokensAheadMax));
  const Vocab& vocab = parts_->vocab;
  if (options.add_bos && vocab.bos >= 0) {
    ids.push_back(vocab.bos);
    ids.insert(ids.end(), vocab.after_bos.begin(), vocab.after_bos.end());
  }
  WordCache cache(utf8.size(), parts_->number);
  EncodeScratch scratch;
  for (const Fragment& fragment : fragments) {
    if (fragment.id >= 0) {
      ids.push_back(fragment.id);
    } else {
      encode_text(parts_->encoder, fragment.text, cache, scratch, ids);
    }
  }
  if (options.add_eos && vocab.eos >= 0) ids.push_back(vocab.eos);
  return ids;
}

std::string_view Tokenizer::next_text(TokenId id, bool show_special, bool& is_at_start) const {
  if (id < 0 || id >= size()) return {};
  TokenType type = type_of(parts_->vocab, id);
  // What is unknown stood within a text: the space after it is the text's own.
  bool is_word_like = type != TokenType::kControl && type != TokenType::kUserDefined;
  const Vocab& vocab = parts_->vocab;
  bool has_prefix = vocab.add_space_prefix || vocab.kind == VocabKind::kWordPiece;
  bool drops_space = is_word_like && is_at_start && has_prefix && vocab.kind != VocabKind::kBpe;
  // Where only the first text got a space, only the first gives it back; and no space stands before
  // the first word.
  bool is_only_first =
      vocab.space_prefix == SpacePrefix::kFirst || vocab.kind == VocabKind::kWordPiece;
  is_at_start = is_only_first ? is_at_start && is_special(id) : !is_word_like;
  if (is_special(id) && !show_special) return {};
  std::string_view text = piece(id);
  if (drops_space && !text.empty() && text[0] == ' ') text.remove_prefix(1);
  return text;
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool show_special) const {
  std::string text;
  bool is_at_start = true;
  for (TokenId id : ids) text += next_text(id, show_special, is_at_start);
  return text;
}

std::string_view Tokenizer::piece(TokenId id) const {
  const Pieces& pieces = parts_->pieces;
  return id < 0 || id >= pieces.size() ? std::string_view() : pieces[id];
}

bool Tokenizer::is_plain(TokenId id) const {
  // An id below 0 is, unsigned, past every vocabulary.
  std::size_t at = static_cast<u32>(id);
  return at < parts_->plain.size() && parts_->plain[at] != 0;
}

bool Tokenizer::is_end_of_generation(TokenId id) const {
  const std::vector<TokenId>& ends = parts_->vocab.end_of_generation;
  return std::binary_search(ends.begin(), ends.end(), id);
}

bool Tokenizer::is_special(TokenId id) const {
  if (id < 0 || id >= size()) return false;
  TokenType type = type_of(parts_->vocab, id);
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

TokenId Tokenizer::find(std::string_view text) const {
  return parts_->names.find(text);
}

i64 Tokenizer::size() const {
  return parts_->pieces.size();
}

const Vocab& Tokenizer::vocab() const {
  return parts_->vocab;
}

}  // namespace tg
