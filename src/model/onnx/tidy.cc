// A fused instruction stands where its last part stood, but for a bias: that is a weight, so the
// product keeps its place. Each pass keeps every step's operands defined before it.
#include "model/onnx/tidy.h"

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace tg::onnx {
namespace {

class Tidier {
 public:
  explicit Tidier(Draft& draft) : draft_(draft) {}

  void fuse() {
    // One pass for what others build on (silu before glu).
    using Rule = bool (Tidier::*)(Step&);
    constexpr Rule kRules[] = {&Tidier::bias, &Tidier::silu, &Tidier::relu2, &Tidier::softcap,
                               &Tidier::glu};
    for (Rule rule : kRules) {
      index();
      for (Step& step : draft_.steps) (this->*rule)(step);
    }
  }

  void drop_unused();
  std::size_t gather_rows();

 private:
  // Where each value is made, and how often it is read.
  void index();
  // The step that makes a value operand, if nothing but this operand reads it; otherwise nullptr.
  Step* only_reader_of(const Ref& ref) {
    Step* made = maker(ref);
    return made != nullptr && uses_[at(ref.index)] == 1 ? made : nullptr;
  }
  Step* maker(const Ref& ref) {
    if (ref.kind != Ref::Kind::kValue || made_at_[at(ref.index)] < 0) return nullptr;
    return &draft_.steps[at(made_at_[at(ref.index)])];
  }
  static std::size_t at(i32 index) { return static_cast<std::size_t>(index); }
  void remove(Step& step) {
    step.out = -1;
    step.op.clear();
  }

  bool bias(Step& step);
  bool silu(Step& step);
  bool relu2(Step& step);
  bool softcap(Step& step);
  bool glu(Step& step);

  Draft& draft_;
  std::vector<i32> made_at_;  // by value; -1: nowhere
  std::vector<i32> uses_;     // by value
};

void Tidier::index() {
  std::erase_if(draft_.steps, [](const Step& step) { return step.op.empty(); });
  made_at_.assign(draft_.widths.size(), -1);
  uses_.assign(draft_.widths.size(), 0);
  for (std::size_t i = 0; i < draft_.steps.size(); ++i) {
    const Step& step = draft_.steps[i];
    if (step.out >= 0) made_at_[at(step.out)] = static_cast<i32>(i);
    for (const Ref& ref : step.in)
      if (ref.kind == Ref::Kind::kValue) ++uses_[at(ref.index)];
  }
  ++uses_[at(draft_.logits)];
}

// add(linear(x, w), row) -> linear(x, w, row)
bool Tidier::bias(Step& step) {
  if (!step.is("add") || step.in[1].kind != Ref::Kind::kWeight) return false;
  Step* product = only_reader_of(step.in[0]);
  if (product == nullptr || !product->is("linear") || product->in.size() != 2) return false;
  product->in.push_back(step.in[1]);
  product->out = step.out;
  remove(step);
  return true;
}

// mul(x, sigmoid(x)) -> act silu
bool Tidier::silu(Step& step) {
  if (!step.is("mul") || step.in.size() != 2) return false;
  for (std::size_t i : {0, 1}) {
    Step* gate = only_reader_of(step.in[i]);
    if (gate == nullptr || !gate->is("act", "act=sigmoid") || gate->in[0] != step.in[1 - i])
      continue;
    step = {.op = "act", .in = gate->in, .attributes = "act=silu", .out = step.out};
    remove(*gate);
    return true;
  }
  return false;
}

// mul(relu(x), relu(x)) -> act relu2
bool Tidier::relu2(Step& step) {
  if (!step.is("mul") || step.in.size() != 2 || step.in[0] != step.in[1]) return false;
  Step* inner = maker(step.in[0]);
  if (inner == nullptr || !inner->is("act", "act=relu") || uses_[at(inner->out)] != 2) return false;
  step = {.op = "act", .in = inner->in, .attributes = "act=relu2", .out = step.out};
  remove(*inner);
  return true;
}

// mul(tanh(div(x, c)), c) -> act softcap
bool Tidier::softcap(Step& step) {
  if (!step.is("mul") || step.in.size() != 1 || !(*step.number > 0)) return false;
  Step* tanh = only_reader_of(step.in[0]);
  if (tanh == nullptr || !tanh->is("act", "act=tanh")) return false;
  Step* scaled = only_reader_of(tanh->in[0]);
  if (scaled == nullptr || !scaled->is("div") || scaled->number != step.number) return false;
  f32 cap = *step.number;
  step = {
      .op = "act", .in = scaled->in, .attributes = "act=softcap", .number = cap, .out = step.out};
  remove(*tanh);
  remove(*scaled);
  return true;
}

// mul(act(g), u) -> glu(g, u)
bool Tidier::glu(Step& step) {
  constexpr std::array<std::string_view, 4> kGates = {"act=silu", "act=gelu_tanh", "act=gelu_erf",
                                                      "act=relu"};
  if (!step.is("mul") || step.in.size() != 2 || step.in[1].kind != Ref::Kind::kValue) return false;
  for (std::size_t i : {0, 1}) {
    Step* gate = only_reader_of(step.in[i]);
    if (gate == nullptr || !gate->is("act") ||
        std::find(kGates.begin(), kGates.end(), gate->attributes) == kGates.end())
      continue;
    step = {.op = "glu",
            .in = {gate->in[0], step.in[1 - i]},
            .attributes = gate->attributes,
            .out = step.out};
    remove(*gate);
    return true;
  }
  return false;
}

void Tidier::drop_unused() {
  index();
  std::vector<bool> used(draft_.widths.size());
  used[at(draft_.logits)] = true;
  for (std::size_t i = draft_.steps.size(); i-- > 0;) {
    Step& step = draft_.steps[i];
    if (step.out >= 0 && !used[at(step.out)]) {
      remove(step);
      continue;
    }
    for (const Ref& ref : step.in)
      if (ref.kind == Ref::Kind::kValue) used[at(ref.index)] = true;
  }
  index();
}

// From the logits back while a step reads one value and no parameter: all that works row by row.
std::size_t Tidier::gather_rows() {
  index();
  i32 value = draft_.logits;
  std::size_t first = draft_.steps.size();
  std::vector<std::size_t> rowwise;
  while (true) {
    i32 made = made_at_[at(value)];
    if (made < 0) break;
    const Step& step = draft_.steps[at(made)];
    i32 source = -1;
    bool is_rowwise = true;
    for (const Ref& ref : step.in) {
      if (ref.kind == Ref::Kind::kParameter || ref.kind == Ref::Kind::kCache) is_rowwise = false;
      if (ref.kind != Ref::Kind::kValue) continue;
      is_rowwise &= source < 0 || source == ref.index;
      source = ref.index;
    }
    if (!is_rowwise || source < 0) break;
    first = at(made);
    rowwise.push_back(first);
    value = source;
  }
  i32 rows = draft_.add_value(draft_.widths[at(value)]);
  for (std::size_t i : rowwise)
    for (Ref& ref : draft_.steps[i].in)
      if (ref == value_ref(value)) ref = value_ref(rows);
  if (draft_.logits == value) draft_.logits = rows;
  Step gather{.op = "gather", .in = {value_ref(value), parameter_ref("%rows")}, .out = rows};
  draft_.steps.insert(draft_.steps.begin() + static_cast<std::ptrdiff_t>(first), std::move(gather));
  return first;
}

}  // namespace

std::size_t tidy(Draft& draft) {
  Tidier tidier(draft);
  tidier.fuse();
  tidier.drop_unused();
  return tidier.gather_rows();
}

}  // namespace tg::onnx
