#include "text/bpe.h"

#include <optional>

#include "base/bytes.h"
#include "text/byte_alphabet.h"

namespace tg {

namespace {

Result<PreTokenizer> pretokenizer_of(const Vocab& vocab) {
  PreTokenizer pre;
  if (!vocab.splits.empty()) {
    TG_ASSIGN(pre, make_pretokenizer(vocab.splits));
  } else {
    const PreTokenizer* named = find_pretokenizer(vocab.pre);
    if (named == nullptr)
      return Error{Code::kUnsupported, "vocab: pre-tokenizer \"" + vocab.pre + "\" is not known"};
    pre = *named;
  }
  pre.ignores_merges = vocab.ignores_merges.value_or(pre.ignores_merges);
  return pre;
}

}  // namespace

BpeEncoder::BpeEncoder(const PreTokenizer& pre, i64 token_count, i64 merge_count)
    : pre_(pre),
      token_count_(static_cast<i32>(token_count)),
      symbols_(token_count),
      merges_(merge_count) {}

Result<BpeEncoder> BpeEncoder::create(const Vocab& vocab, const Pieces& pieces) {
  TG_ASSIGN(PreTokenizer pre, pretokenizer_of(vocab));
  i64 merge_count = static_cast<i64>(vocab.merges.size());
  if (merge_count > kMergesMax)
    return Error{Code::kLimit, "vocab: " + std::to_string(merge_count) + " merges"};
  BpeEncoder encoder(pre, pieces.size(), merge_count);
  for (TokenId id = 0; id < encoder.token_count_; ++id) {
    // Control tokens must not come out of ordinary text, whatever it merges to.
    if (type_of(vocab, id) != TokenType::kNormal && type_of(vocab, id) != TokenType::kUserDefined)
      continue;
    encoder.symbols_.insert(pieces[id], id);
  }
  TG_TRY(encoder.add_merges(vocab.merges));
  for (int byte = 0; byte < 256; ++byte) {
    char c = static_cast<char>(byte);
    encoder.byte_symbols_[byte] = encoder.symbols_.find({&c, 1});
  }
  // An "unknown" that is really the end of text would cut a prompt in two.
  if (vocab.unknown >= 0 && type_of(vocab, vocab.unknown) == TokenType::kUnknown)
    encoder.unknown_ = vocab.unknown;
  return encoder;
}

i32 BpeEncoder::find_or_add_symbol(std::string_view bytes) {
  i32 found = symbols_.find(bytes);
  if (found >= 0) return found;
  extra_symbols_.emplace_back(bytes);
  i32 symbol = token_count_ + static_cast<i32>(extra_symbols_.size()) - 1;
  symbols_.insert(extra_symbols_.back(), symbol);
  return symbol;
}

Status BpeEncoder::add_merges(const std::vector<std::string>& merges) {
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    std::string_view text = merges[rank];
    std::size_t space = text.find(' ', 1);
    bool has_parts = space != text.npos && space + 1 < text.size() && is_utf8(text);
    std::optional<std::string> left, right;
    if (has_parts) {
      left = alphabet_bytes(text.substr(0, space));
      right = alphabet_bytes(text.substr(space + 1));
    }
    if (!left || !right) {
      return Error{Code::kInvalid, "vocab: merge " + std::to_string(rank) + " \"" +
                                       std::string(text) + "\" is not two byte-level parts"};
    }
    i32 left_symbol = find_or_add_symbol(*left);
    i32 right_symbol = find_or_add_symbol(*right);
    Merge merge{static_cast<i32>(rank), find_or_add_symbol(*left + *right)};
    merges_.insert(left_symbol, right_symbol, merge);
  }
  return {};
}

void BpeEncoder::encode(std::string_view text, WordCache& cache, MergeScratch& scratch,
                        std::vector<TokenId>& ids) const {
  split_words(pre_, text, [&](std::string_view word) {
    cache.append(word, ids, [&](std::string_view w) { encode_word(w, scratch, ids); });
  });
}

void BpeEncoder::encode_word(std::string_view word, MergeScratch& scratch,
                             std::vector<TokenId>& ids) const {
  if (pre_.ignores_merges) {
    i32 whole = symbols_.find(word);
    if (whole >= 0 && whole < token_count_) return ids.push_back(whole);
  }
  scratch.clear();
  for (std::size_t i = 0; i < word.size(); ++i)
    scratch.append(byte_symbols_[static_cast<u8>(word[i])], static_cast<i32>(i), 1);
  merge_symbols(scratch, [&](const Symbol& left, const Symbol& right) {
    if (left.id < 0 || right.id < 0) return Merge{};
    return merges_.find(left.id, right.id);
  });
  for (i32 at = 0; at >= 0; at = scratch.symbols[at].next) {
    const Symbol& symbol = scratch.symbols[at];
    append_symbol(symbol.id, word.substr(symbol.begin, symbol.size), ids);
  }
}

void BpeEncoder::append_symbol(i32 symbol, std::string_view bytes,
                               std::vector<TokenId>& ids) const {
  if (symbol >= 0 && symbol < token_count_) return ids.push_back(symbol);
  for (char c : bytes) {
    i32 byte_symbol = byte_symbols_[static_cast<u8>(c)];
    if (byte_symbol >= 0 && byte_symbol < token_count_) {
      ids.push_back(byte_symbol);
    } else if (unknown_ >= 0) {
      ids.push_back(unknown_);
    }
  }
}

}  // namespace tg
