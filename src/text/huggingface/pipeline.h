// The sections of tokenizer.json around the model: what is done to text before it and after it.
#pragma once

#include "text/huggingface/json.h"
#include "text/vocab.h"

namespace tg::huggingface {

// "normalizer": vocab.normalizers and vocab.charsmap.
Status read_normalizer(const Json& root, Vocab& vocab);

// "pre_tokenizer": splits and spaces; decides between kBpe and kCharacterBpe. Call after
// read_normalizer.
Status read_pre_tokenizer(const Json& root, Vocab& vocab);

// "decoder": must undo what the others did; says whether decoding drops the first space.
Status read_decoder(const Json& root, Vocab& vocab);

// "post_processor": bos, after_bos, eos and whether they are added. Call once tokens have ids.
Status read_post_processor(const Json& root, Vocab& vocab);

// Bytes of standard base64 with padding.
Result<std::string> from_base64(std::string_view text);

}  // namespace tg::huggingface
