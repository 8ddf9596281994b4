// The vocabulary of a checkpoint's directory: text/huggingface reads the tokenizer's files, here
// they are found and fitted to the model.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"
#include "text/vocab.h"

namespace tg::checkpoint {

// tokenizer.json, with tokenizer_config.json and chat_template.jinja where they exist; the ends of
// a reply that generation_config.json or else config.json states, if there is either; unused tokens
// up to `rows`, for models are often made with more rows than their tokenizer has tokens. kNotFound
// without a tokenizer.json; otherwise as huggingface::read_vocab.
Result<Vocab> read_vocabulary(const std::string& directory, i64 rows);

}  // namespace tg::checkpoint
