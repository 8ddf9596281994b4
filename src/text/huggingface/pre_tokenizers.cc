// "pre_tokenizer" means something else for each model: expressions that cut words for byte-level
// BPE, the handling of spaces for SentencePiece's kinds, a fixed rule for WordPiece.
#include <algorithm>

#include "text/huggingface/pipeline.h"
#include "text/pieces.h"
#include "text/pretokenizer.h"

namespace tg::huggingface {
namespace {

constexpr const char* kGpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
constexpr const char* kWholePattern = "(?s:.+)";

Error refused(const Json& part, const std::string& where) {
  return unsupported("pre_tokenizer \"" + shown(type_of(part)) + "\" " + where);
}

// "behavior"; what a file leaves out is `otherwise`.
std::string_view behavior_of(const Json& part, std::string_view otherwise) {
  const std::string* behavior = text_member(part, "behavior");
  return behavior == nullptr ? otherwise : std::string_view(*behavior);
}

Result<std::string> split_pattern(const Json& part) {
  const Json* pattern = member(part, "pattern");
  const std::string* expression = pattern == nullptr ? nullptr : text_member(*pattern, "Regex");
  if (expression == nullptr) return refused(part, "without a Regex");
  Split split = find_split(*expression);
  if (split.match == nullptr)
    return unsupported("pre_tokenizer Split by \"" + shown(*expression) + "\"");
  bool inverts = flag_member(part, "invert", false);
  std::string_view behavior = behavior_of(part, "");
  // Throwing away what does not match throws nothing away where everything matches.
  bool keeps_all =
      behavior == "Isolated" || (behavior == "Removed" && inverts && split.leaves_no_gaps);
  if (!keeps_all || (inverts && behavior != "Removed"))
    return refused(part, "with behavior \"" + shown(behavior) + "\"");
  return *expression;
}

Result<std::string> punctuation_pattern(const Json& part) {
  std::string_view behavior = behavior_of(part, "Isolated");
  if (behavior == "Isolated") return std::string("[\\p{P}\\$\\+<=>\\^~\\|`]");
  if (behavior == "Contiguous") return std::string("[\\p{P}\\$\\+<=>\\^~\\|`]+");
  return refused(part, "with behavior \"" + shown(behavior) + "\"");
}

Status add_byte_level(const Json& part, Vocab& vocab) {
  if (flag_member(part, "add_prefix_space", true)) {
    // A space goes before each word that has none; words are known only where nothing cut yet.
    if (!vocab.splits.empty()) return refused(part, "with add_prefix_space behind another");
    vocab.space_prefix = SpacePrefix::kAlways;
  }
  if (flag_member(part, "use_regex", true)) vocab.splits.push_back(kGpt2Pattern);
  return {};
}

Status read_byte_level(const std::vector<const Json*>& parts, Vocab& vocab) {
  vocab.kind = VocabKind::kBpe;
  for (const Json* part : parts) {
    std::string_view type = type_of(*part);
    if (type == "ByteLevel") {
      if (part != parts.back()) return refused(*part, "before another");
      TG_TRY(add_byte_level(*part, vocab));
    } else if (type == "Split") {
      TG_ASSIGN(std::string pattern, split_pattern(*part));
      vocab.splits.push_back(std::move(pattern));
    } else if (type == "Digits") {
      vocab.splits.push_back(flag_member(*part, "individual_digits", false) ? "\\p{N}" : "\\p{N}+");
    } else if (type == "Punctuation") {
      TG_ASSIGN(std::string pattern, punctuation_pattern(*part));
      vocab.splits.push_back(std::move(pattern));
    } else {
      return refused(*part, "before ByteLevel");
    }
  }
  if (vocab.splits.empty()) vocab.splits.push_back(kWholePattern);
  return {};
}

bool escapes_spaces(const Vocab& vocab) {
  NormalizeStep wanted{NormalizeStep::Kind::kReplace, " ", std::string(kSpmSpace)};
  return std::find(vocab.normalizers.begin(), vocab.normalizers.end(), wanted) !=
         vocab.normalizers.end();
}

// Cutting behind spaces cuts nothing once all spaces are U+2581.
bool is_idle_split(const Json& part, const Vocab& vocab) {
  const Json* pattern = member(part, "pattern");
  const std::string* text = pattern == nullptr ? nullptr : text_member(*pattern, "String");
  return type_of(part) == "Split" && text != nullptr && *text == " " && escapes_spaces(vocab) &&
         behavior_of(part, "") != "Removed" && !flag_member(part, "invert", false);
}

Status read_metaspace(const Json& part, Vocab& vocab) {
  const std::string* replacement = text_member(part, "replacement");
  if (replacement == nullptr || *replacement != kSpmSpace)
    return refused(part, "with another replacement");
  const std::string* scheme = text_member(part, "prepend_scheme");
  std::string_view name = scheme != nullptr                             ? std::string_view(*scheme)
                          : flag_member(part, "add_prefix_space", true) ? "always"
                                                                        : "never";
  if (name != "always" && name != "first" && name != "never")
    return refused(part, "with prepend_scheme \"" + shown(name) + "\"");
  vocab.space_prefix = name == "always"  ? SpacePrefix::kAlways
                       : name == "first" ? SpacePrefix::kFirst
                                         : SpacePrefix::kNever;
  vocab.splits_at_spaces = flag_member(part, "split", true);
  return {};
}

// Nothing, Metaspace, or WhitespaceSplit and Metaspace.
Status read_spaces(const std::vector<const Json*>& parts, Vocab& vocab) {
  bool has_metaspace = false;
  for (const Json* part : parts) {
    std::string_view type = type_of(*part);
    if (type == "Metaspace" && !has_metaspace) {
      TG_TRY(read_metaspace(*part, vocab));
      has_metaspace = true;
    } else if (type == "WhitespaceSplit" && !has_metaspace) {
      vocab.joins_words = true;
    } else if (!is_idle_split(*part, vocab)) {
      return refused(*part, "with this model");
    }
  }
  // Every word begins with U+2581 only if each is given one.
  bool marks_words = vocab.space_prefix == SpacePrefix::kAlways && vocab.splits_at_spaces;
  if (vocab.joins_words && !marks_words)
    return unsupported("pre_tokenizer \"WhitespaceSplit\" without a Metaspace that marks words");
  if (!has_metaspace && !escapes_spaces(vocab))
    return unsupported("a model without ByteLevel, Metaspace or a Replace of spaces");
  return {};
}

}  // namespace

Status read_pre_tokenizer(const Json& root, Vocab& vocab) {
  TG_ASSIGN(std::vector<const Json*> parts, flatten(root, "pre_tokenizer", "pretokenizers"));
  bool is_byte_level = std::any_of(parts.begin(), parts.end(),
                                   [](const Json* part) { return type_of(*part) == "ByteLevel"; });
  if (vocab.kind == VocabKind::kWordPiece) {
    if (parts.size() == 1 && type_of(*parts[0]) == "BertPreTokenizer") return {};
    return unsupported("a WordPiece pre_tokenizer other than BertPreTokenizer");
  }
  if (vocab.kind == VocabKind::kUnigram) {
    if (is_byte_level) return unsupported("pre_tokenizer \"ByteLevel\" with Unigram");
    return read_spaces(parts, vocab);
  }
  if (is_byte_level) return read_byte_level(parts, vocab);
  vocab.kind = VocabKind::kCharacterBpe;
  if (vocab.ignores_merges.value_or(false)) return unsupported("ignore_merges without ByteLevel");
  return read_spaces(parts, vocab);
}

}  // namespace tg::huggingface
