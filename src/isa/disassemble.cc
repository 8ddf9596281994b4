#include "isa/disassemble.h"

#include <set>

#include "base/assert.h"
#include "base/bytes.h"
#include "isa/attribute_text.h"
#include "isa/verify/op_view.h"

namespace tg::isa {

namespace {

std::string join(const std::vector<std::string>& parts) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i > 0 ? ", " : "") + parts[i];
  return out;
}

class Printer {
 public:
  explicit Printer(const Program& program) : program_(program) {}

  std::string run() {
    header();
    for (const KvDecl& kv : program_.kv) declare(kv);
    for (const WeightDecl& w : program_.weights) declare(w);
    for (const ConstDecl& c : program_.constants) declare(c);
    for (const Function& f : program_.functions) function(f);
    return std::move(out_);
  }

  std::string operation(const Function& f, const Instruction& i) {
    function_ = &f;
    OpView op(program_, f, i);
    std::vector<std::string> operands;
    for (std::size_t k = 0; k < i.in.size(); ++k) operands.push_back(operand(op, k));
    std::string out = std::string(name(i.op)) + " " + join(operands);
    if (i.attributes.empty()) return out;
    out += " {";
    for (std::size_t k = 0; k < i.attributes.size(); ++k)
      out += (k > 0 ? " " : "") + to_text(info(i.op), i.attributes[k]);
    return out + "}";
  }

 private:
  void line(const std::string& text) { out_ += text + "\n"; }

  void header() {
    std::string profiles;
    for (u32 i = 0; i < static_cast<u32>(Profile::kCount); ++i) {
      if ((program_.profiles >> i & 1) == 0) continue;
      profiles += (profiles.empty() ? "" : ",") + std::string(name(static_cast<Profile>(i)));
    }
    line(".tgp " + std::to_string(program_.isa_major) + "." + std::to_string(program_.isa_minor) +
         " profile=" + profiles);
    for (const std::pair<std::string, std::string>& m : program_.meta)
      line(".meta \"" + m.first + "\" \"" + m.second + "\"");
    const Bounds& b = program_.bounds;
    line(".dim T<=" + std::to_string(b.tokens) + " S<=" + std::to_string(b.sequences) +
         " R<=" + std::to_string(b.rows) + " C<=" + std::to_string(b.context));
  }

  void declare(const KvDecl& kv) {
    std::string text = (kv.is_state ? ".state $" : ".kv $") + kv.name +
                       " layers=" + std::to_string(kv.layers) +
                       " heads=" + std::to_string(kv.heads) + " dk=" + std::to_string(kv.dk) +
                       " dv=" + std::to_string(kv.dv) + " fmt=" + std::string(info(kv.format).name);
    if (!kv.is_state) text += " page=" + std::to_string(kv.page_tokens);
    if (kv.latent > 0) text += " latent=" + std::to_string(kv.latent);
    line(text);
  }

  void declare(const WeightDecl& w) {
    std::string layers = w.layers > 0 ? "[" + std::to_string(w.layers) + "]" : "";
    line(".w $" + w.name + layers + " " + std::string(info(w.codec).name) + shape_text(w.dims));
  }

  void declare(const ConstDecl& c) {
    std::string text =
        ".const $" + c.name + " " + std::string(info(c.dtype).name) + shape_text(c.dims) + " =";
    for (std::size_t i = 0; i < c.bytes.size(); i += 4) {
      // Most significant byte first, as a number is read.
      u8 reversed[4] = {c.bytes[i + 3], c.bytes[i + 2], c.bytes[i + 1], c.bytes[i]};
      text += " 0x" + to_hex(reversed);
    }
    line(text);
  }

  std::string value(u32 id) const { return "%" + names_[id]; }

  std::string typed(u32 id) const { return value(id) + " " + to_text(function_->value_types[id]); }

  // The program's own names if each is there, once, and can be read back; else numbers.
  static std::vector<std::string> names_of(const Function& f) {
    std::set<std::string_view> seen;
    bool good = f.value_names.size() == f.value_types.size();
    for (const std::string& name : f.value_names) good &= !name.empty() && seen.insert(name).second;
    if (good) return f.value_names;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < f.value_types.size(); ++i) names.push_back("v" + std::to_string(i));
    return names;
  }

  std::string operand(const OpView& op, std::size_t k) const {
    const Operand& o = op.operand(k);
    if (o.kind == OperandKind::kValue) return value(o.index);
    std::string label = op.operand_label(k);
    if (o.mode == LayerMode::kFixed) return label + "[" + std::to_string(o.layer) + "]";
    if (o.mode == LayerMode::kNone) return label;
    return label + (o.layer > 0 ? "[l+" + std::to_string(o.layer) + "]" : "[l]");
  }

  void function(const Function& f) {
    function_ = &f;
    names_ = names_of(f);
    std::vector<std::string> parameters;
    for (u32 id : f.parameters) parameters.push_back(typed(id));
    std::vector<std::string> results;
    for (u32 id : f.results) results.push_back(typed(id));
    line(".func " + f.name + " (" + join(parameters) + ") -> " + join(results) +
         (f.when_fresh ? " when past=0" : ""));
    bool in_loop = false;
    for (std::size_t at = 0; at < f.body.size(); ++at) {
      const Instruction& i = f.body[at];
      if (i.op == Opcode::kYield) in_loop = false;
      out_ += in_loop ? "    " : "  ";
      line(i.op == Opcode::kRepeat ? repeat(at) : statement(i));
      if (i.op == Opcode::kRepeat) in_loop = true;
    }
    line(".end");
  }

  // The final values are named here and defined by the yield.
  std::string repeat(std::size_t at) {
    const Instruction& i = function_->body[at];
    std::size_t end = at;
    while (function_->body[end].op != Opcode::kYield) ++end;
    std::vector<std::string> finals;
    for (u32 id : function_->body[end].out) finals.push_back(value(id));
    std::vector<std::string> carried;
    for (std::size_t k = 0; k < i.in.size(); ++k)
      carried.push_back(value(i.in[k].index) + " as " + value(i.out[k]));
    u32 count = attribute_words(i.op, i.attributes, AttributeKey::kCount)[0];
    return join(finals) + " = repeat l " + std::to_string(count) + " carry " + join(carried);
  }

  std::string statement(const Instruction& i) {
    std::string text = operation(*function_, i);
    if (i.op == Opcode::kYield || i.out.empty()) return text;
    std::vector<std::string> results;
    std::vector<std::string> types;
    for (u32 id : i.out) {
      results.push_back(value(id));
      types.push_back(to_text(function_->value_types[id]));
    }
    return join(results) + " = " + text + " -> " + join(types);
  }

 public:
  void use_names_of(const Function& f) { names_ = names_of(f); }

 private:
  const Program& program_;
  const Function* function_ = nullptr;
  std::vector<std::string> names_;
  std::string out_;
};

}  // namespace

std::string disassemble(const Program& program) {
  return Printer(program).run();
}

std::string instruction_text(const Program& program, const Function& function,
                             const Instruction& instruction) {
  Printer printer(program);
  printer.use_names_of(function);
  return printer.operation(function, instruction);
}

}  // namespace tg::isa
