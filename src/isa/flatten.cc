// A function unrolled: loops gone, layers resolved, cycles picked. The carried value of each turn
// is the value the last turn yielded, so a loop copies nothing.
#include <bit>

#include "base/assert.h"
#include "isa/program.h"
#include "isa/verify/op_view.h"

namespace tg::isa {

u32 FlatInstruction::word(AttributeKey key) const {
  return attribute_words(op, attributes, key)[0];
}

f32 FlatInstruction::real(AttributeKey key) const {
  return std::bit_cast<f32>(word(key));
}

namespace {

class Flattener {
 public:
  explicit Flattener(const Function& function)
      : function_(function), names_(function.value_types.size(), 0) {}

  FlatProgram run() {
    flat_.function = function_.name;
    for (u32 id : function_.parameters) flat_.parameters.push_back(define(id));
    std::size_t at = 0;
    while (at < function_.body.size()) {
      if (function_.body[at].op == Opcode::kRepeat) {
        at = loop(at);
      } else {
        emit(function_.body[at++], 0);
      }
    }
    for (u32 id : function_.results) flat_.results.push_back(names_[id]);
    return std::move(flat_);
  }

 private:
  u32 define(u32 id) {
    names_[id] = static_cast<u32>(flat_.values.size());
    flat_.values.push_back(function_.value_types[id]);
    return names_[id];
  }

  void rename(std::span<const Operand> from, std::span<const u32> to) {
    std::vector<u32> values;
    for (const Operand& o : from) values.push_back(names_[o.index]);
    for (std::size_t i = 0; i < to.size(); ++i) names_[to[i]] = values[i];
  }

  // Returns the position after the loop's yield.
  std::size_t loop(std::size_t at) {
    const Instruction& repeat = function_.body[at];
    u32 count = attribute_words(repeat.op, repeat.attributes, AttributeKey::kCount)[0];
    std::size_t end = at;
    while (function_.body[end].op != Opcode::kYield) ++end;
    const Instruction& yield = function_.body[end];
    rename(repeat.in, repeat.out);
    for (u32 turn = 0; turn < count; ++turn) {
      for (std::size_t i = at + 1; i < end; ++i) emit(function_.body[i], turn);
      rename(yield.in, repeat.out);
    }
    for (std::size_t i = 0; i < yield.out.size(); ++i) names_[yield.out[i]] = names_[repeat.out[i]];
    return end + 1;
  }

  void emit(const Instruction& from, u32 turn) {
    FlatInstruction to{.op = from.op};
    for (const Operand& o : from.in) {
      u32 index = o.kind == OperandKind::kValue ? names_[o.index] : o.index;
      u32 layer = o.layer + (o.mode == LayerMode::kLoop ? turn : 0);
      to.in.push_back({.kind = o.kind, .index = index, .layer = layer});
    }
    for (const Attribute& a : from.attributes) {
      const AttributeRule* rule = find_attribute(info(from.op), a.key);
      TG_ASSERT(rule != nullptr);
      to.attributes.push_back(a);
      if (rule->cyclic) to.attributes.back().words = {a.words[turn % a.words.size()]};
    }
    for (u32 id : from.out) to.out.push_back(define(id));
    flat_.code.push_back(std::move(to));
  }

  const Function& function_;
  std::vector<u32> names_;  // flat value of each value, now
  FlatProgram flat_;
};

}  // namespace

Result<FlatProgram> VerifiedProgram::flatten(std::string_view function) const {
  for (const Function& f : program_.functions) {
    if (f.name == function) return Flattener(f).run();
  }
  return Error{Code::kNotFound, "the program has no function " + std::string(function)};
}

}  // namespace tg::isa
