// V1, V3, V6, V14: single assignment, scopes, loops, and operands that exist and are of the kind
// their op accepts.
#include <string>
#include <vector>

#include "isa/limits.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

namespace {

class Structure {
 public:
  Structure(const Program& program, const Function& function)
      : program_(program), function_(function), visible_(function.value_types.size(), false) {}

  Status run() {
    for (u32 id : function_.parameters) TG_TRY(define(id));
    for (const Instruction& i : function_.body) TG_TRY(instruction(i));
    if (loop_ != nullptr) return broken("V14", "repeat without yield");
    if (next_ != function_.value_types.size())
      return broken("V1", std::to_string(function_.value_types.size()) + " values are typed, " +
                              std::to_string(next_) + " are defined");
    return results();
  }

 private:
  Status define(u32 id) {
    if (id != next_)
      return broken("V1", "value " + std::to_string(id) + " is defined where " +
                              std::to_string(next_) + " is next");
    if (id >= visible_.size()) return broken("V1", "value " + std::to_string(id) + " has no type");
    visible_[id] = true;
    ++next_;
    return {};
  }

  Status instruction(const Instruction& i) {
    if (i.op >= Opcode::kCount)
      return broken("V2", "unknown opcode " + std::to_string(static_cast<int>(i.op)));
    const OpInfo& op = info(i.op);
    if (i.version != op.version)
      return broken("V2",
                    std::string(op.name) + " version " + std::to_string(i.version) + " is unknown");
    if (i.in.size() < op.operands_min || i.in.size() > op.operands_max)
      return broken("V3", std::string(op.name) + " takes " + std::to_string(op.operands_min) +
                              ".." + std::to_string(op.operands_max) + " operands, not " +
                              std::to_string(i.in.size()));
    if (i.out.size() < op.results_min || i.out.size() > op.results_max)
      return broken("V3", std::string(op.name) + " gives " + std::to_string(op.results_min) + ".." +
                              std::to_string(op.results_max) + " results, not " +
                              std::to_string(i.out.size()));
    for (std::size_t k = 0; k < i.in.size(); ++k) TG_TRY(operand(op, i.in[k], k));
    if (i.op == Opcode::kYield) TG_TRY(yield(i));
    for (u32 id : i.out) TG_TRY(define(id));
    if (i.op == Opcode::kRepeat) TG_TRY(repeat(i));
    return {};
  }

  Status repeat(const Instruction& i) {
    if (loop_ != nullptr) return broken("V14", "repeat inside repeat");
    if (i.in.size() != i.out.size())
      return broken("V14", "repeat starts " + std::to_string(i.in.size()) + " values and names " +
                               std::to_string(i.out.size()));
    loop_ = &i;
    loop_first_value_ = i.out[0];
    count_ = 0;
    for (const Attribute& a : i.attributes) {
      if (a.key == AttributeKey::kCount && a.words.size() == 1) count_ = a.words[0];
    }
    if (count_ < 1 || count_ > kLayersMax)
      return broken("V14", "repeat count " + std::to_string(count_) + " is not in 1.." +
                               std::to_string(kLayersMax));
    return carried("starts", i.in, i.out);
  }

  Status yield(const Instruction& i) {
    if (loop_ == nullptr) return broken("V14", "yield without repeat");
    if (i.in.size() != loop_->out.size() || i.out.size() != loop_->out.size())
      return broken("V14", "yield of " + std::to_string(i.in.size()) + " values in a repeat of " +
                               std::to_string(loop_->out.size()));
    TG_TRY(carried("yields", i.in, loop_->out));
    for (std::size_t k = 0; k < i.out.size(); ++k) {
      if (i.out[k] < visible_.size() && type(i.out[k]) != type(loop_->out[k]))
        return broken("V14", value_label(function_, i.out[k]) + " changes its type in the loop");
    }
    for (std::size_t id = loop_first_value_; id < next_; ++id) visible_[id] = false;
    loop_ = nullptr;
    return {};
  }

  Status carried(std::string_view verb, std::span<const Operand> from, std::span<const u32> to) {
    for (std::size_t k = 0; k < from.size(); ++k) {
      if (type(from[k].index) == type(to[k])) continue;
      return broken("V14", value_label(function_, to[k]) + ": the loop " + std::string(verb) +
                               " it with another type");
    }
    return {};
  }

  Status operand(const OpInfo& op, const Operand& o, std::size_t k) {
    const OperandRule& rule = operand_rule(op, k);
    if ((accept_bit(o) & rule.accepts) == 0 || !exists(o)) return wrong_operand(op, rule, o);
    if (o.kind == OperandKind::kValue && !visible_[o.index])
      return broken("V1", std::string(op.name) + " uses " + value_label(function_, o.index) +
                              " before or outside its definition");
    return layer(op, rule, o);
  }

  Error wrong_operand(const OpInfo& op, const OperandRule& rule, const Operand& o) const {
    static constexpr std::string_view kKinds[] = {"value", "weight", "constant", "kv"};
    std::string_view kind = o.kind <= OperandKind::kKv ? kKinds[static_cast<int>(o.kind)] : "kind";
    return broken("V3", std::string(op.name) + ": operand " + std::string(rule.name) +
                            " cannot be " + std::string(kind) + " " + std::to_string(o.index));
  }

  bool exists(const Operand& o) const {
    switch (o.kind) {
      case OperandKind::kValue: return o.index < visible_.size();
      case OperandKind::kWeight: return o.index < program_.weights.size();
      case OperandKind::kConst: return o.index < program_.constants.size();
      case OperandKind::kKv: return o.index < program_.kv.size();
    }
    return false;
  }

  u8 accept_bit(const Operand& o) const {
    switch (o.kind) {
      case OperandKind::kWeight: return kAcceptWeight;
      case OperandKind::kConst: return kAcceptConst;
      case OperandKind::kKv:
        if (o.index >= program_.kv.size()) return kAcceptKv | kAcceptState;
        return program_.kv[o.index].is_state ? kAcceptState : kAcceptKv;
      case OperandKind::kValue: break;
      default: return 0;
    }
    if (o.index >= visible_.size()) return kAcceptTensor;
    switch (type(o.index).kind) {
      case ValueKind::kTensor: return kAcceptTensor;
      case ValueKind::kBatch: return kAcceptBatch;
      case ValueKind::kParams: return kAcceptParams;
      case ValueKind::kPerm: return kAcceptPerm;
    }
    return 0;
  }

  u32 layers_of(const Operand& o) const {
    if (o.kind == OperandKind::kWeight) return program_.weights[o.index].layers;
    if (o.kind == OperandKind::kKv) return program_.kv[o.index].layers;
    return 0;
  }

  // The layer an operand names exists in every turn of the loop.
  Status layer(const OpInfo& op, const OperandRule& rule, const Operand& o) const {
    u32 layers = layers_of(o);
    auto wrong = [&](std::string_view number, const std::string& message) {
      return broken(number, std::string(op.name) + ": operand " + std::string(rule.name) + message);
    };
    if (o.mode > LayerMode::kFixed) return wrong("M7", ": unknown layer mode");
    if ((layers > 0) != (o.mode != LayerMode::kNone))
      return wrong("V6", layers > 0 ? " needs a layer" : " has no layers");
    if (o.mode == LayerMode::kNone && o.layer != 0) return wrong("M4", ": padding set");
    if (layers == 0) return {};
    if (o.mode == LayerMode::kLoop && loop_ == nullptr)
      return wrong("V6", " is indexed by a loop outside repeat");
    i64 last = o.layer + (o.mode == LayerMode::kLoop ? count_ - 1 : 0);
    if (last >= layers)
      return wrong("V6", ": layer " + std::to_string(last) + " of " + std::to_string(layers));
    return {};
  }

  Status results() {
    if (function_.results.empty())
      return broken("V15", "function " + function_.name + " gives nothing");
    if (static_cast<i64>(function_.results.size()) > kOperandsMax)
      return broken("M6", "more than " + std::to_string(kOperandsMax) + " results");
    for (u32 id : function_.results) {
      if (id >= visible_.size() || !visible_[id])
        return broken("V1", "result " + std::to_string(id) + " is not defined at the end");
      if (type(id).kind != ValueKind::kTensor)
        return broken("V11", "result " + value_label(function_, id) + " is not a tensor");
    }
    return {};
  }

  const Type& type(u32 id) const { return function_.value_types[id]; }

  const Program& program_;
  const Function& function_;
  std::vector<bool> visible_;
  u32 next_ = 0;
  const Instruction* loop_ = nullptr;
  u32 loop_first_value_ = 0;
  i64 count_ = 0;
};

}  // namespace

Status check_structure(const Program& program, const Function& function) {
  return Structure(program, function).run();
}

}  // namespace tg::isa
