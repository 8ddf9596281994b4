// What model files leave to be known: which tokens end a reply (they name one eos, yet chat models
// stop on others too, so end markers are found by their text), and what BERT does to text.
#include "text/vocab.h"

#include <algorithm>
#include <array>

namespace tg {
namespace {

constexpr std::array<std::string_view, 18> kEndMarkers = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<|eot|>",
    "<|return|>",
    "<|call|>",
    "<|end_of_turn|>",
    "<EOT>",
    "_<EOT>",
    "</s>",
    "<|END_OF_TURN_TOKEN|>",
    "<|endofturn|>",
    "<|role_end|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
};

// Where replies have channels (gpt-oss), <|end|> ends a channel's message and the reply goes on.
bool has_channels(const Vocab& vocab) {
  auto has = [&vocab](std::string_view text) {
    return std::find(vocab.tokens.begin(), vocab.tokens.end(), text) != vocab.tokens.end();
  };
  return has("<|channel|>") && has("<|return|>");
}

}  // namespace

std::vector<TokenId> find_end_of_generation(const Vocab& vocab) {
  std::vector<TokenId> found;
  if (vocab.eos >= 0) found.push_back(vocab.eos);
  bool is_end_kept = has_channels(vocab);
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) {
    // An ordinary word that happens to look like a marker must not end a reply.
    bool is_marker_type = vocab.types.empty() || vocab.types[i] == TokenType::kControl ||
                          vocab.types[i] == TokenType::kUserDefined;
    if (!is_marker_type || (is_end_kept && vocab.tokens[i] == "<|end|>")) continue;
    if (std::find(kEndMarkers.begin(), kEndMarkers.end(), vocab.tokens[i]) != kEndMarkers.end())
      found.push_back(static_cast<TokenId>(i));
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::vector<NormalizeStep> bert_normalizers(const BertNormalizing& options) {
  using Kind = NormalizeStep::Kind;
  std::vector<NormalizeStep> steps;
  if (options.cleans) steps.push_back({Kind::kCleanControl, "", ""});
  if (options.spaces_cjk) steps.push_back({Kind::kSpaceCjk, "", ""});
  if (options.strips_accents) {
    steps.push_back({Kind::kNfd, "", ""});
    steps.push_back({Kind::kStripAccents, "", ""});
  }
  if (options.lowers_case) steps.push_back({Kind::kLowercase, "", ""});
  return steps;
}

}  // namespace tg
