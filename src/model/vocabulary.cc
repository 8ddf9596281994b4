// Tables first, then special ids and flags, whose defaults depend on the kind.
#include "model/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/bytes.h"

namespace tg::model {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";
constexpr i64 kVocabularyMax = i64{1} << 22;

std::string full(std::string_view key) {
  return std::string(kPrefix) + std::string(key);
}

// Pre-tokenizers whose models expect a begin token though their files may not say so.
constexpr auto kAddBosByDefault = std::to_array<std::string_view>({
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "tekken",
});

Result<VocabKind> read_kind(const gguf::File& file) {
  TG_ASSIGN(std::optional<std::string_view> kind, file.text(full("model")));
  if (!kind.has_value())
    return Error{Code::kNotFound, "gguf: key " + gguf::quote(full("model")) + " is missing"};
  if (*kind == "llama") return VocabKind::kSpm;
  if (*kind == "gpt2") return VocabKind::kBpe;
  if (*kind == "gemma4") return VocabKind::kCharacterBpe;
  if (*kind == "bert") return VocabKind::kWordPiece;
  if (*kind == "t5") return VocabKind::kUnigram;
  return Error{Code::kUnsupported, fmt::format("gguf: tokenizer {} is not supported (known: llama, "
                                               "gpt2, gemma4, bert, t5)",
                                               gguf::quote(*kind))};
}

Error wrong_count(std::string_view key, u64 count, u64 tokens) {
  return Error{Code::kCorrupt, fmt::format("gguf: key {} has {} entries for {} tokens",
                                           gguf::quote(full(key)), count, tokens)};
}

Status read_tokens(const gguf::File& file, Vocab& vocab) {
  TG_ASSIGN(std::optional<std::vector<std::string_view>> tokens, file.texts(full("tokens")));
  if (!tokens.has_value() || tokens->empty())
    return Error{Code::kNotFound, "gguf: key " + gguf::quote(full("tokens")) + " is missing"};
  if (static_cast<i64>(tokens->size()) > kVocabularyMax)
    return Error{Code::kLimit, fmt::format("gguf: a vocabulary of {} is over the limit of {}",
                                           tokens->size(), kVocabularyMax)};
  vocab.tokens.assign(tokens->begin(), tokens->end());
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i)
    if (!is_utf8(vocab.tokens[i]))
      return Error{Code::kCorrupt,
                   fmt::format("gguf: token {} is not UTF-8: {}", i, gguf::quote(vocab.tokens[i]))};
  return {};
}

Status read_scores(const gguf::File& file, Vocab& vocab) {
  TG_ASSIGN(std::optional<std::vector<f32>> scores, file.reals(full("scores")));
  if (scores.has_value()) vocab.scores = std::move(*scores);
  bool is_needed = vocab.kind == VocabKind::kSpm || vocab.kind == VocabKind::kUnigram;
  if (vocab.scores.empty() && !is_needed) return {};
  if (vocab.scores.size() != vocab.tokens.size())
    return wrong_count("scores", vocab.scores.size(), vocab.tokens.size());
  return {};
}

Status read_types(const gguf::File& file, Vocab& vocab) {
  TG_ASSIGN(std::optional<std::vector<i64>> types, file.integers(full("token_type")));
  if (!types.has_value()) return {};
  if (types->size() != vocab.tokens.size())
    return wrong_count("token_type", types->size(), vocab.tokens.size());
  for (i64 type : *types) {
    bool is_known =
        type >= static_cast<i64>(TokenType::kNormal) && type <= static_cast<i64>(TokenType::kByte);
    // 0 is written for entries that pad the table; they never come out of text.
    if (!is_known && type != 0)
      return Error{Code::kCorrupt,
                   fmt::format("gguf: key {} holds {}", gguf::quote(full("token_type")), type)};
    vocab.types.push_back(is_known ? static_cast<TokenType>(type) : TokenType::kUnused);
  }
  return {};
}

Status read_merges(const gguf::File& file, Vocab& vocab) {
  if (vocab.kind != VocabKind::kBpe && vocab.kind != VocabKind::kCharacterBpe) return {};
  TG_ASSIGN(std::optional<std::vector<std::string_view>> merges, file.texts(full("merges")));
  if (!merges.has_value())
    return Error{Code::kNotFound, "gguf: key " + gguf::quote(full("merges")) + " is missing"};
  vocab.merges.assign(merges->begin(), merges->end());
  return {};
}

// The id under `key`, `otherwise` if absent (and -1 if that is no token of this vocabulary).
Result<TokenId> read_id(const gguf::File& file, const Vocab& vocab, std::string_view key,
                        TokenId otherwise) {
  TG_ASSIGN(std::optional<u64> id, file.integer(full(key)));
  u64 tokens = vocab.tokens.size();
  if (!id.has_value()) return static_cast<u64>(otherwise) < tokens ? otherwise : -1;
  if (*id == UINT32_MAX) return -1;  // -1 as some writers store it
  if (*id >= tokens)
    return Error{Code::kCorrupt, fmt::format("gguf: key {} is {}, the vocabulary has {} tokens",
                                             gguf::quote(full(key)), *id, tokens)};
  return static_cast<TokenId>(*id);
}

// The special ids of a kind where the file does not say them; -1: none.
struct SpecialIds {
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId unknown = -1;
  TokenId pad = -1;
};

SpecialIds default_ids(VocabKind kind) {
  switch (kind) {
    case VocabKind::kSpm: return {.bos = 1, .eos = 2, .unknown = 0};
    case VocabKind::kWordPiece: return {.bos = 101, .eos = 102, .unknown = 100, .pad = 0};
    case VocabKind::kUnigram: return {.eos = 1, .unknown = 2, .pad = 0};
    case VocabKind::kBpe:
    case VocabKind::kCharacterBpe: break;
  }
  return {};
}

Status read_special_ids(const gguf::File& file, Vocab& vocab) {
  SpecialIds otherwise = default_ids(vocab.kind);
  // BERT begins with what it classifies by and ends with a separator, spelt so in its key.
  bool is_bert = vocab.kind == VocabKind::kWordPiece;
  std::string_view bos_key = is_bert ? "cls_token_id" : "bos_token_id";
  std::string_view eos_key = is_bert ? "seperator_token_id" : "eos_token_id";
  TG_ASSIGN(vocab.bos, read_id(file, vocab, bos_key, otherwise.bos));
  TG_ASSIGN(vocab.eos, read_id(file, vocab, eos_key, otherwise.eos));
  TG_ASSIGN(vocab.unknown, read_id(file, vocab, "unknown_token_id", otherwise.unknown));
  TG_ASSIGN(vocab.pad, read_id(file, vocab, "padding_token_id", otherwise.pad));
  vocab.end_of_generation = find_end_of_generation(vocab);
  for (std::string_view key : {"eot_token_id", "eom_token_id"}) {
    TG_ASSIGN(TokenId id, read_id(file, vocab, key, -1));
    if (id >= 0) vocab.end_of_generation.push_back(id);
  }
  std::sort(vocab.end_of_generation.begin(), vocab.end_of_generation.end());
  vocab.end_of_generation.erase(
      std::unique(vocab.end_of_generation.begin(), vocab.end_of_generation.end()),
      vocab.end_of_generation.end());
  return {};
}

Status read_flags(const gguf::File& file, Vocab& vocab) {
  bool is_spm = vocab.kind == VocabKind::kSpm;
  bool is_bert = vocab.kind == VocabKind::kWordPiece;
  bool adds_eos = is_bert || vocab.kind == VocabKind::kUnigram;
  bool adds_bos = is_spm || is_bert ||
                  std::find(kAddBosByDefault.begin(), kAddBosByDefault.end(), vocab.pre) !=
                      kAddBosByDefault.end();
  TG_ASSIGN(std::optional<bool> add_bos, file.boolean(full("add_bos_token")));
  TG_ASSIGN(std::optional<bool> add_eos, file.boolean(full("add_eos_token")));
  TG_ASSIGN(std::optional<bool> add_space, file.boolean(full("add_space_prefix")));
  vocab.add_bos = add_bos.value_or(adds_bos) && vocab.bos >= 0;
  vocab.add_eos = add_eos.value_or(adds_eos) && vocab.eos >= 0;
  vocab.add_space_prefix = add_space.value_or(is_spm);
  bool is_spaced = vocab.kind == VocabKind::kUnigram || vocab.kind == VocabKind::kCharacterBpe;
  if (is_spaced && vocab.add_space_prefix) vocab.space_prefix = SpacePrefix::kAlways;
  return {};
}

Result<bool> read_flag(const gguf::File& file, std::string_view key, bool otherwise) {
  TG_ASSIGN(std::optional<bool> flag, file.boolean(full(key)));
  return flag.value_or(otherwise);
}

Status read_charsmap(const gguf::File& file, Vocab& vocab) {
  TG_ASSIGN(std::optional<std::vector<i64>> bytes, file.integers(full("precompiled_charsmap")));
  if (!bytes.has_value() || bytes->empty()) return {};
  for (i64 byte : *bytes) vocab.charsmap.push_back(static_cast<char>(byte & 0xFF));
  vocab.normalizers.push_back({NormalizeStep::Kind::kCharsmap, "", ""});
  return {};
}

// What is done to text before it is cut. Only the kinds below say.
Status read_normalizers(const gguf::File& file, Vocab& vocab) {
  if (vocab.kind == VocabKind::kUnigram) {
    TG_TRY(read_charsmap(file, vocab));
    TG_ASSIGN(vocab.joins_words, read_flag(file, "remove_extra_whitespaces", false));
  } else if (vocab.kind == VocabKind::kWordPiece) {
    TG_ASSIGN(bool lowers, read_flag(file, "normalizer.lowercase", true));
    TG_ASSIGN(bool strips, read_flag(file, "normalizer.strip_accents", lowers));
    vocab.normalizers = bert_normalizers({.strips_accents = strips, .lowers_case = lowers});
  } else if (vocab.kind == VocabKind::kBpe) {
    TG_ASSIGN(bool composes, read_flag(file, "normalizer.nfc", false));
    if (composes) vocab.normalizers.push_back({NormalizeStep::Kind::kNfc, "", ""});
  }
  return {};
}

// Phi-3's special tokens take the white space after them, which its files have no key for.
Status read_match_flags(const gguf::File& file, Vocab& vocab) {
  TG_ASSIGN(std::optional<std::string_view> architecture, file.text("general.architecture"));
  if (architecture != "phi3" || vocab.kind != VocabKind::kSpm) return {};
  vocab.match_flags.resize(vocab.types.size());
  for (std::size_t i = 0; i < vocab.types.size(); ++i) {
    const std::string& token = vocab.tokens[i];
    bool is_special =
        vocab.types[i] == TokenType::kControl || vocab.types[i] == TokenType::kUserDefined;
    if (is_special && token != "<unk>" && token != "<s>" && token != "<|endoftext|>")
      vocab.match_flags[i] = kMatchRightSpace;
  }
  return {};
}

}  // namespace

Result<Vocab> read_vocab(const gguf::File& file) {
  Vocab vocab;
  TG_ASSIGN(vocab.kind, read_kind(file));
  TG_ASSIGN(std::optional<std::string_view> pre, file.text(full("pre")));
  vocab.pre = pre.value_or("");
  TG_TRY(read_tokens(file, vocab));
  TG_TRY(read_scores(file, vocab));
  TG_TRY(read_types(file, vocab));
  TG_TRY(read_merges(file, vocab));
  TG_TRY(read_special_ids(file, vocab));
  TG_TRY(read_flags(file, vocab));
  TG_TRY(read_normalizers(file, vocab));
  TG_TRY(read_match_flags(file, vocab));
  TG_ASSIGN(std::optional<std::string_view> chat, file.text("tokenizer.chat_template"));
  vocab.chat_template = chat.value_or("");
  return vocab;
}

}  // namespace tg::model
