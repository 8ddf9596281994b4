// For the structure-aware fuzz target: bytes as a list of changes to a Program. Eight bytes are one
// change: what, where, and with which number. Most give programs that are nearly right, which is
// where a verifier errs.
#pragma once

#include <array>
#include <span>

#include "isa/program.h"

namespace tg::isa {

class ProgramShuffle {
 public:
  ProgramShuffle(Program& program, std::span<const u8> script)
      : program_(program), script_(script) {}

  void run() {
    for (std::size_t at = 0; at + 8 <= script_.size(); at += 8) {
      step_ = script_.subspan(at, 8);
      function_ = &program_.functions[step_[1] % program_.functions.size()];
      if (function_->body.empty()) return;
      change();
    }
  }

 private:
  static constexpr u8 kChanges = 22;

  u32 number() const {
    return u32{step_[4]} | u32{step_[5]} << 8 | u32{step_[6]} << 16 | u32{step_[7]} << 24;
  }
  std::size_t place(std::size_t size) const { return (step_[2] | step_[3] << 8) % size; }
  Instruction& instruction() { return function_->body[place(function_->body.size())]; }
  Type& type() { return function_->value_types[place(function_->value_types.size())]; }
  template <typename T>
  T& any_of(std::vector<T>& list) {
    return list[number() % list.size()];
  }

  // Numbers that matter: small ones, powers of two, the largest.
  i64 value() const {
    u32 n = number();
    switch (n & 3) {
      case 0: return n >> 8 & 0xFF;
      case 1: return i64{1} << (n >> 8 & 31);
      case 2: return (i64{1} << (n >> 8 & 31)) - 1;
      default: return n >> 2;
    }
  }

  void change() {
    switch (step_[0] % kChanges) {
      case 0: return swap_operands();
      case 1: return point_operand();
      case 2:
        instruction().op = static_cast<Opcode>(number() % static_cast<u32>(Opcode::kCount));
        return;
      case 3: return set_dimension();
      case 4: type().dims = any_of(function_->value_types).dims; return;
      case 5: type() = any_of(function_->value_types); return;
      case 6: return set_attribute();
      case 7: return add_attribute();
      case 8: return erase_attribute();
      case 9: return duplicate();
      case 10: return erase();
      case 11: return swap_instructions();
      case 12: return change_weight();
      case 13: return change_memory();
      case 14: return change_bounds();
      case 15: program_.profiles ^= 1u << (number() % 9); return;
      case 16: return resize_operands();
      case 17:
        type().dtype = static_cast<DType>(number() % static_cast<u32>(DType::kCount));
        return;
      case 18: return cycle_attribute();
      case 19: return change_results();
      case 20: return change_layer();
      default: return nearby_dimension();
    }
  }

  void swap_operands() {
    std::vector<Operand>& in = instruction().in;
    if (!in.empty()) std::swap(in[step_[4] % in.size()], in[step_[5] % in.size()]);
  }

  void point_operand() {
    std::vector<Operand>& in = instruction().in;
    if (in.empty()) return;
    Operand& o = in[step_[4] % in.size()];
    std::size_t size = o.kind == OperandKind::kValue    ? function_->value_types.size()
                       : o.kind == OperandKind::kWeight ? program_.weights.size()
                       : o.kind == OperandKind::kKv     ? program_.kv.size()
                                                        : program_.constants.size();
    if (step_[7] == 255) o.kind = static_cast<OperandKind>(step_[6] & 3);
    if (size > 0) o.index = (step_[5] | u32{step_[6]} << 8) % static_cast<u32>(size + 1);
  }

  void set_dimension() {
    std::vector<Dim>& dims = type().dims;
    if (dims.empty()) return;
    Dim& dim = dims[step_[4] % dims.size()];
    if (step_[5] % 4 == 0) dim = Dim{.t = step_[6] % 4, .s = step_[7] % 2};
    if (step_[5] % 4 == 1) dim = Dim{.constant = step_[6], .r = step_[7] % 3};
    if (step_[5] % 4 > 1) dim.constant = value();
  }

  void nearby_dimension() {
    std::vector<Dim>& dims = type().dims;
    if (!dims.empty())
      dims[step_[4] % dims.size()].constant += (step_[5] % 2 == 0 ? 1 : -1) * (1 << step_[6] % 8);
  }

  void set_attribute() {
    std::vector<Attribute>& attributes = instruction().attributes;
    if (attributes.empty()) return;
    std::vector<u32>& words = attributes[step_[4] % attributes.size()].words;
    if (!words.empty())
      words[step_[5] % words.size()] = step_[7] == 0 ? step_[6] : static_cast<u32>(value());
  }

  void add_attribute() {
    Instruction& i = instruction();
    std::span<const AttributeRule> rules = info(i.op).attributes;
    if (rules.empty()) return;
    const AttributeRule& rule = rules[step_[4] % rules.size()];
    std::erase_if(i.attributes, [&](const Attribute& a) { return a.key == rule.key; });
    std::vector<Attribute>::iterator at = i.attributes.begin();
    while (at != i.attributes.end() && at->key < rule.key) ++at;
    u32 word = rule.type == AttributeType::kReal ? u32{step_[5]} << 23 : step_[5];
    i.attributes.insert(at, {rule.key, {word}});
  }

  void erase_attribute() {
    std::vector<Attribute>& attributes = instruction().attributes;
    if (!attributes.empty())
      attributes.erase(attributes.begin() + static_cast<i64>(step_[4] % attributes.size()));
  }

  void cycle_attribute() {
    std::vector<Attribute>& attributes = instruction().attributes;
    if (attributes.empty()) return;
    attributes[step_[4] % attributes.size()].words.push_back(step_[5]);
  }

  // Every value from `first` on is named `by` higher (or lower).
  void renumber(u32 first, i64 by) {
    auto shift = [&](u32& id) {
      if (id >= first) id = static_cast<u32>(id + by);
    };
    for (Instruction& i : function_->body) {
      for (u32& id : i.out) shift(id);
      for (Operand& o : i.in) {
        if (o.kind == OperandKind::kValue) shift(o.index);
      }
    }
    for (u32& id : function_->results) shift(id);
  }

  // A second one beside it, with results of its own that sometimes take the first's place.
  void duplicate() {
    std::size_t at = place(function_->body.size());
    Instruction copy = function_->body[at];
    if (copy.out.empty()) {
      function_->body.insert(function_->body.begin() + static_cast<i64>(at), copy);
      return;
    }
    u32 first = copy.out[0];
    u32 count = static_cast<u32>(copy.out.size());
    if (first + count > function_->value_types.size()) return;
    function_->value_names.clear();
    renumber(first, count);
    std::vector<Type> types(function_->value_types.begin() + first,
                            function_->value_types.begin() + first + count);
    function_->value_types.insert(function_->value_types.begin() + first, types.begin(),
                                  types.end());
    function_->body.insert(function_->body.begin() + static_cast<i64>(at), copy);
    if (step_[4] % 2 == 0) return;
    for (std::size_t i = at + 2; i < function_->body.size(); ++i) {
      for (Operand& o : function_->body[i].in) {
        if (o.kind == OperandKind::kValue && o.index == first + count) o.index = first;
      }
    }
  }

  // Its results are replaced by its first value operand where they are used.
  void erase() {
    std::size_t at = place(function_->body.size());
    Instruction gone = function_->body[at];
    function_->body.erase(function_->body.begin() + static_cast<i64>(at));
    if (gone.out.empty() || gone.out.back() >= function_->value_types.size()) return;
    u32 first = gone.out[0];
    u32 count = static_cast<u32>(gone.out.size());
    u32 other = first > 0 ? first - 1 : 0;
    for (const Operand& o : gone.in) {
      if (o.kind == OperandKind::kValue && o.index < first) other = o.index;
    }
    for (Instruction& i : function_->body) {
      for (Operand& o : i.in) {
        if (o.kind == OperandKind::kValue && o.index >= first && o.index < first + count)
          o.index = other;
      }
    }
    for (u32& id : function_->results) {
      if (id >= first && id < first + count) id = other;
    }
    function_->value_names.clear();
    function_->value_types.erase(function_->value_types.begin() + first,
                                 function_->value_types.begin() + first + count);
    renumber(first + count, -static_cast<i64>(count));
  }

  void swap_instructions() {
    std::size_t at = place(function_->body.size());
    if (at + 1 < function_->body.size()) std::swap(function_->body[at], function_->body[at + 1]);
  }

  void change_weight() {
    if (program_.weights.empty()) return;
    WeightDecl& w = program_.weights[place(program_.weights.size())];
    switch (step_[4] % 4) {
      case 0: w.codec = static_cast<DType>(step_[5] % static_cast<u8>(DType::kCount)); return;
      case 1: w.dims[step_[5] % w.dims.size()] = value(); return;
      case 2: w.layers = step_[5] % 8; return;
      default: w.dims = any_of(program_.weights).dims; return;
    }
  }

  void change_memory() {
    if (program_.kv.empty()) return;
    KvDecl& kv = program_.kv[place(program_.kv.size())];
    u32* fields[] = {&kv.layers, &kv.heads, &kv.dk, &kv.dv, &kv.page_tokens, &kv.latent};
    if (step_[4] % 8 < 6)
      *fields[step_[4] % 8] = step_[7] == 0 ? step_[5] : static_cast<u32>(value());
    if (step_[4] % 8 == 6)
      kv.format = static_cast<DType>(step_[5] % static_cast<u8>(DType::kCount));
    if (step_[4] % 8 == 7) kv.is_state = !kv.is_state;
  }

  void change_bounds() {
    i64* fields[] = {&program_.bounds.tokens, &program_.bounds.sequences, &program_.bounds.rows,
                     &program_.bounds.context};
    *fields[step_[2] % 4] = value();
  }

  void resize_operands() {
    std::vector<Operand>& in = instruction().in;
    if (step_[4] % 2 == 0 && !in.empty()) {
      in.pop_back();
    } else {
      in.push_back({.kind = OperandKind::kValue,
                    .index = number() % static_cast<u32>(function_->value_types.size())});
    }
  }

  void change_results() {
    std::vector<u32>& results = function_->results;
    u32 id = number() % static_cast<u32>(function_->value_types.size());
    if (step_[2] % 3 == 0) results.push_back(id);
    if (step_[2] % 3 == 1 && !results.empty()) results.pop_back();
    if (step_[2] % 3 == 2 && !results.empty()) results[0] = id;
  }

  void change_layer() {
    std::vector<Operand>& in = instruction().in;
    if (in.empty()) return;
    Operand& o = in[step_[4] % in.size()];
    o.mode = static_cast<LayerMode>(step_[5] % 3);
    o.layer = static_cast<u16>(o.mode == LayerMode::kNone ? 0 : step_[6] % 5);
  }

  Program& program_;
  std::span<const u8> script_;
  std::span<const u8> step_;
  Function* function_ = nullptr;
};

}  // namespace tg::isa
