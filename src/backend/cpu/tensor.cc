#include "backend/cpu/tensor.h"

namespace tg::backend::cpu {

using isa::AttributeKey;

static std::span<const u32> words_of(const isa::FlatInstruction& instruction, AttributeKey key) {
  for (const isa::Attribute& attribute : instruction.attributes) {
    if (attribute.key == key) return attribute.words;
  }
  return {};
}

static void resolve_profile(const isa::FlatInstruction& in, AttributeKey key, OpAttributes& out) {
  switch (key) {
    case AttributeKey::kXq: out.xq = static_cast<isa::ActivationQuant>(in.word(key)); break;
    case AttributeKey::kAcc: out.acc = static_cast<isa::Accumulate>(in.word(key)); break;
    case AttributeKey::kTrans: out.trans = in.word(key); break;
    case AttributeKey::kTable: out.table = in.word(key); break;
    case AttributeKey::kTopN: out.top_n = in.word(key); break;
    case AttributeKey::kK: out.k = in.word(key); break;
    case AttributeKey::kScore: out.score = static_cast<isa::RouteScore>(in.word(key)); break;
    case AttributeKey::kGroups: out.groups = in.word(key); break;
    case AttributeKey::kTopkGroups: out.topk_groups = in.word(key); break;
    case AttributeKey::kGroupScore:
      out.group_score = static_cast<isa::GroupScore>(in.word(key));
      break;
    case AttributeKey::kRenorm: out.renorm = in.word(key); break;
    case AttributeKey::kKvHeads: out.kv_heads = in.word(key); break;
    case AttributeKey::kPooling: out.pooling = static_cast<isa::Pooling>(in.word(key)); break;
    case AttributeKey::kNorm: out.norm = in.word(key); break;
    case AttributeKey::kMode: out.mode = static_cast<isa::VerifyMode>(in.word(key)); break;
    case AttributeKey::kAxes: out.axes = words_of(in, key); break;
    default: break;
  }
}

static void resolve(const isa::FlatInstruction& in, AttributeKey key, OpAttributes& out) {
  switch (key) {
    case AttributeKey::kEps: out.eps = in.real(key); break;
    case AttributeKey::kWoff: out.woff = in.real(key); break;
    case AttributeKey::kAlpha: out.alpha = in.real(key); break;
    case AttributeKey::kBeta: out.beta = in.real(key); break;
    case AttributeKey::kLimit: out.limit = in.real(key); break;
    case AttributeKey::kMscale: out.mscale = in.real(key); break;
    case AttributeKey::kScale: out.scale = in.real(key); break;
    case AttributeKey::kSoftcap: out.softcap = in.real(key); break;
    case AttributeKey::kOffset: out.offset = in.word(key); break;
    case AttributeKey::kAxis: out.axis = in.word(key); break;
    case AttributeKey::kGroup: out.group = in.word(key); break;
    case AttributeKey::kHeads: out.heads = in.word(key); break;
    case AttributeKey::kRot: out.rot = in.word(key); break;
    case AttributeKey::kWindow: out.window = in.word(key); break;
    case AttributeKey::kAct: out.act = static_cast<isa::Activation>(in.word(key)); break;
    case AttributeKey::kCastAt: out.cast_at = static_cast<isa::NormCast>(in.word(key)); break;
    case AttributeKey::kReduction: out.reduction = static_cast<isa::Reduction>(in.word(key)); break;
    case AttributeKey::kStyle: out.style = static_cast<isa::RopeStyle>(in.word(key)); break;
    case AttributeKey::kMask: out.mask = static_cast<isa::Mask>(in.word(key)); break;
    case AttributeKey::kCode: out.code = words_of(in, key); break;
    case AttributeKey::kSections: out.sections = words_of(in, key); break;
    default: resolve_profile(in, key, out); break;
  }
}

OpAttributes resolve_attributes(const isa::FlatInstruction& instruction) {
  OpAttributes out;
  for (const isa::AttributeRule& rule : isa::info(instruction.op).attributes) {
    resolve(instruction, rule.key, out);
  }
  return out;
}

}  // namespace tg::backend::cpu
