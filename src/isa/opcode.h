// The one opcode table: enum, names, profiles, attributes with their defaults, and the
// specification's tables all come from it. Values are part of the binary encoding: append only; an
// op never changes within a version.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "base/types.h"

namespace tg::isa {

enum class Profile : u8 { kText, kMoe, kSparse, kState, kSpec, kEmbed, kDist, kVision, kCount };

// id, name, profile, synopsis
#define TG_OPCODES(X)                                                                          \
  X(kRepeat, "repeat", kText, "run the body `count` times, carrying values")                   \
  X(kYield, "yield", kText, "end of a repeat body: the carried values' next values")           \
  X(kEmbed, "embed", kText, "y[T,d] = table[ids]")                                             \
  X(kGather, "gather", kText, "y[R,d] = x[rows]")                                              \
  X(kView, "view", kText, "columns offset..offset+N of x's last dimension")                    \
  X(kConcat, "concat", kText, "join along the last axis (axis=1) or rows (axis=0)")            \
  X(kCast, "cast", kText, "round to nearest even to another type")                             \
  X(kLinear, "linear", kText, "y[T,N] = x[T,K] w[N,K]^T (+ bias)")                             \
  X(kBmm, "bmm", kText, "y[G,M,N] = a[G,M,K] b[G,N,K]^T")                                      \
  X(kRmsNorm, "rmsnorm", kText, "y = x / rms(x) * (w + woff)")                                 \
  X(kLayerNorm, "layernorm", kText, "y = (x - mean) / std * w + b")                            \
  X(kAdd, "add", kText, "y = alpha*a + beta*b")                                                \
  X(kMul, "mul", kText, "y = alpha*a*b")                                                       \
  X(kGlu, "glu", kText, "y = act(g) * u")                                                      \
  X(kAct, "act", kText, "y = act(x)")                                                          \
  X(kEw, "ew", kText, "postfix scalar program over same-shape operands")                       \
  X(kReduce, "reduce", kText, "sum, mean, max, argmax or softmax along the last axis")         \
  X(kRope, "rope", kText, "rotate pairs of each head by pos*invf")                             \
  X(kKvAppend, "kv_append", kText, "write k and v to the batch's slots")                       \
  X(kAttn, "attn", kText, "paged attention over cached keys and values")                       \
  X(kLogits, "logits", kText, "bias, penalties, mask, temperature, top-k, top-p, min-p")       \
  X(kSample, "sample", kText, "greedy, or Gumbel-max with Philox4x32-10")                      \
  X(kGroupedLinear, "grouped_linear", kMoe, "y[k*T,N] = each routed row times its expert's w") \
  X(kRoute, "route", kMoe, "score, select k experts per token, weigh them")                    \
  X(kCombine, "combine", kMoe, "weighted sum over a token's experts, in order of rank")        \
  X(kIndex, "index", kSparse, "the k cached keys that score best for each token")              \
  X(kConvState, "conv_state", kState, "causal depthwise convolution over a state")             \
  X(kScan, "scan", kState, "linear attention: a recurrence over a state per head")             \
  X(kSpecVerify, "spec_verify", kSpec, "accept proposed tokens, draw the next")                \
  X(kAttnDense, "attn_dense", kEmbed, "attention within the step, no cache")                   \
  X(kPool, "pool", kEmbed, "one row per sequence: last, cls, mean or max")                     \
  X(kAllReduce, "all_reduce", kDist, "sum or max over the ranks of a mesh axis")               \
  X(kAllGather, "all_gather", kDist, "join the ranks' last axes")                              \
  X(kReduceScatter, "reduce_scatter", kDist, "this rank's part of the sum")                    \
  X(kAllToAll, "all_to_all", kDist, "part j of the last axis goes to rank j")                  \
  X(kSplice, "splice", kVision, "replace rows by rows of another tensor")                      \
  X(kPatchify, "patchify", kVision, "cut images into rows of patches")                         \
  X(kConv2d, "conv2d", kVision, "convolution over images")                                     \
  X(kPool2d, "pool2d", kVision, "mean or max over windows of images")                          \
  X(kInterp2d, "interp2d", kVision, "bilinear resize, half-pixel centres")                     \
  X(kPermute, "permute", kVision, "reorder axes, materialised")

enum class Opcode : u16 {
#define TG_OPCODE_ENUM(id, name, profile, synopsis) id,
  TG_OPCODES(TG_OPCODE_ENUM)
#undef TG_OPCODE_ENUM
      kCount
};

// Attribute keys: id, name. Which op takes which, with type and default, is in opcode.cc.
#define TG_ATTRIBUTE_KEYS(X)    \
  X(kCount, "count")            \
  X(kOffset, "offset")          \
  X(kAxis, "axis")              \
  X(kAcc, "acc")                \
  X(kXq, "xq")                  \
  X(kCls, "cls")                \
  X(kEps, "eps")                \
  X(kGroup, "group")            \
  X(kWoff, "woff")              \
  X(kCastAt, "cast")            \
  X(kAlpha, "alpha")            \
  X(kBeta, "beta")              \
  X(kAct, "act")                \
  X(kLimit, "limit")            \
  X(kCode, "code")              \
  X(kReduction, "kind")         \
  X(kStyle, "style")            \
  X(kHeads, "heads")            \
  X(kRot, "rot")                \
  X(kMscale, "mscale")          \
  X(kMask, "mask")              \
  X(kScale, "scale")            \
  X(kWindow, "window")          \
  X(kSoftcap, "softcap")        \
  X(kTopN, "top_n")             \
  X(kTrans, "trans")            \
  X(kTable, "table")            \
  X(kSections, "sections")      \
  X(kK, "k")                    \
  X(kScore, "score")            \
  X(kGroups, "groups")          \
  X(kTopkGroups, "topk_groups") \
  X(kGroupScore, "group_score") \
  X(kRenorm, "renorm")          \
  X(kKvHeads, "kv_heads")       \
  X(kPooling, "pooling")        \
  X(kNorm, "norm")              \
  X(kRule, "rule")              \
  X(kMode, "mode")              \
  X(kRanks, "ranks")            \
  X(kMeshAxis, "mesh_axis")     \
  X(kOrder, "order")            \
  X(kPatch, "patch")            \
  X(kKh, "kh")                  \
  X(kKw, "kw")                  \
  X(kStride, "stride")          \
  X(kPad, "pad")                \
  X(kSize, "size")              \
  X(kAxes, "axes")

enum class AttributeKey : u16 {
#define TG_ATTRIBUTE_ENUM(id, name) id,
  TG_ATTRIBUTE_KEYS(TG_ATTRIBUTE_ENUM)
#undef TG_ATTRIBUTE_ENUM
      kCountKeys
};

// Values of enumerated attributes; the words are the encoding.
enum class Accumulate : u32 { kF32, kI32, kF16Chunked };
enum class ActivationQuant : u32 {
  kNone,
  kInt8Block32,
  kInt8Token,
  kFp8Block128,
  kMxfp4,
  kBf16,
  kCount
};
enum class ComputeClass : u32 { kByWeight, kF32, kF16, kFp8, kInt8, k4Bit };
enum class Activation : u32 {
  kSilu,
  kGeluTanh,
  kGeluErf,
  kRelu,
  kRelu2,
  kSigmoid,
  kTanh,
  kSoftplus,
  kSoftcap,
  kSwigluOai
};
enum class RopeStyle : u32 { kNeox, kGptj, kMrope };
enum class Mask : u32 { kCausal, kFull, kTree };
enum class Reduction : u32 { kSum, kMean, kMax, kArgmax, kSoftmax };
enum class NormCast : u32 { kAfterWeight, kBeforeWeight };
enum class RouteScore : u32 { kSoftmax, kSigmoid, kSqrtSoftplus, kSoftmaxTopk };
enum class GroupScore : u32 { kMax, kTop2 };
enum class Pooling : u32 { kLast, kCls, kMean, kMax };
enum class ScanRule : u32 { kGdn, kKda, kGla, kMamba2, kRwkv7 };
enum class VerifyMode : u32 { kExact, kRejection };
enum class ReduceOrder : u32 { kAny, kFixed };

// What may stand in an operand's place; a mask.
enum Accepts : u8 {
  kAcceptTensor = 1,
  kAcceptWeight = 2,
  kAcceptConst = 4,
  kAcceptKv = 8,
  kAcceptBatch = 16,
  kAcceptParams = 32,
  kAcceptPerm = 64,
  kAcceptState = 128,
};

struct OperandRule {
  std::string_view name;
  u8 accepts = 0;
};

// kInteger: an unsigned word; kReal: f32 bits, finite; kName: one of value_names(key); kCode: a
// postfix program of `ew` (ew.h).
enum class AttributeType : u8 { kInteger, kReal, kName, kCode };

struct AttributeRule {
  AttributeKey key{};
  AttributeType type = AttributeType::kInteger;
  bool required = false;
  bool cyclic = false;  // may be a table cyc(...), indexed by the loop's index
  bool list = false;    // kInteger: (a,b,...), as many words as its op wants
  u32 fallback = 0;     // the value when left out
  u32 min = 0;          // kInteger
  u32 max = 0;          // kInteger
  u32 legal = ~0u;      // kName: a bit per legal word
};

// One row of the table. An op takes operands_min..operands_max operands; past the end of `operands`
// the last rule repeats.
struct OpInfo {
  Opcode op{};
  std::string_view name;
  Profile profile{};
  u8 version = 1;
  std::string_view synopsis;
  std::span<const OperandRule> operands;
  u8 operands_min = 0;
  u8 operands_max = 0;
  u8 results_min = 1;
  u8 results_max = 1;
  std::span<const AttributeRule> attributes;  // sorted by key
};

// REQUIRES: op < Opcode::kCount.
const OpInfo& info(Opcode op);
// nullptr if the op has no such attribute.
const AttributeRule* find_attribute(const OpInfo& op, AttributeKey key);
// REQUIRES: i < operands_max.
const OperandRule& operand_rule(const OpInfo& op, std::size_t i);

// The words of an enumerated attribute by name, in order; empty for keys that are not kName.
std::span<const std::string_view> value_names(AttributeKey key);

// The minor version of ISA 1 that brought a word of an enumerated attribute.
u16 minor_of(AttributeKey key, u32 word);

std::string_view name(Opcode op);
std::string_view name(AttributeKey key);
std::string_view name(Profile profile);
std::optional<Opcode> opcode_by_name(std::string_view name);
std::optional<AttributeKey> attribute_by_name(std::string_view name);
std::optional<Profile> profile_by_name(std::string_view name);

}  // namespace tg::isa
