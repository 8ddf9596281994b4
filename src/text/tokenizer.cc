#include "text/tokenizer.h"

#include <algorithm>
#include <optional>

#include "base/bytes.h"
#include "text/bpe.h"
#include "text/pieces.h"
#include "text/special_matcher.h"
#include "text/spm.h"
#include "text/token_index.h"

namespace tg {

// Behind one pointer, so that what borrows the vocabulary's strings survives a move.
struct Tokenizer::Parts {
  Vocab vocab;
  Pieces pieces;
  SpecialMatcher special;
  TextIndex names;
  std::optional<BpeEncoder> bpe;
  std::optional<SpmEncoder> spm;
};

namespace {

// A run of plain text, or one special token.
struct Fragment {
  std::string_view text;
  TokenId id = -1;
};

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

Status check_vocab(const Vocab& vocab) {
  i64 count = static_cast<i64>(vocab.tokens.size());
  if (count == 0) return Error{Code::kInvalid, "vocab: no tokens"};
  if (count > kVocabTokensMax)
    return Error{Code::kLimit, "vocab: " + std::to_string(count) + " tokens"};
  TG_TRY(check_types(vocab));
  TG_TRY(check_id(vocab, vocab.bos, "bos"));
  TG_TRY(check_id(vocab, vocab.eos, "eos"));
  TG_TRY(check_id(vocab, vocab.unknown, "unknown"));
  TG_TRY(check_id(vocab, vocab.pad, "pad"));
  for (TokenId id : vocab.end_of_generation) TG_TRY(check_id(vocab, id, "end-of-generation"));
  return {};
}

std::vector<Fragment> split_special(const SpecialMatcher& special, std::string_view text,
                                    bool with_control) {
  std::vector<Fragment> fragments;
  i64 begin = 0;
  for (i64 at = 0; at < static_cast<i64>(text.size());) {
    SpecialMatcher::Match match = special.match_at(text, at, with_control);
    if (match.id < 0) {
      ++at;
      continue;
    }
    if (at > begin) fragments.push_back({text.substr(begin, at - begin)});
    fragments.push_back({{}, match.id});
    at += match.size;
    begin = at;
  }
  if (begin < static_cast<i64>(text.size())) fragments.push_back({text.substr(begin)});
  return fragments;
}

// Replaces spaces by U+2581 in all text fragments, and puts one before text that begins a text or
// follows a special token. The fragments then point into `escaped`.
void escape_spaces(std::vector<Fragment>& fragments, bool add_prefix, std::string& escaped) {
  std::vector<std::size_t> ends;
  bool is_at_start = true;
  for (const Fragment& fragment : fragments) {
    if (fragment.id < 0 && is_at_start && add_prefix) escaped += kSpmSpace;
    for (char c : fragment.text) {
      if (c == ' ') {
        escaped += kSpmSpace;
      } else {
        escaped.push_back(c);
      }
    }
    is_at_start = fragment.id >= 0;
    ends.push_back(escaped.size());
  }
  std::size_t begin = 0;
  for (std::size_t i = 0; i < fragments.size(); ++i) {
    fragments[i].text = std::string_view(escaped).substr(begin, ends[i] - begin);
    begin = ends[i];
  }
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
  i64 count = pieces.size();
  std::unique_ptr<Parts> parts(
      new Parts{std::move(vocab), std::move(pieces), std::move(special), TextIndex(count), {}, {}});
  for (TokenId id = 0; id < count; ++id) parts->names.insert(parts->vocab.tokens[id], id);
  if (parts->vocab.kind == VocabKind::kBpe) {
    TG_ASSIGN(parts->bpe, BpeEncoder::create(parts->vocab, parts->pieces));
  } else {
    TG_ASSIGN(parts->spm, SpmEncoder::create(parts->vocab));
  }
  return Tokenizer(std::move(parts));
}

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view utf8,
                                               const EncodeOptions& options) const {
  if (utf8.size() > kEncodeBytesMax) {
    return Error{Code::kLimit, "encode: text of " + std::to_string(utf8.size()) +
                                   " bytes, more than " + std::to_string(kEncodeBytesMax)};
  }
  if (!is_utf8(utf8)) return Error{Code::kInvalid, "encode: text is not UTF-8"};
  std::vector<Fragment> fragments = split_special(parts_->special, utf8, options.parse_special);
  std::string escaped;
  if (parts_->spm) escape_spaces(fragments, parts_->vocab.add_space_prefix, escaped);

  std::vector<TokenId> ids;
  if (options.add_bos && parts_->vocab.bos >= 0) ids.push_back(parts_->vocab.bos);
  WordCache cache(utf8.size());
  MergeScratch scratch;
  for (const Fragment& fragment : fragments) {
    if (fragment.id >= 0) {
      ids.push_back(fragment.id);
    } else if (parts_->spm) {
      parts_->spm->encode(fragment.text, cache, scratch, ids);
    } else {
      parts_->bpe->encode(fragment.text, cache, scratch, ids);
    }
  }
  return ids;
}

std::string_view Tokenizer::next_text(TokenId id, bool show_special, bool& is_at_start) const {
  if (id < 0 || id >= size()) return {};
  TokenType type = type_of(parts_->vocab, id);
  bool is_word_like =
      type != TokenType::kControl && type != TokenType::kUnknown && type != TokenType::kUserDefined;
  bool drops_space = is_word_like && is_at_start && parts_->spm && parts_->vocab.add_space_prefix;
  is_at_start = !is_word_like;
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
  return id < 0 || id >= size() ? std::string_view() : parts_->pieces[id];
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
