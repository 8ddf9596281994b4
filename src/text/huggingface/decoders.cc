// "decoder" is checked against what decoding does for the model's kind; "post_processor" says which
// tokens stand around a text.
#include <algorithm>

#include "text/huggingface/model.h"
#include "text/huggingface/pipeline.h"
#include "text/pieces.h"

namespace tg::huggingface {
namespace {

Error refused_decoder(const Json& part) {
  return unsupported("decoder \"" + shown(type_of(part)) + "\" with this model");
}

bool is_space_replace(const Json& part) {
  const Json* pattern = member(part, "pattern");
  const std::string* from = pattern == nullptr ? nullptr : text_member(*pattern, "String");
  const std::string* to = text_member(part, "content");
  return from != nullptr && *from == kSpmSpace && to != nullptr && *to == " ";
}

bool strips_one_space(const Json& part) {
  const std::string* content = text_member(part, "content");
  const Json* start = member(part, "start");
  const Json* stop = member(part, "stop");
  return content != nullptr && *content == " " && start != nullptr && *start == 1 &&
         stop != nullptr && *stop == 0;
}

bool metaspace_prepends(const Json& part) {
  const std::string* scheme = text_member(part, "prepend_scheme");
  return scheme != nullptr ? *scheme != "never" : flag_member(part, "add_prefix_space", true);
}

// Replace, ByteFallback, Fuse and Strip, or Metaspace: all that decoding does for these kinds, save
// the dropping of the first space.
Status read_space_decoder(const std::vector<const Json*>& parts, Vocab& vocab) {
  vocab.add_space_prefix = false;
  for (const Json* part : parts) {
    std::string_view type = type_of(*part);
    if (type == "ByteFallback" || type == "Fuse") continue;
    bool is_metaspace = type == "Metaspace";
    bool is_strip = type == "Strip" && strips_one_space(*part);
    bool is_replace = type == "Replace" && is_space_replace(*part);
    if (!is_metaspace && !is_strip && !is_replace) return refused_decoder(*part);
    if (is_strip || (is_metaspace && metaspace_prepends(*part))) vocab.add_space_prefix = true;
  }
  return {};
}

bool prepends_space(const Vocab& vocab) {
  return vocab.space_prefix != SpacePrefix::kNever ||
         std::any_of(
             vocab.normalizers.begin(), vocab.normalizers.end(),
             [](const NormalizeStep& s) { return s.kind == NormalizeStep::Kind::kPrepend; });
}

Status check_word_piece_decoder(const Json& part) {
  const std::string* prefix = text_member(part, "prefix");
  bool is_plain = type_of(part) == "WordPiece" && (prefix == nullptr || *prefix == "##") &&
                  flag_member(part, "cleanup", true);
  if (!is_plain) return refused_decoder(part);
  return {};
}

// Tokens around a text, as a post-processor gives them.
struct Frame {
  std::vector<TokenId> before;
  std::vector<TokenId> after;
};

// ["[SEP]", 102]
Result<TokenId> read_pair(const Json& part, const char* key) {
  const Json* pair = member(part, key);
  bool is_pair = pair != nullptr && pair->is_array() && pair->size() == 2;
  if (!is_pair) return invalid("post_processor has no " + std::string(key));
  return read_id(&(*pair)[1], "post_processor " + std::string(key));
}

// The ids that "special_tokens" gives for a name.
Status append_special(const Json& part, const std::string& name, std::vector<TokenId>& ids) {
  const Json* specials = member(part, "special_tokens");
  const Json* entry = specials == nullptr ? nullptr : member(*specials, name.c_str());
  const Json* listed = entry == nullptr ? nullptr : member(*entry, "ids");
  if (listed == nullptr || !listed->is_array())
    return invalid("post_processor TemplateProcessing has no ids for \"" + shown(name) + "\"");
  for (const Json& json : *listed) {
    TG_ASSIGN(TokenId id, read_id(&json, "post_processor token \"" + shown(name) + "\""));
    ids.push_back(id);
  }
  return {};
}

Status read_template(const Json& part, Frame& frame) {
  const Json* single = member(part, "single");
  if (single == nullptr || !single->is_array())
    return invalid("post_processor TemplateProcessing has no single");
  bool seen_text = false;
  for (const Json& piece : *single) {
    const Json* special = member(piece, "SpecialToken");
    const std::string* name = special == nullptr ? nullptr : text_member(*special, "id");
    bool is_text = member(piece, "Sequence") != nullptr;
    if ((name == nullptr) != is_text || (is_text && seen_text))
      return unsupported("post_processor TemplateProcessing of this form");
    seen_text = seen_text || is_text;
    if (is_text) continue;
    TG_TRY(append_special(part, *name, seen_text ? frame.after : frame.before));
  }
  if (!seen_text) return unsupported("post_processor TemplateProcessing without a text");
  return {};
}

Status read_frame(const Json& part, Frame& frame) {
  std::string_view type = type_of(part);
  // ByteLevel moves offsets only.
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return read_template(part, frame);
  if (type != "BertProcessing" && type != "RobertaProcessing")
    return unsupported("post_processor \"" + shown(type) + "\"");
  TG_ASSIGN(TokenId first, read_pair(part, "cls"));
  TG_ASSIGN(TokenId last, read_pair(part, "sep"));
  frame.before.insert(frame.before.begin(), first);
  frame.after.push_back(last);
  return {};
}

}  // namespace

Status read_decoder(const Json& root, Vocab& vocab) {
  TG_ASSIGN(std::vector<const Json*> parts, flatten(root, "decoder", "decoders"));
  if (parts.empty()) {
    vocab.add_space_prefix = vocab.kind != VocabKind::kBpe && prepends_space(vocab);
    return {};
  }
  if (vocab.kind == VocabKind::kCharacterBpe || vocab.kind == VocabKind::kUnigram)
    return read_space_decoder(parts, vocab);
  if (parts.size() > 1) return refused_decoder(*parts[1]);
  if (vocab.kind == VocabKind::kWordPiece) return check_word_piece_decoder(*parts[0]);
  if (type_of(*parts[0]) != "ByteLevel") return refused_decoder(*parts[0]);
  return {};
}

Status read_post_processor(const Json& root, Vocab& vocab) {
  TG_ASSIGN(std::vector<const Json*> parts, flatten(root, "post_processor", "processors"));
  Frame frame;
  for (const Json* part : parts) TG_TRY(read_frame(*part, frame));
  if (frame.after.size() > 1)
    return unsupported("a post_processor with " + std::to_string(frame.after.size()) +
                       " tokens after the text");
  for (const std::vector<TokenId>* ids : {&frame.before, &frame.after}) {
    for (TokenId id : *ids) {
      if (id >= static_cast<i64>(vocab.tokens.size()))
        return invalid("post_processor token " + std::to_string(id) + " of " +
                       std::to_string(vocab.tokens.size()));
    }
  }
  vocab.add_bos = !frame.before.empty();
  vocab.add_eos = !frame.after.empty();
  if (vocab.add_eos) vocab.eos = frame.after[0];
  if (!vocab.add_bos) return {};
  vocab.bos = frame.before[0];
  vocab.after_bos.assign(frame.before.begin() + 1, frame.before.end());
  return {};
}

}  // namespace tg::huggingface
