#include "isa/opcode.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/assert.h"
#include "isa/limits.h"

namespace tg::isa {

namespace {

using enum AttributeKey;

constexpr u32 bits(f32 value) {
  return std::bit_cast<u32>(value);
}

constexpr u8 kAcceptTable = kAcceptWeight | kAcceptConst;
constexpr u8 kAcceptRow = kAcceptTensor | kAcceptTable;

constexpr AttributeRule integer(AttributeKey key, u32 fallback, u32 min, u32 max) {
  return {
      .key = key, .type = AttributeType::kInteger, .fallback = fallback, .min = min, .max = max};
}
constexpr AttributeRule required(AttributeKey key, u32 min, u32 max) {
  return {.key = key, .type = AttributeType::kInteger, .required = true, .min = min, .max = max};
}
constexpr AttributeRule real(AttributeKey key, f32 fallback) {
  return {.key = key, .type = AttributeType::kReal, .fallback = bits(fallback)};
}
constexpr AttributeRule cyclic(AttributeKey key, u32 max) {
  return {.key = key, .type = AttributeType::kInteger, .cyclic = true, .max = max};
}
constexpr AttributeRule list(AttributeKey key, bool is_required, u32 max) {
  return {.key = key,
          .type = AttributeType::kInteger,
          .required = is_required,
          .list = true,
          .max = max};
}
constexpr AttributeRule required_real(AttributeKey key) {
  return {.key = key, .type = AttributeType::kReal, .required = true};
}
constexpr AttributeRule named(AttributeKey key, u32 legal = ~0u) {
  return {.key = key, .type = AttributeType::kName, .legal = legal};
}
template <typename... Values>
constexpr u32 one_of(Values... values) {
  return ((1u << static_cast<u32>(values)) | ...);
}

constexpr u32 kActLegal = ~one_of(Activation::kSwigluOai);
constexpr u32 kGluLegal = one_of(Activation::kSilu, Activation::kGeluTanh, Activation::kGeluErf,
                                 Activation::kRelu, Activation::kSwigluOai);

// Operands, in order.
constexpr OperandRule kTableIds[] = {{"table", kAcceptWeight}, {"ids", kAcceptTensor}};
constexpr OperandRule kXRows[] = {{"x", kAcceptTensor}, {"rows", kAcceptTensor}};
constexpr OperandRule kX[] = {{"x", kAcceptTensor}};
constexpr OperandRule kXWeightBias[] = {
    {"x", kAcceptTensor}, {"w", kAcceptWeight}, {"bias", kAcceptTable}};
constexpr OperandRule kAB[] = {{"a", kAcceptTensor}, {"b", kAcceptTensor | kAcceptWeight}};
constexpr OperandRule kXNormWeightBias[] = {
    {"x", kAcceptTensor}, {"w", kAcceptTable}, {"b", kAcceptTable}};
constexpr OperandRule kXRow[] = {{"a", kAcceptTensor}, {"b", kAcceptRow}};
constexpr OperandRule kGateUp[] = {{"g", kAcceptTensor}, {"u", kAcceptTensor}};
constexpr OperandRule kXPosInvf[] = {
    {"x", kAcceptTensor}, {"pos", kAcceptTensor}, {"invf", kAcceptTable}};
constexpr OperandRule kKvKeysValues[] = {{"kv", kAcceptKv},
                                         {"k", kAcceptTensor},
                                         {"v or bt", kAcceptTensor | kAcceptBatch},
                                         {"bt", kAcceptBatch}};
constexpr OperandRule kQueryKv[] = {{"q", kAcceptTensor},
                                    {"kv", kAcceptKv},
                                    {"bt", kAcceptBatch},
                                    {"sinks or sel", kAcceptTable | kAcceptTensor},
                                    {"sel", kAcceptTensor}};
constexpr OperandRule kXParams[] = {{"x", kAcceptTensor}, {"params", kAcceptParams}};

constexpr OperandRule kRouted[] = {
    {"x", kAcceptTensor}, {"w", kAcceptWeight}, {"perm", kAcceptPerm}, {"bias", kAcceptTable}};
constexpr OperandRule kLogitsBias[] = {{"logits", kAcceptTensor}, {"bias", kAcceptTable}};
constexpr OperandRule kYPermWeights[] = {
    {"y", kAcceptTensor}, {"perm", kAcceptPerm}, {"w", kAcceptTensor}};
constexpr OperandRule kIndexed[] = {
    {"qi", kAcceptTensor}, {"kv", kAcceptKv}, {"wi", kAcceptTensor}, {"bt", kAcceptBatch}};
constexpr OperandRule kConvolved[] = {{"x", kAcceptTensor},
                                      {"w", kAcceptTable},
                                      {"st", kAcceptState},
                                      {"bt", kAcceptBatch},
                                      {"bias", kAcceptTable}};
constexpr OperandRule kScanned[] = {
    {"q", kAcceptTensor}, {"k", kAcceptTensor}, {"v", kAcceptTensor},    {"g", kAcceptTensor},
    {"st", kAcceptState}, {"bt", kAcceptBatch}, {"beta", kAcceptTensor}, {"b", kAcceptTensor}};
constexpr OperandRule kProposals[] = {{"p", kAcceptTensor},    {"ids", kAcceptTensor},
                                      {"rows", kAcceptTensor}, {"params", kAcceptParams},
                                      {"bt", kAcceptBatch},    {"q", kAcceptTensor}};
constexpr OperandRule kDense[] = {
    {"q", kAcceptTensor}, {"k", kAcceptTensor}, {"v", kAcceptTensor}, {"bt", kAcceptBatch}};
constexpr OperandRule kXBatch[] = {{"x", kAcceptTensor}, {"bt", kAcceptBatch}};
constexpr OperandRule kSpliced[] = {
    {"x", kAcceptTensor}, {"rows", kAcceptTensor}, {"y", kAcceptTensor}};
constexpr OperandRule kImage[] = {{"x", kAcceptTensor | kAcceptWeight}};

// Attributes, sorted by key.
constexpr AttributeRule kRepeatAttributes[] = {
    required(AttributeKey::kCount, 1, static_cast<u32>(kLayersMax))};
constexpr AttributeRule kViewAttributes[] = {integer(kOffset, 0, 0, static_cast<u32>(kDimMax))};
constexpr AttributeRule kConcatAttributes[] = {integer(kAxis, 1, 0, 1)};
constexpr AttributeRule kLinearAttributes[] = {named(kAcc), named(kXq), named(kCls)};
constexpr AttributeRule kBmmAttributes[] = {named(kAcc), integer(kTrans, 0, 0, 1)};
constexpr AttributeRule kRmsNormAttributes[] = {real(kEps, 1e-5f),
                                                integer(kGroup, 0, 0, static_cast<u32>(kDimMax)),
                                                real(kWoff, 0.0f), named(kCastAt)};
constexpr AttributeRule kLayerNormAttributes[] = {real(kEps, 1e-5f)};
constexpr AttributeRule kAddAttributes[] = {real(kAlpha, 1.0f), real(kBeta, 1.0f)};
constexpr AttributeRule kMulAttributes[] = {real(kAlpha, 1.0f)};
constexpr AttributeRule kGluAttributes[] = {
    real(kAlpha, 1.702f), named(AttributeKey::kAct, kGluLegal), real(kLimit, 7.0f)};
constexpr AttributeRule kActAttributes[] = {named(AttributeKey::kAct, kActLegal),
                                            real(kSoftcap, 0.0f)};
constexpr AttributeRule kEwAttributes[] = {
    {.key = AttributeKey::kCode, .type = AttributeType::kCode, .required = true}};
constexpr AttributeRule kReduceAttributes[] = {named(kReduction)};
constexpr AttributeRule kRopeAttributes[] = {integer(kOffset, 0, 0, static_cast<u32>(kDimMax)),
                                             named(kStyle),
                                             required(kHeads, 1, static_cast<u32>(kHeadsMax)),
                                             required(kRot, 2, static_cast<u32>(kDimMax)),
                                             real(kMscale, 1.0f),
                                             cyclic(kTable, static_cast<u32>(kCycleMax)),
                                             list(kSections, false, static_cast<u32>(kDimMax))};
constexpr AttributeRule kAttnAttributes[] = {
    required(kHeads, 1, static_cast<u32>(kHeadsMax)), named(kMask), required_real(kScale),
    cyclic(kWindow, static_cast<u32>(kContextMax)), real(kSoftcap, 0.0f)};
constexpr AttributeRule kSampleAttributes[] = {
    integer(kTopN, 0, 0, static_cast<u32>(kTopLogprobsMax))};

constexpr u32 kHeadsLimit = static_cast<u32>(kHeadsMax);
constexpr u32 kDimLimit = static_cast<u32>(kDimMax);
constexpr AttributeRule kRouteAttributes[] = {
    real(kScale, 1.0f),
    required(kK, 1, static_cast<u32>(kExpertsActiveMax)),
    named(kScore),
    integer(kGroups, 1, 1, static_cast<u32>(kExpertsMax)),
    integer(kTopkGroups, 1, 1, static_cast<u32>(kExpertsMax)),
    named(kGroupScore),
    integer(kRenorm, 0, 0, 1)};
constexpr AttributeRule kIndexAttributes[] = {required(kHeads, 1, kHeadsLimit),
                                              required(kK, 1, static_cast<u32>(kSelectedMax))};
constexpr AttributeRule kScanAttributes[] = {required(kHeads, 1, kHeadsLimit), named(kRule)};
constexpr AttributeRule kSpecVerifyAttributes[] = {named(kMode)};
constexpr AttributeRule kAttnDenseAttributes[] = {required(kHeads, 1, kHeadsLimit),
                                                  named(kMask, one_of(Mask::kCausal, Mask::kFull)),
                                                  required_real(kScale),
                                                  cyclic(kWindow, static_cast<u32>(kContextMax)),
                                                  real(kSoftcap, 0.0f),
                                                  required(kKvHeads, 1, kHeadsLimit)};
constexpr AttributeRule kPoolAttributes[] = {named(kPooling), integer(kNorm, 0, 0, 1)};
constexpr AttributeRule kRanks2 = required(kRanks, 2, static_cast<u32>(kRanksMax));
constexpr AttributeRule kMesh = integer(kMeshAxis, 0, 0, 7);
constexpr AttributeRule kAllReduceAttributes[] = {
    named(kReduction, one_of(Reduction::kSum, Reduction::kMax)), kRanks2, kMesh, named(kOrder)};
constexpr AttributeRule kReduceScatterAttributes[] = {kRanks2, kMesh, named(kOrder)};
constexpr AttributeRule kMoveAttributes[] = {kRanks2, kMesh};
constexpr AttributeRule kPatchifyAttributes[] = {required(kPatch, 1, kDimLimit)};
constexpr AttributeRule kConv2dAttributes[] = {
    named(kCls), required(kKh, 1, 4'096), required(kKw, 1, 4'096), integer(kStride, 1, 1, 4'096),
    integer(kPad, 0, 0, 4'096)};
constexpr AttributeRule kPool2dAttributes[] = {{.key = kReduction,
                                                .type = AttributeType::kName,
                                                .required = true,
                                                .legal = one_of(Reduction::kMean, Reduction::kMax)},
                                               integer(kStride, 1, 1, 4'096),
                                               required(kSize, 1, 4'096)};
constexpr AttributeRule kPermuteAttributes[] = {list(kAxes, true, static_cast<u32>(kRankMax - 1))};

// Everything about an op that is not in the X-macro; the order is the X-macro's.
struct Shape {
  std::span<const OperandRule> operands;
  u8 operands_min;
  u8 operands_max;
  u8 results_min;
  u8 results_max;
  std::span<const AttributeRule> attributes;
};

constexpr u8 kMany = static_cast<u8>(kOperandsMax);

constexpr Shape kShapes[] = {
    {kX, 1, kMany, 1, kMany, kRepeatAttributes},           // repeat
    {kX, 1, kMany, 1, kMany, {}},                          // yield
    {kTableIds, 2, 2, 1, 1, {}},                           // embed
    {kXRows, 2, 2, 1, 1, {}},                              // gather
    {kX, 1, 1, 1, 1, kViewAttributes},                     // view
    {kX, 2, kMany, 1, 1, kConcatAttributes},               // concat
    {kX, 1, 1, 1, 1, {}},                                  // cast
    {kXWeightBias, 2, 3, 1, 1, kLinearAttributes},         // linear
    {kAB, 2, 2, 1, 1, kBmmAttributes},                     // bmm
    {kXNormWeightBias, 1, 2, 1, 1, kRmsNormAttributes},    // rmsnorm
    {kXNormWeightBias, 1, 3, 1, 1, kLayerNormAttributes},  // layernorm
    {kXRow, 2, 2, 1, 1, kAddAttributes},                   // add
    {kXRow, 1, 2, 1, 1, kMulAttributes},                   // mul
    {kGateUp, 1, 2, 1, 1, kGluAttributes},                 // glu
    {kX, 1, 1, 1, 1, kActAttributes},                      // act
    {kXRow, 1, kMany, 1, 1, kEwAttributes},                // ew
    {kX, 1, 1, 1, 1, kReduceAttributes},                   // reduce
    {kXPosInvf, 3, 3, 1, 1, kRopeAttributes},              // rope
    {kKvKeysValues, 3, 4, 0, 0, {}},                       // kv_append
    {kQueryKv, 3, 5, 1, 1, kAttnAttributes},               // attn
    {kXParams, 2, 2, 1, 1, {}},                            // logits
    {kXParams, 2, 2, 2, 4, kSampleAttributes},             // sample
    {kRouted, 3, 4, 1, 1, kLinearAttributes},              // grouped_linear
    {kLogitsBias, 1, 2, 2, 3, kRouteAttributes},           // route
    {kYPermWeights, 3, 3, 1, 1, {}},                       // combine
    {kIndexed, 4, 4, 1, 1, kIndexAttributes},              // index
    {kConvolved, 4, 5, 1, 1, {}},                          // conv_state
    {kScanned, 6, 8, 1, 1, kScanAttributes},               // scan
    {kProposals, 5, 6, 2, 3, kSpecVerifyAttributes},       // spec_verify
    {kDense, 4, 4, 1, 1, kAttnDenseAttributes},            // attn_dense
    {kXBatch, 2, 2, 1, 1, kPoolAttributes},                // pool
    {kX, 1, 1, 1, 1, kAllReduceAttributes},                // all_reduce
    {kX, 1, 1, 1, 1, kMoveAttributes},                     // all_gather
    {kX, 1, 1, 1, 1, kReduceScatterAttributes},            // reduce_scatter
    {kX, 1, 1, 1, 1, kMoveAttributes},                     // all_to_all
    {kSpliced, 3, 3, 1, 1, {}},                            // splice
    {kX, 1, 1, 1, 1, kPatchifyAttributes},                 // patchify
    {kXWeightBias, 2, 3, 1, 1, kConv2dAttributes},         // conv2d
    {kX, 1, 1, 1, 1, kPool2dAttributes},                   // pool2d
    {kImage, 1, 1, 1, 1, {}},                              // interp2d
    {kX, 1, 1, 1, 1, kPermuteAttributes},                  // permute
};
constexpr std::size_t kOpcodes = static_cast<std::size_t>(Opcode::kCount);
static_assert(std::size(kShapes) == kOpcodes);

constexpr OpInfo row(Opcode op, std::string_view op_name, Profile profile,
                     std::string_view synopsis) {
  const Shape& s = kShapes[static_cast<std::size_t>(op)];
  return {op,
          op_name,
          profile,
          1,
          synopsis,
          s.operands,
          s.operands_min,
          s.operands_max,
          s.results_min,
          s.results_max,
          s.attributes};
}

constexpr std::array<OpInfo, kOpcodes> kOps = {{
#define TG_OPCODE_ROW(id, name, profile, synopsis) \
  row(Opcode::id, name, Profile::profile, synopsis),
    TG_OPCODES(TG_OPCODE_ROW)
#undef TG_OPCODE_ROW
}};

constexpr bool attributes_are_sorted() {
  for (const OpInfo& op : kOps) {
    for (std::size_t i = 1; i < op.attributes.size(); ++i) {
      if (op.attributes[i - 1].key >= op.attributes[i].key) return false;
    }
  }
  return true;
}
static_assert(attributes_are_sorted());

constexpr std::string_view kKeyNames[] = {
#define TG_ATTRIBUTE_NAME(id, name) name,
    TG_ATTRIBUTE_KEYS(TG_ATTRIBUTE_NAME)
#undef TG_ATTRIBUTE_NAME
};

constexpr std::string_view kProfileNames[] = {"TEXT", "MOE",   "SPARSE", "STATE",
                                              "SPEC", "EMBED", "DIST",   "VISION"};
static_assert(std::size(kProfileNames) == static_cast<std::size_t>(Profile::kCount));

constexpr std::string_view kAccNames[] = {"f32", "i32", "f16c"};
constexpr std::string_view kXqNames[] = {"none", "i8/32", "i8/tok", "fp8/128", "mxfp4", "bf16"};
static_assert(std::size(kXqNames) == static_cast<std::size_t>(ActivationQuant::kCount));
constexpr std::string_view kClsNames[] = {"by_weight", "f32", "f16", "fp8", "int8", "4bit"};
constexpr std::string_view kCastNames[] = {"after_w", "before_w"};
constexpr std::string_view kActNames[] = {"silu",    "gelu_tanh", "gelu_erf", "relu",
                                          "relu2",   "sigmoid",   "tanh",     "softplus",
                                          "softcap", "swiglu_oai"};
constexpr std::string_view kReductionNames[] = {"sum", "mean", "max", "argmax", "softmax"};
constexpr std::string_view kStyleNames[] = {"neox", "gptj", "mrope"};
constexpr std::string_view kMaskNames[] = {"causal", "full", "tree"};
constexpr std::string_view kScoreNames[] = {"softmax", "sigmoid", "sqrt_softplus", "softmax_topk"};
constexpr std::string_view kGroupScoreNames[] = {"max", "top2"};
constexpr std::string_view kPoolingNames[] = {"last", "cls", "mean", "max"};
constexpr std::string_view kRuleNames[] = {"gdn", "kda", "gla", "mamba2", "rwkv7"};
constexpr std::string_view kModeNames[] = {"exact", "rejection"};
constexpr std::string_view kOrderNames[] = {"any", "fixed"};

template <typename E, std::size_t N>
std::optional<E> find_name(const std::string_view (&names)[N], std::string_view name) {
  const std::string_view* found = std::find(names, names + N, name);
  if (found == names + N) return std::nullopt;
  return static_cast<E>(found - names);
}

}  // namespace

const OpInfo& info(Opcode op) {
  TG_ASSERT(op < Opcode::kCount);
  return kOps[static_cast<std::size_t>(op)];
}

const AttributeRule* find_attribute(const OpInfo& op, AttributeKey key) {
  for (const AttributeRule& rule : op.attributes) {
    if (rule.key == key) return &rule;
  }
  return nullptr;
}

const OperandRule& operand_rule(const OpInfo& op, std::size_t i) {
  TG_ASSERT(!op.operands.empty() && i < op.operands_max);
  return op.operands[std::min(i, op.operands.size() - 1)];
}

std::span<const std::string_view> value_names(AttributeKey key) {
  switch (key) {
    case AttributeKey::kAcc: return kAccNames;
    case AttributeKey::kXq: return kXqNames;
    case AttributeKey::kCls: return kClsNames;
    case AttributeKey::kCastAt: return kCastNames;
    case AttributeKey::kAct: return kActNames;
    case AttributeKey::kReduction: return kReductionNames;
    case AttributeKey::kStyle: return kStyleNames;
    case AttributeKey::kMask: return kMaskNames;
    case AttributeKey::kScore: return kScoreNames;
    case AttributeKey::kGroupScore: return kGroupScoreNames;
    case AttributeKey::kPooling: return kPoolingNames;
    case AttributeKey::kRule: return kRuleNames;
    case AttributeKey::kMode: return kModeNames;
    case AttributeKey::kOrder: return kOrderNames;
    default: return {};
  }
}

u16 minor_of(AttributeKey key, u32 word) {
  return key == AttributeKey::kXq && word >= static_cast<u32>(ActivationQuant::kBf16) ? 1 : 0;
}

std::string_view name(Opcode op) {
  return info(op).name;
}

std::string_view name(AttributeKey key) {
  TG_ASSERT(key < AttributeKey::kCountKeys);
  return kKeyNames[static_cast<std::size_t>(key)];
}

std::string_view name(Profile profile) {
  TG_ASSERT(profile < Profile::kCount);
  return kProfileNames[static_cast<std::size_t>(profile)];
}

std::optional<Opcode> opcode_by_name(std::string_view name) {
  for (const OpInfo& op : kOps) {
    if (op.name == name) return op.op;
  }
  return std::nullopt;
}

std::optional<AttributeKey> attribute_by_name(std::string_view name) {
  return find_name<AttributeKey>(kKeyNames, name);
}

std::optional<Profile> profile_by_name(std::string_view name) {
  return find_name<Profile>(kProfileNames, name);
}

}  // namespace tg::isa
