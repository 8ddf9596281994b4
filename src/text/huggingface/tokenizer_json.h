// A Hugging Face directory's tokenizer (tokenizer.json, with what tokenizer_config.json adds) as
// the vocabulary that text/ works with. What cannot be represented exactly is refused by name.
// Sections "truncation" and "padding" say how callers batch, not what text means: not read.
#pragma once

#include <string_view>

#include "base/result.h"
#include "text/vocab.h"

namespace tg::huggingface {

// Ids that no token has, inside the vocabulary, are filled up to this many.
inline constexpr i64 kUnusedIdsMax = i64{1} << 16;

// Contents of the files; empty for one that the directory does not have.
struct TokenizerFiles {
  std::string_view tokenizer_json;
  std::string_view tokenizer_config_json;
  std::string_view chat_template_jinja;  // Goes before the template in tokenizer_config.json.
};

// kUnsupported names the component that cannot be represented; kInvalid, kLimit as in json.h. Text
// pieces of the result are well-formed; whether its tables fit together Tokenizer::create says.
Result<Vocab> read_vocab(const TokenizerFiles& files);

}  // namespace tg::huggingface
