// What happens to text before it is cut into tokens: a list of small rewritings, in order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/charsmap.h"
#include "text/vocab.h"

namespace tg {

class Normalizer {
 public:
  // Most steps, longest text in a step, and longest result of a step.
  static constexpr i64 kStepsMax = 64;
  static constexpr i64 kStepTextBytesMax = 1024;
  static constexpr i64 kOutputBytesMax = i64{32} << 20;

  // Checks the steps; `charsmap` is read if one of them is kCharsmap.
  static Result<Normalizer> create(std::vector<NormalizeStep> steps, std::string_view charsmap);

  bool is_identity() const { return steps_.empty(); }
  // kLimit past kOutputBytesMax. REQUIRES: well-formed UTF-8; so is the result.
  Result<std::string> apply(std::string_view text) const;

 private:
  Result<std::string> apply_step(const NormalizeStep& step, std::string_view text) const;

  std::vector<NormalizeStep> steps_;
  Charsmap charsmap_;
};

// The words between white space joined by one ' ', by none before a U+2581.
std::string joined_words(std::string_view text);

// True for what BERT cuts out as a word of its own: ASCII that is no letter, digit or space, and
// \p{P}.
bool is_bert_punctuation(u32 code_point);

}  // namespace tg
