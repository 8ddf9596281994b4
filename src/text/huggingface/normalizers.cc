// Each component of "normalizer" is one or a few steps of the vocabulary's own list.
#include <array>

#include "text/charsmap.h"
#include "text/huggingface/pipeline.h"

namespace tg::huggingface {
namespace {

using Kind = NormalizeStep::Kind;

struct Plain {
  std::string_view type;
  Kind kind;
};
constexpr Plain kPlain[] = {{"NFC", Kind::kNfc},
                            {"NFD", Kind::kNfd},
                            {"NFKC", Kind::kNfkc},
                            {"NFKD", Kind::kNfkd},
                            {"Lowercase", Kind::kLowercase},
                            {"StripAccents", Kind::kStripMarks}};

Status add_replace(const Json& json, std::vector<NormalizeStep>& steps) {
  const Json* pattern = member(json, "pattern");
  const std::string* content = text_member(json, "content");
  if (pattern == nullptr || content == nullptr)
    return invalid("normalizer Replace has no pattern or content");
  if (const std::string* text = text_member(*pattern, "String")) {
    steps.push_back({Kind::kReplace, *text, *content});
    return {};
  }
  const std::string* expression = text_member(*pattern, "Regex");
  if (expression != nullptr && *expression == " {2,}") {
    steps.push_back({Kind::kJoinSpaces, "", *content});
    return {};
  }
  return unsupported("normalizer Replace of \"" +
                     shown(expression == nullptr ? std::string_view() : *expression) + "\"");
}

void add_bert(const Json& json, std::vector<NormalizeStep>& steps) {
  bool lowers = flag_member(json, "lowercase", true);
  std::vector<NormalizeStep> bert =
      bert_normalizers({.cleans = flag_member(json, "clean_text", true),
                        .spaces_cjk = flag_member(json, "handle_chinese_chars", true),
                        .strips_accents = flag_member(json, "strip_accents", lowers),
                        .lowers_case = lowers});
  steps.insert(steps.end(), bert.begin(), bert.end());
}

Status add_charsmap(const Json& json, Vocab& vocab) {
  const std::string* text = text_member(json, "precompiled_charsmap");
  if (text == nullptr || text->empty()) return {};
  if (!vocab.charsmap.empty()) return unsupported("a second normalizer Precompiled");
  TG_ASSIGN(vocab.charsmap, from_base64(*text));
  vocab.normalizers.push_back({Kind::kCharsmap, "", ""});
  return {};
}

Status add_step(const Json& json, Vocab& vocab) {
  std::vector<NormalizeStep>& steps = vocab.normalizers;
  std::string_view type = type_of(json);
  for (const Plain& plain : kPlain) {
    if (plain.type != type) continue;
    steps.push_back({plain.kind, "", ""});
    return {};
  }
  if (type == "Replace") return add_replace(json, steps);
  if (type == "Precompiled") return add_charsmap(json, vocab);
  if (type == "BertNormalizer") {
    add_bert(json, steps);
  } else if (type == "Prepend") {
    const std::string* text = text_member(json, "prepend");
    if (text == nullptr) return invalid("normalizer Prepend has no prepend");
    steps.push_back({Kind::kPrepend, "", *text});
  } else if (type == "Strip") {
    if (flag_member(json, "strip_left", true)) steps.push_back({Kind::kStripLeft, "", ""});
    if (flag_member(json, "strip_right", true)) steps.push_back({Kind::kStripRight, "", ""});
  } else {
    return unsupported("normalizer \"" + shown(type) + "\"");
  }
  return {};
}

}  // namespace

Status read_normalizer(const Json& root, Vocab& vocab) {
  TG_ASSIGN(std::vector<const Json*> parts, flatten(root, "normalizer", "normalizers"));
  for (const Json* part : parts) TG_TRY(add_step(*part, vocab));
  return {};
}

Result<std::string> from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (static_cast<i64>(text.size()) > Charsmap::kBytesMax * 2)
    return Error{Code::kLimit, "tokenizer.json: precompiled_charsmap of " +
                                   std::to_string(text.size()) + " characters"};
  std::array<i8, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < kDigits.size(); ++i)
    values[static_cast<u8>(kDigits[i])] = static_cast<i8>(i);
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  if (text.size() % 4 != 0) return invalid("precompiled_charsmap is not base64");
  std::string out;
  u32 bits = 0;
  for (std::size_t i = 0; i < text.size() - padding; ++i) {
    i8 value = values[static_cast<u8>(text[i])];
    if (value < 0) return invalid("precompiled_charsmap is not base64");
    bits = bits << 6 | static_cast<u32>(value);
    // Four digits are three bytes: after the second, third and fourth a byte is complete.
    if (i % 4 == 1) out.push_back(static_cast<char>(bits >> 4));
    if (i % 4 == 2) out.push_back(static_cast<char>(bits >> 2));
    if (i % 4 == 3) out.push_back(static_cast<char>(bits));
  }
  return out;
}

}  // namespace tg::huggingface
