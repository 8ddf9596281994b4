// One instruction seen with its program: operand and result types, attribute values with defaults,
// and names for messages. What typing, costing and memory rules read.
#pragma once

#include <string>

#include "isa/program.h"

namespace tg::isa {

// The attribute's words, or its default. REQUIRES: the op has that attribute.
std::span<const u32> attribute_words(Opcode op, std::span<const Attribute> attributes,
                                     AttributeKey key);

// "V7: message", kInvalid. Rules name themselves in what they say.
Error broken(std::string_view rule, std::string message);

class OpView {
 public:
  // All must outlive the view. REQUIRES: operand indices are in range (V3).
  OpView(const Program& program, const Function& function, const Instruction& instruction)
      : program_(program), function_(function), instruction_(instruction) {}

  const Program& program() const { return program_; }
  const Instruction& instruction() const { return instruction_; }
  Opcode op() const { return instruction_.op; }
  std::size_t operands() const { return instruction_.in.size(); }
  bool has(std::size_t i) const { return i < instruction_.in.size(); }
  const Operand& operand(std::size_t i) const;
  // A value's type; a weight's or constant's as constant dimensions. REQUIRES: not a kv operand.
  Type in(std::size_t i) const;
  const Type& out(std::size_t i) const;
  // REQUIRES: operand i is a kv operand.
  const KvDecl& kv(std::size_t i) const;
  bool is_weight(std::size_t i) const { return operand(i).kind == OperandKind::kWeight; }

  std::span<const u32> words(AttributeKey key) const;
  // The first word: all of it for attributes that are not cyclic.
  u32 word(AttributeKey key) const { return words(key)[0]; }
  f32 real(AttributeKey key) const;

  // "linear %q", for messages.
  std::string label() const;
  // "$wq", "%x", "$kv" of operand i.
  std::string operand_label(std::size_t i) const;
  // "V7: linear %q: message".
  Error broken(std::string_view rule, std::string message) const;

 private:
  const Program& program_;
  const Function& function_;
  const Instruction& instruction_;
};

// "%name", or "%12" where the program carries no names.
std::string value_label(const Function& function, u32 id);
Type type_of(const WeightDecl& weight);
Type type_of(const ConstDecl& constant);

bool is_float(DType type);  // f32, f16, bf16: what activations are made of

}  // namespace tg::isa
