// An input on its way to the encoder: stretches of text between special tokens.
#pragma once

#include <string_view>
#include <vector>

#include "text/special_matcher.h"
#include "text/vocab.h"

namespace tg {

// A stretch of text, or one special token.
struct Fragment {
  std::string_view text;
  TokenId id = -1;            // -1: text.
  bool begins_input = false;  // Nothing stands before it.
};

// Appends the fragments of `whole` (a text fragment): special tokens as `special` finds them, the
// leftmost first, the longest of those; control tokens only if `with_control`. Tokens take the
// white space beside them, or none at all, as their match flags in `vocab` say.
void split_special(const Vocab& vocab, const SpecialMatcher& special, const Fragment& whole,
                   bool with_control, std::vector<Fragment>& fragments);

}  // namespace tg
