// The matchers that pre-tokenizers are made of: one per published expression, or one with its
// variations as template arguments. The expressions stand above their definitions.
#pragma once

#include <string_view>

#include "base/types.h"

namespace tg::split {

// How the descendants of cl100k differ.
struct WordStyle {
  int digits_max = 3;  // Longest run of numbers; 0: any.
  bool takes_marks = false;
  bool symbols_take_newlines = true;
  bool cuts_contractions = true;
};

// How the descendants of o200k differ.
struct CasedStyle {
  int digits_max = 3;
  bool takes_contractions = true;
  bool symbols_take_slash = true;
  bool keeps_han_apart = false;
};

i64 gpt2(std::string_view text, i64 at);
template <WordStyle kStyle>
i64 cl100k(std::string_view text, i64 at);
template <CasedStyle kStyle>
i64 o200k(std::string_view text, i64 at);
i64 deepseek_v3(std::string_view text, i64 at);
i64 bloom(std::string_view text, i64 at);

i64 everything(std::string_view text, i64 at);
i64 one_number(std::string_view text, i64 at);
i64 three_numbers(std::string_view text, i64 at);  // One to three.
i64 all_numbers(std::string_view text, i64 at);
i64 three_digits(std::string_view text, i64 at);
i64 punctuation(std::string_view text, i64 at);
i64 one_punctuation(std::string_view text, i64 at);
i64 one_newline(std::string_view text, i64 at);
i64 spaced_letters(std::string_view text, i64 at);
i64 spaced_punctuation(std::string_view text, i64 at);
i64 spaced_cased_letters(std::string_view text, i64 at);
i64 spaced_deepseek_punctuation(std::string_view text, i64 at);
i64 spaces_at_end(std::string_view text, i64 at);
i64 deepseek_east_asian(std::string_view text, i64 at);
i64 deepseek_v3_east_asian(std::string_view text, i64 at);

}  // namespace tg::split
