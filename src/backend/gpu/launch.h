// What a program becomes on a GPU: a flat list of kernel launches whose arguments are places in
// arenas and numbers, all known when the program is planned. Only sizes differ from step to step,
// and kernels read those from device memory, so that a recorded list can be replayed. OpenCL and
// CUDA differ in how they compile a unit and enqueue a launch; nothing else of an op is theirs.
#pragma once

#include <bit>
#include <compare>
#include <string>
#include <vector>

#include "base/types.h"
#include "isa/program.h"

namespace tg::backend::gpu {

inline constexpr i64 kGroupItems = 64;      // WG of the kernels
inline constexpr i64 kGroupElements = 256;  // of an elementwise kernel

// Kernels are compiled in units, each from some of the files in kernels/.
enum class Unit : u8 { kPlain, kExact, kLinear, kCache, kAttention };

// id, name, unit
#define TG_GPU_KERNELS(X)                            \
  X(kCopy, "tg_copy", kPlain)                        \
  X(kPermute, "tg_permute", kPlain)                  \
  X(kEmbed, "tg_embed", kPlain)                      \
  X(kBinary, "tg_binary", kPlain)                    \
  X(kAct, "tg_act", kPlain)                          \
  X(kGlu, "tg_glu", kPlain)                          \
  X(kEw, "tg_ew", kPlain)                            \
  X(kRmsNorm, "tg_rms_norm", kPlain)                 \
  X(kLayerNorm, "tg_layer_norm", kPlain)             \
  X(kReduce, "tg_reduce", kPlain)                    \
  X(kRopeTable, "tg_rope_table", kPlain)             \
  X(kRope, "tg_rope", kPlain)                        \
  X(kQuantize, "tg_quantize", kPlain)                \
  X(kBmm, "tg_bmm", kPlain)                          \
  X(kBmmTransposed, "tg_bmm_transposed", kPlain)     \
  X(kCombine, "tg_combine", kPlain)                  \
  X(kLinearFew, "tg_linear_few", kLinear)            \
  X(kLinearTile, "tg_linear_tile", kLinear)          \
  X(kKvAppend, "tg_kv_append", kCache)               \
  X(kAttention, "tg_attention", kAttention)          \
  X(kAttentionTile, "tg_attention_tile", kAttention) \
  X(kAttentionJoin, "tg_attention_join", kAttention) \
  X(kRoute, "tg_route", kExact)                      \
  X(kOrder, "tg_order", kExact)                      \
  X(kLogits, "tg_logits", kExact)                    \
  X(kSample, "tg_sample", kExact)

enum class Kernel : u8 {
#define TG_GPU_KERNEL_ENUM(id, name, unit) id,
  TG_GPU_KERNELS(TG_GPU_KERNEL_ENUM)
#undef TG_GPU_KERNEL_ENUM
      kCount
};

const char* name(Kernel kernel);
Unit unit(Kernel kernel);

// A unit with its compile-time constants: the weight's codec, and whether x is int8 codes; the
// cache's format, room for a head's channels.
struct Variant {
  Unit unit = Unit::kPlain;
  i32 codec = 0;
  bool int_codes = false;
  i32 format = 0, head = 0;
  friend auto operator<=>(const Variant&, const Variant&) = default;
};

// "-DCODEC=18", as compilers of both kinds take them; empty for units without constants.
std::string definitions(const Variant& variant);

// kStep: the sizes {T, S, R} in device memory. kWeight and kKv are resolved when addresses are
// known.
enum class ArgKind : u8 {
  kStep,
  kWeight,
  kKv,
  kParams,
  kActivations,
  kWorkspace,
  kOutput,
  kTables,
  kParamIndex,
  kInt,
  kLong,
  kFloat
};

// Arrays of the parameter block, whose offsets the bindings say: `symbol` of a kParams or, as an
// index of words into the block, of a kParamIndex. kParamBlock is its start.
enum : u32 {
  kParamBlock,
  kParamIds,
  kParamPositions,
  kParamRows,
  kParamCu,
  kParamPast,
  kParamPageBegin,
  kParamPages,
  kParamSlots,
  kParamTree,
  kParamSamples,
  kParamLists
};

struct Arg {
  ArgKind kind = ArgKind::kInt;
  u32 symbol = 0, layer = 0;  // kWeight, kKv
  u64 value = 0;              // a byte offset, or the number (the bits of a float)

  // Passed as a base pointer and a byte offset.
  bool is_place() const { return kind > ArgKind::kStep && kind < ArgKind::kParamIndex; }
};

struct StepSizes {
  i64 tokens = 0, sequences = 0, rows = 0, context = 0;
};

// New tokens of a sequence, on average.
constexpr i64 fresh_of(const StepSizes& step) {
  return step.sequences > 0 ? step.tokens / step.sequences : 0;
}

using Size = isa::Dim;
constexpr i64 evaluate(const Size& size, const StepSizes& step) {
  return size.constant + size.t * step.tokens + size.s * step.sequences + size.r * step.rows;
}

// Work-groups along one axis: size / each, rounded up.
struct Extent {
  Size size = {.constant = 1};
  i64 each = 1;

  i64 groups(const StepSizes& step) const { return (evaluate(size, step) + each - 1) / each; }
};

// In which steps a launch takes place, all bounds included.
struct When {
  Size size;
  i64 size_min = 0, size_max = i64{1} << 60;
  i64 fresh_min = 0, fresh_max = i64{1} << 60;
  i64 context_min = 0, context_max = i64{1} << 60;

  bool holds(const StepSizes& step) const {
    i64 n = evaluate(size, step);
    i64 fresh = fresh_of(step);
    return n >= size_min && n <= size_max && fresh >= fresh_min && fresh <= fresh_max &&
           step.context >= context_min && step.context <= context_max;
  }
};

struct Launch {
  Kernel kernel{};
  Variant variant;
  std::vector<Arg> args;
  Extent grid[3];
  When when;
};

}  // namespace tg::backend::gpu
