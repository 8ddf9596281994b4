#include "isa/verify/op_view.h"

#include <bit>

#include "base/assert.h"

namespace tg::isa {

std::span<const u32> attribute_words(Opcode op, std::span<const Attribute> attributes,
                                     AttributeKey key) {
  for (const Attribute& attribute : attributes) {
    if (attribute.key == key) return attribute.words;
  }
  const AttributeRule* rule = find_attribute(info(op), key);
  TG_ASSERT(rule != nullptr);
  return {&rule->fallback, 1};
}

Error broken(std::string_view rule, std::string message) {
  return Error{Code::kInvalid, std::string(rule) + ": " + std::move(message)};
}

static Type constant_type(DType dtype, std::span<const i64> dims) {
  Type type{.dtype = dtype};
  for (i64 dim : dims) type.dims.push_back(Dim{.constant = dim});
  return type;
}

Type type_of(const WeightDecl& weight) {
  return constant_type(weight.codec, weight.dims);
}
Type type_of(const ConstDecl& constant) {
  return constant_type(constant.dtype, constant.dims);
}

bool is_float(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBf16;
}

std::string value_label(const Function& function, u32 id) {
  bool named = id < function.value_names.size() && !function.value_names[id].empty();
  return "%" + (named ? function.value_names[id] : std::to_string(id));
}

const Operand& OpView::operand(std::size_t i) const {
  TG_ASSERT(has(i));
  return instruction_.in[i];
}

Type OpView::in(std::size_t i) const {
  const Operand& o = operand(i);
  TG_ASSERT(o.kind != OperandKind::kKv);
  if (o.kind == OperandKind::kWeight) return type_of(program_.weights[o.index]);
  if (o.kind == OperandKind::kConst) return type_of(program_.constants[o.index]);
  return function_.value_types[o.index];
}

const Type& OpView::out(std::size_t i) const {
  TG_ASSERT(i < instruction_.out.size());
  return function_.value_types[instruction_.out[i]];
}

const KvDecl& OpView::kv(std::size_t i) const {
  TG_ASSERT(operand(i).kind == OperandKind::kKv);
  return program_.kv[operand(i).index];
}

std::span<const u32> OpView::words(AttributeKey key) const {
  return attribute_words(instruction_.op, instruction_.attributes, key);
}

f32 OpView::real(AttributeKey key) const {
  return std::bit_cast<f32>(word(key));
}

std::string OpView::operand_label(std::size_t i) const {
  const Operand& o = operand(i);
  switch (o.kind) {
    case OperandKind::kWeight: return "$" + program_.weights[o.index].name;
    case OperandKind::kConst: return "$" + program_.constants[o.index].name;
    case OperandKind::kKv: return "$" + program_.kv[o.index].name;
    case OperandKind::kValue: break;
  }
  return value_label(function_, o.index);
}

std::string OpView::label() const {
  std::string out(name(instruction_.op));
  if (!instruction_.out.empty()) return out + " " + value_label(function_, instruction_.out[0]);
  if (!instruction_.in.empty()) return out + " " + operand_label(0);
  return out;
}

Error OpView::broken(std::string_view rule, std::string message) const {
  return isa::broken(rule, label() + ": " + std::move(message));
}

}  // namespace tg::isa
