// M4, V2, V3, V12, V14: attributes are known to their op, in range, and in canonical form.
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "isa/attribute_text.h"
#include "isa/ew.h"
#include "isa/limits.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

static std::string attribute_label(const AttributeRule& rule) {
  return "attribute " + std::string(name(rule.key));
}

static Status check_word(const OpView& op, const AttributeRule& rule, u32 word) {
  auto wrong = [&](std::string_view number, const std::string& message) {
    return op.broken(number, attribute_label(rule) + message);
  };
  switch (rule.type) {
    case AttributeType::kInteger:
      if (word < rule.min || word > rule.max)
        return wrong("V3", " " + std::to_string(word) + " is not in " + std::to_string(rule.min) +
                               ".." + std::to_string(rule.max));
      return {};
    case AttributeType::kReal:
      if (!std::isfinite(std::bit_cast<f32>(word)) || word == 0x80000000u)
        return wrong("M4", " is not a finite number, or -0");
      return {};
    case AttributeType::kName:
      if (word >= value_names(rule.key).size() || (rule.legal >> word & 1) == 0)
        return wrong("V3", " has no value " + std::to_string(word) + " here");
      return {};
    case AttributeType::kCode: break;
  }
  return {};
}

static Status check_code(const OpView& op, std::span<const u32> words) {
  Result<EwSummary> summary = check_ew(words);
  if (!summary.ok()) return op.broken("V3", summary.error().message);
  if (summary->inputs != op.operands())
    return op.broken("V15", "its code reads " + std::to_string(summary->inputs) + " of " +
                                std::to_string(op.operands()) + " operands");
  return {};
}

static Status check_cycle(const OpView& op, const Attribute& a, bool in_loop) {
  std::string label = attribute_label(*find_attribute(info(op.op()), a.key));
  if (static_cast<i64>(a.words.size()) > kCycleMax)
    return op.broken("M6", label + " cycles over " + std::to_string(a.words.size()) +
                               " words, at most " + std::to_string(kCycleMax));
  if (!in_loop) return op.broken("V14", label + " is a cycle outside repeat");
  std::vector<u32> shortest = a.words;
  shorten_cycle(shortest);
  if (shortest.size() != a.words.size()) return op.broken("M4", label + " repeats its cycle");
  return {};
}

static Status check_list(const OpView& op, const Attribute& a) {
  if (static_cast<i64>(a.words.size()) > kCycleMax)
    return op.broken("M6", "attribute " + std::string(name(a.key)) + " lists " +
                               std::to_string(a.words.size()) + " words, at most " +
                               std::to_string(kCycleMax));
  return {};
}

static Status check_attribute(const OpView& op, const Attribute& a, bool in_loop) {
  const AttributeRule* rule = find_attribute(info(op.op()), a.key);
  if (rule == nullptr)
    return op.broken("V3", "no attribute " + (a.key < AttributeKey::kCountKeys
                                                  ? std::string(name(a.key))
                                                  : std::to_string(static_cast<int>(a.key))));
  if (a.words.empty()) return op.broken("M7", attribute_label(*rule) + " has no value");
  if (rule->type == AttributeType::kCode) return check_code(op, a.words);
  if (a.words.size() > 1 && !rule->cyclic && !rule->list)
    return op.broken("V3", attribute_label(*rule) + " takes one value");
  for (u32 word : a.words) TG_TRY(check_word(op, *rule, word));
  if (rule->list) return check_list(op, a);
  if (a.words.size() > 1) return check_cycle(op, a, in_loop);
  if (!rule->required && a.words[0] == rule->fallback)
    return op.broken("M4", attribute_label(*rule) + " spells out its default");
  return {};
}

static bool has_profile(const OpView& op, Profile profile) {
  return (op.program().profiles >> static_cast<u32>(profile) & 1) != 0;
}

static Status check_attention(const OpView& op) {
  using enum AttributeKey;
  if (op.real(kScale) <= 0.0f) return op.broken("V12", "scale is not positive");
  if (op.real(kSoftcap) < 0.0f) return op.broken("V12", "softcap is negative");
  if (op.op() == Opcode::kAttnDense) return {};
  Mask mask = static_cast<Mask>(op.word(kMask));
  if (mask == Mask::kCausal) return {};
  Profile needed = mask == Mask::kTree ? Profile::kSpec : Profile::kEmbed;
  std::string label = "mask=" + std::string(value_names(kMask)[op.word(kMask)]);
  if (!has_profile(op, needed))
    return op.broken("V18", label + " needs profile " + std::string(name(needed)));
  for (u32 window : op.words(kWindow)) {
    if (window != 0) return op.broken("V12", label + " has no window");
  }
  return {};
}

static Status check_rope(const OpView& op) {
  using enum AttributeKey;
  bool is_mrope = op.word(kStyle) == static_cast<u32>(RopeStyle::kMrope);
  std::span<const u32> sections = op.words(kSections);
  bool has_sections = sections.size() > 1 || sections[0] != 0;
  if (is_mrope != has_sections)
    return op.broken("V12", "sections belong to style=mrope, which needs them");
  if (!is_mrope) return {};
  if (!has_profile(op, Profile::kVision))
    return op.broken("V18", "style=mrope needs profile VISION");
  u64 sum = 0;
  for (u32 section : sections) sum += section;
  if (sections.size() > 4 || sum * 2 != op.word(kRot))
    return op.broken("V12", std::to_string(sections.size()) + " sections of " +
                                std::to_string(sum) + " frequencies for rot " +
                                std::to_string(op.word(kRot)));
  return {};
}

static Status check_route(const OpView& op) {
  using enum AttributeKey;
  u32 groups = op.word(kGroups);
  u32 best = op.word(kTopkGroups);
  if (best > groups)
    return op.broken(
        "V13", "topk_groups " + std::to_string(best) + " of " + std::to_string(groups) + " groups");
  bool by_max = op.word(kGroupScore) == static_cast<u32>(GroupScore::kMax);
  if (groups == 1 && !by_max) return op.broken("V12", "group_score without groups");
  if (op.real(kScale) <= 0.0f) return op.broken("V12", "scale is not positive");
  return {};
}

// Values that single attributes allow but that make no sense together or at all.
static Status check_combination(const OpView& op) {
  using enum AttributeKey;
  auto negative = [&](AttributeKey key) { return op.real(key) < 0.0f; };
  switch (op.op()) {
    case Opcode::kRmsNorm:
    case Opcode::kLayerNorm:
      if (negative(kEps)) return op.broken("V12", "eps is negative");
      return {};
    case Opcode::kGlu: {
      bool oai = op.word(kAct) == static_cast<u32>(Activation::kSwigluOai);
      const AttributeRule* alpha = find_attribute(info(op.op()), kAlpha);
      const AttributeRule* limit = find_attribute(info(op.op()), kLimit);
      if (!oai && (op.word(kAlpha) != alpha->fallback || op.word(kLimit) != limit->fallback))
        return op.broken("V12", "alpha and limit belong to act=swiglu_oai");
      if (op.real(kLimit) <= 0.0f) return op.broken("V12", "limit is not positive");
      return {};
    }
    case Opcode::kAct: {
      bool is_softcap = op.word(kAct) == static_cast<u32>(Activation::kSoftcap);
      if (is_softcap != (op.real(kSoftcap) > 0.0f) || negative(kSoftcap))
        return op.broken("V12", "softcap is positive with act=softcap and absent otherwise");
      return {};
    }
    case Opcode::kAttn:
    case Opcode::kAttnDense: return check_attention(op);
    case Opcode::kRope: return check_rope(op);
    case Opcode::kRoute: return check_route(op);
    default: return {};
  }
}

static Status check_instruction(const OpView& op, bool in_loop) {
  Profile profile = info(op.op()).profile;
  if (!has_profile(op, profile))
    return op.broken("V18", "needs profile " + std::string(name(profile)));
  const std::vector<Attribute>& attributes = op.instruction().attributes;
  for (std::size_t i = 0; i < attributes.size(); ++i) {
    if (i > 0 && attributes[i - 1].key >= attributes[i].key)
      return op.broken("M4", "attributes are not in order");
    TG_TRY(check_attribute(op, attributes[i], in_loop));
  }
  for (const AttributeRule& rule : info(op.op()).attributes) {
    bool given = false;
    for (const Attribute& a : attributes) given |= a.key == rule.key;
    if (rule.required && !given) return op.broken("V3", attribute_label(rule) + " is missing");
  }
  return check_combination(op);
}

Status check_attributes(const Program& program, const Function& function) {
  bool in_loop = false;
  for (const Instruction& i : function.body) {
    if (i.op == Opcode::kYield) in_loop = false;
    TG_TRY(check_instruction(OpView(program, function, i), in_loop));
    if (i.op == Opcode::kRepeat) in_loop = true;
  }
  return {};
}

static u16 minor_of(const Instruction& i) {
  u16 minor = 0;
  for (const Attribute& a : i.attributes) {
    for (u32 word : a.words) minor = std::max(minor, minor_of(a.key, word));
  }
  return minor;
}

u16 minor_needed(const Program& program) {
  u16 needed = 0;
  for (const Function& f : program.functions) {
    for (const Instruction& i : f.body) needed = std::max(needed, minor_of(i));
  }
  return needed;
}

Status check_version_needed(const Program& program) {
  u16 needed = minor_needed(program);
  if (program.isa_minor == needed) return {};
  return broken("V2", "ISA version 1." + std::to_string(program.isa_minor) +
                          " is named, the program needs 1." + std::to_string(needed));
}

}  // namespace tg::isa
