#include "isa/verify/type_rules.h"

#include "isa/expression.h"

namespace tg::isa {

bool is_constant(const Dim& dim) {
  return dim.t == 0 && dim.s == 0 && dim.r == 0;
}

Dim constant(i64 value) {
  return Dim{.constant = value};
}

const Dim& last(const Type& type) {
  return type.dims.back();
}

// The type without its last dimension.
std::vector<Dim> leading(const Type& type) {
  return {type.dims.begin(), type.dims.end() - 1};
}

std::string dims_text(const std::vector<Dim>& dims) {
  std::string out = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) out += (i > 0 ? "," : "") + to_text(dims[i]);
  return out + "]";
}

Status need_dims(const OpView& op, std::string_view what, const Type& type,
                 const std::vector<Dim>& dims) {
  if (type.dims != dims)
    return op.broken(
        "V5", std::string(what) + " is " + dims_text(type.dims) + ", expected " + dims_text(dims));
  return {};
}

Status need_float(const OpView& op, std::string_view what, const Type& type) {
  if (!is_float(type.dtype))
    return op.broken("V4", std::string(what) + " is " + std::string(info(type.dtype).name) +
                               ", not f32, f16 or bf16");
  return {};
}

Status need_dtype(const OpView& op, std::string_view what, const Type& type, DType dtype) {
  if (type.dtype != dtype)
    return op.broken("V4", std::string(what) + " is " + std::string(info(type.dtype).name) +
                               ", not " + std::string(info(dtype).name));
  return {};
}

Status need_rank(const OpView& op, std::string_view what, const Type& type, std::size_t rank) {
  if (type.dims.size() != rank)
    return op.broken("V5", std::string(what) + " has rank " + std::to_string(type.dims.size()) +
                               ", expected " + std::to_string(rank));
  return {};
}

Status need_min_rank(const OpView& op, std::string_view what, const Type& type, std::size_t rank) {
  if (type.dims.size() < rank)
    return op.broken("V5", std::string(what) + " has rank " + std::to_string(type.dims.size()) +
                               ", expected at least " + std::to_string(rank));
  return {};
}

// x and the result are activations of one shape.
Status same_shape(const OpView& op) {
  TG_TRY(need_float(op, "x", op.in(0)));
  TG_TRY(need_float(op, "result", op.out(0)));
  return need_dims(op, "result", op.out(0), op.in(0).dims);
}

// An operand of the result's shape, or one row of it that is used for every row.
Status shape_or_row(const OpView& op, std::size_t i) {
  const Type type = op.in(i);
  TG_TRY(need_float(op, op.operand_label(i), type));
  bool is_row = type.dims.size() == 1 && type.dims[0] == last(op.out(0));
  if (is_row) return {};
  return need_dims(op, op.operand_label(i), type, op.out(0).dims);
}

static ComputeClass derived_class(const OpView& op) {
  switch (static_cast<ActivationQuant>(op.word(AttributeKey::kXq))) {
    case ActivationQuant::kInt8Block32:
    case ActivationQuant::kInt8Token: return ComputeClass::kInt8;
    case ActivationQuant::kFp8Block128: return ComputeClass::kFp8;
    case ActivationQuant::kMxfp4: return ComputeClass::k4Bit;
    case ActivationQuant::kBf16:
    case ActivationQuant::kNone:
    case ActivationQuant::kCount: break;
  }
  return op.in(1).dtype == DType::kF32 ? ComputeClass::kF32 : ComputeClass::kF16;
}

// The blocks in which activations are quantised divide a row.
static Status activation_blocks(const OpView& op, i64 k) {
  ActivationQuant xq = static_cast<ActivationQuant>(op.word(AttributeKey::kXq));
  i64 block = xq == ActivationQuant::kInt8Block32 || xq == ActivationQuant::kMxfp4 ? 32
              : xq == ActivationQuant::kFp8Block128                                ? 128
                                                                                   : 1;
  if (k % block != 0)
    return op.broken("V7", "K=" + std::to_string(k) + " is not a multiple of xq's block of " +
                               std::to_string(block));
  bool int8 = xq == ActivationQuant::kInt8Block32 || xq == ActivationQuant::kInt8Token;
  if (op.word(AttributeKey::kAcc) == static_cast<u32>(Accumulate::kI32) && !int8)
    return op.broken("V12", "acc=i32 needs xq=i8/32 or i8/tok");
  return {};
}

Status product_attributes(const OpView& op, i64 k) {
  ComputeClass cls = static_cast<ComputeClass>(op.word(AttributeKey::kCls));
  if (cls != ComputeClass::kByWeight && cls != derived_class(op))
    return op.broken("V4", "cls contradicts the weight's codec and xq");
  return activation_blocks(op, k);
}

}  // namespace tg::isa
