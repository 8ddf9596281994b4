// Reads the tokenizer.ggml.* keys of a GGUF file into the plain vocabulary that text/ works with.
#pragma once

#include "base/result.h"
#include "model/gguf/reader.h"
#include "text/vocab.h"

namespace tg::model {

// kNotFound if the file carries no tokenizer, kUnsupported if its kind is not known, kInvalid or
// kCorrupt if its tables contradict each other; one line, naming the key.
Result<Vocab> read_vocab(const gguf::File& file);

}  // namespace tg::model
