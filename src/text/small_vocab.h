// Vocabularies small enough to read, one of each kind, for tests and fuzzing.
#pragma once

#include "text/byte_alphabet.h"
#include "text/unicode.h"
#include "text/vocab.h"

namespace tg {

// Byte-level: the 256 bytes in order, then merges "h e", "l l", "he ll", "hell o", "Ġ hello", "1
// 2", then <|user|> (control), <|end|> (control) and ##x (user-defined).
inline Vocab small_bpe_vocab(const char* pre = "gpt-2") {
  Vocab vocab;
  vocab.pre = pre;
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    append_utf8(text, alphabet_char(static_cast<u8>(byte)));
    vocab.tokens.push_back(text);
  }
  for (const char* merge : {"h e", "l l", "he ll", "hell o", "\u0120 hello", "1 2"}) {
    std::string text = merge;
    vocab.merges.push_back(text);
    vocab.tokens.push_back(text.erase(text.find(' '), 1));
  }
  vocab.types.assign(vocab.tokens.size(), TokenType::kNormal);
  auto add = [&](const char* text, TokenType type) {
    vocab.tokens.push_back(text);
    vocab.types.push_back(type);
  };
  add("<|user|>", TokenType::kControl);
  add("<|end|>", TokenType::kControl);
  add("##x", TokenType::kUserDefined);
  vocab.bos = 262;
  vocab.eos = 263;
  return vocab;
}

// SentencePiece: <unk> <s> </s>, the 256 bytes, then the pieces below with falling scores.
inline Vocab small_spm_vocab() {
  Vocab vocab;
  vocab.kind = VocabKind::kSpm;
  vocab.add_space_prefix = true;
  auto add = [&](const std::string& text, TokenType type, f32 score) {
    vocab.tokens.push_back(text);
    vocab.types.push_back(type);
    vocab.scores.push_back(score);
  };
  add("<unk>", TokenType::kUnknown, 0);
  add("<s>", TokenType::kControl, 0);
  add("</s>", TokenType::kControl, 0);
  for (int byte = 0; byte < 256; ++byte) {
    constexpr const char* kDigits = "0123456789ABCDEF";
    add(std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">", TokenType::kByte, 0);
  }
  f32 score = -1;
  for (const char* piece : {"ab", "\u2581a", "bc", "abc", "\u2581", "a", "b", "c", "\u2581\u2581",
                            "\u00e9", "\u2581ab", "\u2581abc"})
    add(piece, TokenType::kNormal, score--);
  add("[X]", TokenType::kUserDefined, 0);
  vocab.unknown = 0;
  vocab.bos = 1;
  vocab.eos = 2;
  return vocab;
}

// The pieces of small_spm_vocab, merged by rank: every way to make each from two others.
inline Vocab small_character_bpe_vocab() {
  Vocab vocab = small_spm_vocab();
  vocab.kind = VocabKind::kCharacterBpe;
  vocab.scores.clear();
  vocab.add_space_prefix = false;
  vocab.merges = {"a b",           "\u2581 a",  "b c",       "ab c",       "a bc",
                  "\u2581 \u2581", "\u2581a b", "\u2581 ab", "\u2581 abc", "\u2581ab c"};
  return vocab;
}

// The pieces of small_spm_vocab with their scores.
inline Vocab small_unigram_vocab() {
  Vocab vocab = small_spm_vocab();
  vocab.kind = VocabKind::kUnigram;
  vocab.add_space_prefix = false;
  return vocab;
}

// [UNK] [CLS] [SEP], then a few beginnings and continuations of words; lower case, no accents.
inline Vocab small_word_piece_vocab() {
  Vocab vocab;
  vocab.kind = VocabKind::kWordPiece;
  vocab.tokens = {"[UNK]", "[CLS]", "[SEP]"};
  vocab.types = {TokenType::kUnknown, TokenType::kControl, TokenType::kControl};
  for (const char* piece : {"\u2581un", "able", "\u2581a", "b", "ab", "\u2581,", "\u2581.",
                            "\u2581\u4e2d", "\u2581~", "\u2581hello", "s", "\u2581h", "e", "l"}) {
    vocab.tokens.push_back(piece);
    vocab.types.push_back(TokenType::kNormal);
  }
  vocab.normalizers = bert_normalizers({});
  vocab.unknown = 0;
  vocab.bos = 1;
  vocab.eos = 2;
  return vocab;
}

}  // namespace tg
