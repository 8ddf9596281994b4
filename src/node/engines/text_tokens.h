// Ids for text that an engine sent without them, by our tokenizer, so that everything above counts
// and shows the same tokens whoever served.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace tg::node {

// Ids whose pieces, joined, are `text`, which continues other text. Vocabularies that put a space
// before every text are asked in a way that adds none; what they cannot say in tokens of text is
// said in byte tokens, and left out if there are none.
std::vector<TokenId> tokens_of_text(const Tokenizer& tokenizer, std::string_view text);

}  // namespace tg::node
