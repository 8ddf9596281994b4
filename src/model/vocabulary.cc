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
  return Error{Code::kUnsupported, fmt::format("gguf: tokenizer {} is not supported (known: llama, "
                                               "gpt2)",
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
  bool is_needed = vocab.kind == VocabKind::kSpm;
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
  if (vocab.kind != VocabKind::kBpe) return {};
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

Status read_special_ids(const gguf::File& file, Vocab& vocab) {
  bool is_spm = vocab.kind == VocabKind::kSpm;
  TG_ASSIGN(vocab.bos, read_id(file, vocab, "bos_token_id", is_spm ? 1 : -1));
  TG_ASSIGN(vocab.eos, read_id(file, vocab, "eos_token_id", is_spm ? 2 : -1));
  TG_ASSIGN(vocab.unknown, read_id(file, vocab, "unknown_token_id", is_spm ? 0 : -1));
  TG_ASSIGN(vocab.pad, read_id(file, vocab, "padding_token_id", -1));
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
  bool adds_bos = is_spm || std::find(kAddBosByDefault.begin(), kAddBosByDefault.end(),
                                      vocab.pre) != kAddBosByDefault.end();
  TG_ASSIGN(std::optional<bool> add_bos, file.boolean(full("add_bos_token")));
  TG_ASSIGN(std::optional<bool> add_eos, file.boolean(full("add_eos_token")));
  TG_ASSIGN(std::optional<bool> add_space, file.boolean(full("add_space_prefix")));
  vocab.add_bos = add_bos.value_or(adds_bos) && vocab.bos >= 0;
  vocab.add_eos = add_eos.value_or(false) && vocab.eos >= 0;
  vocab.add_space_prefix = add_space.value_or(is_spm);
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
  TG_ASSIGN(std::optional<std::string_view> chat, file.text("tokenizer.chat_template"));
  vocab.chat_template = chat.value_or("");
  return vocab;
}

}  // namespace tg::model
