// The vocabulary a tokenizer is made of, as plain data. Whoever reads a model file fills it;
// nothing here knows a file format. The numbering of TokenType is that of GGUF's
// tokenizer.ggml.token_type.
#pragma once

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
  kSpm,  // SentencePiece: best score first, bytes as fallback.
  kBpe,  // Byte-level BPE: lowest merge rank first, within the words of a pre-tokenizer.
};

struct Vocab {
  VocabKind kind = VocabKind::kBpe;
  // Name of the pre-tokenizer (GGUF's tokenizer.ggml.pre): "llama-bpe", "gpt-2", "qwen2", ...;
  // empty and "default" mean gpt-2. Not used by kSpm.
  std::string pre;
  std::vector<std::string> tokens;
  std::vector<f32> scores;          // kSpm: one per token.
  std::vector<TokenType> types;     // One per token; empty means all are kNormal.
  std::vector<std::string> merges;  // kBpe: "left right", best first.
  TokenId bos = -1;
  TokenId eos = -1;
  TokenId unknown = -1;
  TokenId pad = -1;
  std::vector<TokenId> end_of_generation;  // Tokens after which a reply is over, sorted.
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;  // kSpm: text is encoded as if one space stood before it.
  std::string chat_template;      // Jinja; empty if the model has none.
};

// The tokens that end a reply: `eos`, and every token whose text is one of the end markers in use
// (<|im_end|>, <|eot_id|>, <|endoftext|>, <end_of_turn>, ...). Sorted, without duplicates.
std::vector<TokenId> find_end_of_generation(const Vocab& vocab);

}  // namespace tg
