// Vocabularies of the shared data, for tests and benches only: reads just enough of GGUF, whose
// real reader lives in model/.
#pragma once

#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "base/bytes.h"
#include "text/vocab.h"

namespace tg::published {

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// One metadata value: the number, text or array of them, as far as vocabularies need it.
struct Value {
  u64 number = 0;
  std::string text;
  std::vector<Value> items;
};

inline Result<std::string> read_text(Reader& in) {
  TG_ASSIGN(u64 size, in.u64_le());
  TG_ASSIGN(std::span<const u8> bytes, in.bytes(size));
  return std::string(as_text(bytes));
}

inline Result<Value> read_value(Reader& in, u32 type) {
  constexpr u32 kText = 8, kArray = 9;
  constexpr u64 kSizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  Value value;
  if (type == kText) {
    TG_ASSIGN(value.text, read_text(in));
  } else if (type == kArray) {
    TG_ASSIGN(u32 item_type, in.u32_le());
    TG_ASSIGN(u64 count, in.u64_le());
    for (u64 i = 0; i < count; ++i) {
      TG_ASSIGN(Value item, read_value(in, item_type));
      value.items.push_back(std::move(item));
    }
  } else {
    if (type >= std::size(kSizes)) return Error{Code::kCorrupt, "type"};
    TG_ASSIGN(std::span<const u8> bytes, in.bytes(kSizes[type]));
    std::memcpy(&value.number, bytes.data(), bytes.size());
  }
  return value;
}

using Fields = std::map<std::string, Value>;

inline Result<Fields> read_gguf(const std::string& bytes) {
  Reader in(as_bytes(bytes), "gguf");
  TG_TRY(in.skip(16));
  TG_ASSIGN(u64 count, in.u64_le());
  Fields fields;
  for (u64 i = 0; i < count; ++i) {
    TG_ASSIGN(std::string key, read_text(in));
    TG_ASSIGN(u32 type, in.u32_le());
    TG_ASSIGN(fields[key], read_value(in, type));
  }
  return fields;
}

inline Vocab vocab_of(Fields& fields) {
  auto field = [&](const char* name) -> Value& {
    return fields[std::string("tokenizer.ggml.") + name];
  };
  auto id = [&](const char* name) {
    return fields.count(std::string("tokenizer.ggml.") + name)
               ? static_cast<TokenId>(field(name).number)
               : -1;
  };
  Vocab vocab;
  bool is_bert = field("model").text == "bert";
  vocab.kind = is_bert                          ? VocabKind::kWordPiece
               : field("model").text == "llama" ? VocabKind::kSpm
                                                : VocabKind::kBpe;
  if (is_bert) vocab.normalizers = bert_normalizers({});
  vocab.pre = field("pre").text;
  for (const Value& v : field("tokens").items) vocab.tokens.push_back(v.text);
  for (const Value& v : field("scores").items) {
    u32 bits = static_cast<u32>(v.number);
    f32 score;
    std::memcpy(&score, &bits, 4);
    vocab.scores.push_back(score);
  }
  for (const Value& v : field("token_type").items)
    vocab.types.push_back(static_cast<TokenType>(v.number));
  for (const Value& v : field("merges").items) vocab.merges.push_back(v.text);
  vocab.bos = id(is_bert ? "cls_token_id" : "bos_token_id");
  vocab.eos = id(is_bert ? "seperator_token_id" : "eos_token_id");
  vocab.unknown = id("unknown_token_id");
  vocab.add_space_prefix = vocab.kind == VocabKind::kSpm;
  return vocab;
}

// The vocabulary in that file's bytes.
inline Result<Vocab> read_vocab(const std::string& bytes) {
  TG_ASSIGN(Fields fields, read_gguf(bytes));
  return vocab_of(fields);
}

}  // namespace tg::published
