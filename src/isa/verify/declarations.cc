// V2, V4, V6, V7, V9, V18: what a program declares before its code.
#include <set>
#include <string>

#include "base/checked.h"
#include "isa/codec.h"
#include "isa/expression.h"
#include "isa/limits.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

static Status check_version(const Program& program) {
  if (program.isa_major != kIsaMajor || program.isa_minor > kIsaMinor)
    return broken("V2", "ISA version " + std::to_string(program.isa_major) + "." +
                            std::to_string(program.isa_minor) + " is newer than 1.1");
  for (u32 i = 0; i < 32; ++i) {
    if ((program.profiles >> i & 1) != 0 && i >= static_cast<u32>(Profile::kCount))
      return broken("V18", "profile " + std::to_string(i) + " is unknown");
  }
  if ((program.profiles & 1u << static_cast<u32>(Profile::kText)) == 0)
    return broken("V18", "profile TEXT is missing");
  return {};
}

// Elements of one tensor, or an error if a dimension or the product is out of range.
static Result<i64> elements(const std::string& label, std::span<const i64> dims) {
  if (dims.empty() || static_cast<i64>(dims.size()) > kRankMax)
    return broken("V6", label + ": rank " + std::to_string(dims.size()) + " is not in 1.." +
                            std::to_string(kRankMax));
  i64 product = 1;
  for (i64 dim : dims) {
    if (dim < 1 || dim > kDimMax)
      return broken("V6", label + ": dimension " + std::to_string(dim) + " is not in 1.." +
                              std::to_string(kDimMax));
    if (product > kElementsMax / dim)
      return broken("M6", label + ": more than " + std::to_string(kElementsMax) + " elements");
    product *= dim;
  }
  return product;
}

static Status check_weight(const WeightDecl& w) {
  std::string label = "weight $" + w.name;
  TG_TRY(elements(label, w.dims));
  if (w.layers > kLayersMax)
    return broken("V6", label + ": " + std::to_string(w.layers) + " layers, at most " +
                            std::to_string(kLayersMax));
  if (w.codec >= DType::kCount || !is_weight_codec(w.codec))
    return broken("V4", label + ": " +
                            (w.codec < DType::kCount ? std::string(info(w.codec).name)
                                                     : std::to_string(static_cast<int>(w.codec))) +
                            " is not a weight codec of this version");
  i64 block = info(w.codec).block_elements;
  if (w.dims.back() % block != 0)
    return broken("V7", label + ": " + std::to_string(w.dims.back()) +
                            " columns are not a multiple of " + std::string(info(w.codec).name) +
                            "'s block of " + std::to_string(block));
  return {};
}

static Status check_kv_field(const KvDecl& kv, std::string_view field, u32 value, i64 max) {
  if (value < 1 || value > max)
    return broken("V9", "kv $" + kv.name + ": " + std::string(field) + " " + std::to_string(value) +
                            " is not in 1.." + std::to_string(max));
  return {};
}

static Error kv_error(const KvDecl& kv, std::string message) {
  return broken("V9", (kv.is_state ? "state $" : "kv $") + kv.name + ": " + std::move(message));
}

static Status check_state_decl(const KvDecl& kv) {
  if (kv.page_tokens != 0 || kv.latent != 0) return kv_error(kv, "a state has no pages");
  TG_TRY(check_kv_field(kv, "dv", kv.dv, 65'536));
  if (kv.format >= DType::kCount || !is_float(kv.format))
    return kv_error(kv, "format is not f32, f16 or bf16");
  if (i64{kv.heads} * kv.dk > kDimMax / kv.dv) return kv_error(kv, "a block is too large");
  return {};
}

static bool is_cache_format(DType format) {
  return is_float(format) || format == DType::kE4m3 || format == DType::kQ8_0 ||
         format == DType::kQ4_0;
}

// Keys only, of one head whose first channels may double as the value.
static Status check_latent(const KvDecl& kv) {
  if (kv.latent > 0 && (kv.dv != 0 || kv.heads != 1 || kv.latent > kv.dk))
    return kv_error(kv, "latent " + std::to_string(kv.latent) +
                            " needs heads=1, dv=0 and at least as large a dk");
  return {};
}

static Status check_kv_decl(const KvDecl& kv) {
  TG_TRY(check_kv_field(kv, "layers", kv.layers, kLayersMax));
  TG_TRY(check_kv_field(kv, "heads", kv.heads, kHeadsMax));
  TG_TRY(check_kv_field(kv, "dk", kv.dk, 65'536));
  if (kv.is_state) return check_state_decl(kv);
  if (kv.dv > 0) TG_TRY(check_kv_field(kv, "dv", kv.dv, 65'536));
  TG_TRY(check_kv_field(kv, "page", kv.page_tokens, kPageTokensMax));
  if (i64{kv.heads} * std::max(kv.dk, kv.dv) > kDimMax)
    return kv_error(kv, "a row of heads is too wide");
  if (kv.format >= DType::kCount || !is_cache_format(kv.format))
    return kv_error(kv, "format is not f32, f16, bf16, e4m3, q8_0 or q4_0");
  i64 block = info(kv.format).block_elements;
  for (u32 width : {kv.dk, kv.dv, kv.latent}) {
    if (width % block != 0)
      return kv_error(kv, std::to_string(width) + " channels are not a multiple of " +
                              std::string(info(kv.format).name) + "'s block of " +
                              std::to_string(block));
  }
  return check_latent(kv);
}

static Status check_constant(const ConstDecl& c) {
  std::string label = "constant $" + c.name;
  if (c.dtype != DType::kF32 && c.dtype != DType::kI32)
    return broken("V4", label + ": a constant is f32 or i32");
  TG_ASSIGN(i64 count, elements(label, c.dims));
  if (static_cast<u64>(count) * 4 != c.bytes.size())
    return broken("V6", label + ": " + std::to_string(c.bytes.size() / 4) + " values for " +
                            shape_text(c.dims));
  return {};
}

static Status check_unique(const Program& program) {
  std::set<std::string_view> names;
  const std::string* twice = nullptr;
  auto add = [&](const std::string& name) {
    if (!names.insert(name).second) twice = &name;
  };
  for (const WeightDecl& w : program.weights) add(w.name);
  for (const KvDecl& kv : program.kv) add(kv.name);
  for (const ConstDecl& c : program.constants) add(c.name);
  if (twice != nullptr) return broken("V6", "$" + *twice + " is declared twice");
  return {};
}

Status check_declarations(const Program& program) {
  TG_TRY(check_version(program));
  TG_TRY(check_unique(program));
  for (const WeightDecl& w : program.weights) TG_TRY(check_weight(w));
  const KvDecl* first = nullptr;
  for (const KvDecl& kv : program.kv) {
    TG_TRY(check_kv_decl(kv));
    if (kv.is_state) continue;
    // A step has one page table and one slot per token, whatever the number of caches.
    if (first != nullptr && kv.page_tokens != first->page_tokens)
      return broken("V9", "kv $" + kv.name + ": page " + std::to_string(kv.page_tokens) +
                              " differs from $" + first->name + "'s");
    first = &kv;
  }
  for (const ConstDecl& c : program.constants) TG_TRY(check_constant(c));
  return {};
}

}  // namespace tg::isa
