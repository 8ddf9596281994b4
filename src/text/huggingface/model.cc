#include "text/huggingface/model.h"

#include <cmath>
#include <unordered_map>

#include "text/huggingface/tokenizer_json.h"
#include "text/pieces.h"
#include "text/tokenizer.h"

namespace tg::huggingface {
namespace {

constexpr std::string_view kContinuing = "##";

bool is_byte_token(std::string_view text) {
  auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return text.size() == 6 && text.substr(0, 3) == "<0x" && is_digit(text[3]) && is_digit(text[4]) &&
         text[5] == '>';
}

// Makes room for `id`, naming what no token has been given yet.
Status reserve_id(Vocab& vocab, TokenId id) {
  i64 size = static_cast<i64>(vocab.tokens.size());
  if (id - size > kUnusedIdsMax)
    return Error{Code::kLimit, "tokenizer.json: no tokens between ids " + std::to_string(size) +
                                   " and " + std::to_string(id)};
  for (TokenId unused = static_cast<TokenId>(size); unused <= id; ++unused) {
    vocab.tokens.push_back("[PAD" + std::to_string(unused) + "]");
    vocab.types.push_back(TokenType::kUnused);
  }
  return {};
}

// "vocab": {text: id}
Status read_text_ids(const Json& model, Vocab& vocab) {
  const Json* table = member(model, "vocab");
  if (table == nullptr || !table->is_object()) return invalid("model has no vocab object");
  std::vector<const std::string*> texts;
  for (Json::const_iterator entry = table->begin(); entry != table->end(); ++entry) {
    TG_ASSIGN(TokenId id, read_id(&*entry, "token \"" + shown(entry.key()) + "\""));
    if (id >= static_cast<i64>(table->size()) + kUnusedIdsMax)
      return Error{Code::kLimit, "tokenizer.json: token id " + std::to_string(id) + " among " +
                                     std::to_string(table->size()) + " tokens"};
    if (id >= static_cast<i64>(texts.size())) texts.resize(static_cast<std::size_t>(id) + 1);
    if (texts[id] != nullptr) return invalid("two tokens have id " + std::to_string(id));
    texts[id] = &entry.key();
  }
  for (std::size_t id = 0; id < texts.size(); ++id) {
    if (texts[id] == nullptr) {
      TG_TRY(reserve_id(vocab, static_cast<TokenId>(id)));
    } else {
      vocab.tokens.push_back(*texts[id]);
      vocab.types.push_back(TokenType::kNormal);
    }
  }
  return {};
}

// "vocab": [[text, score], ...]
Status read_scored_texts(const Json& model, Vocab& vocab) {
  const Json* table = member(model, "vocab");
  if (table == nullptr || !table->is_array()) return invalid("model has no vocab array");
  if (static_cast<i64>(table->size()) > kVocabTokensMax)
    return Error{Code::kLimit, "tokenizer.json: " + std::to_string(table->size()) + " tokens"};
  for (const Json& entry : *table) {
    bool is_pair =
        entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
    if (!is_pair)
      return invalid("vocab entry " + std::to_string(vocab.tokens.size()) +
                     " is not a text and a score");
    vocab.tokens.push_back(*entry[0].get_ptr<const std::string*>());
    vocab.types.push_back(TokenType::kNormal);
    vocab.scores.push_back(static_cast<f32>(entry[1].get<f64>()));
  }
  return {};
}

// One merge: "left right" or ["left", "right"].
Result<std::string> read_merge(const Json& json, std::size_t rank) {
  const std::string* text = json.get_ptr<const std::string*>();
  bool is_pair = json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string();
  std::string merge;
  if (text != nullptr) merge = *text;
  if (is_pair)
    merge = *json[0].get_ptr<const std::string*>() + ' ' + *json[1].get_ptr<const std::string*>();
  std::size_t space = merge.find(' ');
  if (space == merge.npos || merge.find(' ', space + 1) != merge.npos)
    return invalid("merge " + std::to_string(rank) + " \"" + shown(merge) +
                   "\" is not two texts without spaces");
  return merge;
}

Status check_absent(const Json& model, const char* key) {
  const std::string* text = text_member(model, key);
  if (text == nullptr || text->empty()) return {};
  return unsupported("model BPE with " + std::string(key) + " \"" + shown(*text) + "\"");
}

Status read_merges(const Json& model, Vocab& vocab) {
  const Json* merges = member(model, "merges");
  if (merges == nullptr || !merges->is_array()) return invalid("model has no merges");
  vocab.merges.reserve(merges->size());
  for (const Json& json : *merges) {
    TG_ASSIGN(std::string merge, read_merge(json, vocab.merges.size()));
    vocab.merges.push_back(std::move(merge));
  }
  return {};
}

void mark_byte_tokens(Vocab& vocab) {
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i)
    if (is_byte_token(vocab.tokens[i])) vocab.types[i] = TokenType::kByte;
}

// "unk_token": the text of a token of the model.
Status read_unknown(const Json& model, Vocab& vocab) {
  const std::string* text = text_member(model, "unk_token");
  if (text == nullptr) return {};
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i)
    if (vocab.tokens[i] == *text) vocab.unknown = static_cast<TokenId>(i);
  // Some files name a token they do not have, and never need it.
  if (vocab.unknown >= 0) vocab.types[vocab.unknown] = TokenType::kUnknown;
  return {};
}

Status read_bpe(const Json& model, Vocab& vocab) {
  vocab.kind = VocabKind::kBpe;
  const Json* dropout = member(model, "dropout");
  if (dropout != nullptr && !(dropout->is_number() && dropout->get<f64>() == 0))
    return unsupported("model BPE with dropout");
  TG_TRY(check_absent(model, "continuing_subword_prefix"));
  TG_TRY(check_absent(model, "end_of_word_suffix"));
  TG_TRY(read_text_ids(model, vocab));
  TG_TRY(read_merges(model, vocab));
  if (flag_member(model, "byte_fallback", false)) mark_byte_tokens(vocab);
  vocab.fuses_unknown = flag_member(model, "fuse_unk", false);
  vocab.ignores_merges = flag_member(model, "ignore_merges", false);
  return read_unknown(model, vocab);
}

Status read_word_piece(const Json& model, Vocab& vocab) {
  vocab.kind = VocabKind::kWordPiece;
  const std::string* prefix = text_member(model, "continuing_subword_prefix");
  if (prefix != nullptr && *prefix != kContinuing)
    return unsupported("model WordPiece with continuing_subword_prefix \"" + shown(*prefix) + "\"");
  const Json* chars_max = member(model, "max_input_chars_per_word");
  if (chars_max != nullptr && !chars_max->is_number_unsigned())
    return invalid("max_input_chars_per_word is not a count");
  if (chars_max != nullptr)
    vocab.word_chars_max =
        static_cast<i64>(std::min<u64>(chars_max->get<u64>(), static_cast<u64>(kEncodeBytesMax)));
  TG_TRY(read_text_ids(model, vocab));
  return read_unknown(model, vocab);
}

Status read_unigram(const Json& model, Vocab& vocab) {
  vocab.kind = VocabKind::kUnigram;
  TG_TRY(read_scored_texts(model, vocab));
  if (flag_member(model, "byte_fallback", false)) mark_byte_tokens(vocab);
  const Json* unknown = member(model, "unk_id");
  if (unknown == nullptr) return unsupported("model Unigram without unk_id");
  TG_ASSIGN(vocab.unknown, read_id(unknown, "unk_id"));
  if (vocab.unknown >= static_cast<i64>(vocab.tokens.size()))
    return invalid("unk_id " + std::to_string(vocab.unknown) + " of " +
                   std::to_string(vocab.tokens.size()) + " tokens");
  vocab.types[vocab.unknown] = TokenType::kUnknown;
  return {};
}

}  // namespace

Result<TokenId> read_id(const Json* json, const std::string& what) {
  bool is_id = json != nullptr && json->is_number_unsigned() &&
               json->get<u64>() < static_cast<u64>(kVocabTokensMax);
  if (!is_id) return invalid(what + " has no id below " + std::to_string(kVocabTokensMax));
  return static_cast<TokenId>(json->get<u64>());
}

Status read_model(const Json& model, Vocab& vocab) {
  std::string_view type = type_of(model);
  // Old files leave the type out where merges say it.
  if (type == "BPE" || (type.empty() && member(model, "merges") != nullptr))
    return read_bpe(model, vocab);
  if (type == "WordPiece") return read_word_piece(model, vocab);
  if (type == "Unigram") return read_unigram(model, vocab);
  return unsupported("model \"" + shown(type) + "\"");
}

Result<AddedToken> read_added_token(const Json& json, TokenId id) {
  const std::string* text = text_member(json, "content");
  if (text == nullptr) return invalid("added token " + std::to_string(id) + " has no content");
  AddedToken token{id, *text, flag_member(json, "special", false), 0};
  auto note = [&](const char* key, MatchFlag flag, bool otherwise) {
    if (flag_member(json, key, otherwise)) token.match_flags |= flag;
  };
  note("lstrip", kMatchLeftSpace, false);
  note("rstrip", kMatchRightSpace, false);
  note("single_word", kMatchWholeWord, false);
  note("normalized", kMatchNormalized, !token.is_special);
  return token;
}

Status add_tokens(const std::vector<AddedToken>& added, Vocab& vocab) {
  std::unordered_map<std::string_view, TokenId> ids;
  std::size_t model_size = vocab.tokens.size();
  // Views into strings that may move: looked up before the vocabulary grows.
  std::vector<TokenId> known;
  for (std::size_t i = 0; i < model_size; ++i)
    if (vocab.types[i] != TokenType::kUnused) ids.emplace(vocab.tokens[i], static_cast<TokenId>(i));
  for (const AddedToken& token : added) {
    std::unordered_map<std::string_view, TokenId>::iterator found = ids.find(token.text);
    known.push_back(found == ids.end() ? -1 : found->second);
  }
  for (std::size_t i = 0; i < added.size(); ++i) {
    const AddedToken& token = added[i];
    TG_TRY(reserve_id(vocab, token.id));
    bool is_free = vocab.types[token.id] == TokenType::kUnused;
    if (known[i] >= 0 ? known[i] != token.id : !is_free && vocab.tokens[token.id] != token.text)
      return invalid("added token \"" + shown(token.text) + "\" with id " +
                     std::to_string(token.id) + " contradicts the vocabulary");
    vocab.tokens[token.id] = token.text;
    if (vocab.types[token.id] != TokenType::kUnknown)
      vocab.types[token.id] = token.is_special ? TokenType::kControl : TokenType::kUserDefined;
    vocab.match_flags.resize(vocab.tokens.size());
    vocab.match_flags[token.id] = token.match_flags;
  }
  vocab.match_flags.resize(vocab.tokens.size());
  if (vocab.kind == VocabKind::kUnigram) vocab.scores.resize(vocab.tokens.size());
  return {};
}

Status mark_word_starts(const std::vector<AddedToken>& added, Vocab& vocab) {
  std::vector<bool> stays(vocab.tokens.size());
  for (const AddedToken& token : added) stays[token.id] = true;
  if (vocab.unknown >= 0) stays[vocab.unknown] = true;
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    std::string& token = vocab.tokens[i];
    bool is_reserved = token.size() > 2 && token.front() == '[' && token.back() == ']';
    if (stays[i] || is_reserved) continue;
    if (std::string_view(token).substr(0, 2) != kContinuing) {
      token = std::string(kSpmSpace) + token;
    } else if (std::string_view(token).substr(2, kSpmSpace.size()) == kSpmSpace) {
      return unsupported("WordPiece token \"" + shown(token) + "\"");
    } else {
      token.erase(0, 2);
    }
  }
  return {};
}

}  // namespace tg::huggingface
