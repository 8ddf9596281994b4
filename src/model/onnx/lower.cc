// The operator table, the graph's inputs and outputs, and how operands are looked up.
#include "model/onnx/lower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/onnx/lowering.h"

namespace tg::onnx {
namespace {

// Why operators that other exporters write are not here.
struct Reason {
  std::string_view op;
  std::string_view why;
};

constexpr std::string_view kDecomposed =
    "attention is decomposed; export with onnxruntime-genai's builder, which keeps "
    "GroupQueryAttention";
constexpr std::string_view kMaskBuilding =
    "the graph builds its own mask; export with onnxruntime-genai's builder for "
    "GroupQueryAttention";

constexpr Reason kReasons[] = {
    {"Softmax", kDecomposed},
    {"Einsum", kDecomposed},
    {"Trilu", kMaskBuilding},
    {"Where", kMaskBuilding},
    {"Expand", kMaskBuilding},
    {"ConstantOfShape", kMaskBuilding},
    {"Range", kMaskBuilding},
    {"ScatterND", kMaskBuilding},
    {"Tile", kMaskBuilding},
    {"Cos", "rotary angles are computed in the graph; tables are read"},
    {"Sin", "rotary angles are computed in the graph; tables are read"},
    {"If", "the program would depend on the length (two rotary tables); export for one context"},
    {"Loop", "graphs with control flow are not read"},
    {"MultiHeadAttention", "only GroupQueryAttention has the cache that serving needs"},
    {"Attention", "only GroupQueryAttention has the cache that serving needs"},
    {"PagedAttention", "export without use_paged_attention: paging is the engine's"},
    {"SparseAttention", "sparse attention is not in profile TEXT"},
    {"LinearAttention", "recurrent layers are not in profile TEXT"},
    {"CausalConvWithState", "recurrent layers are not in profile TEXT"},
    {"DequantizeLinear", "weights in QDQ form; export without use_qdq, which keeps MatMulNBits"},
    {"MoE", "mixtures of experts are not read from ONNX"},
    {"QMoE", "mixtures of experts are not read from ONNX"},
};

bool has_word(std::string_view words, std::string_view word) {
  for (std::size_t at = 0; at < words.size();) {
    std::size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

Error bad_input(const ValueInfo& input, std::string_view message) {
  return Error{Code::kUnsupported,
               fmt::format("onnx: graph input {} {}", quote(input.name), message)};
}

}  // namespace

const Lowering::Rule* Lowering::find_rule(std::string_view op) {
  constexpr std::string_view kStandard = "ai.onnx";
  constexpr std::string_view kMicrosoft = "com.microsoft";
  constexpr std::string_view kBoth = "ai.onnx com.microsoft";
  static constexpr Rule kRules[] = {
      // Values and shapes.
      {"Identity", kStandard, 1, 1, "", &Lowering::emit_alias},
      {"Cast", kStandard, 1, 1, "to saturate", &Lowering::emit_cast},
      {"Constant", kStandard, 0, 0, "value value_int value_ints value_float value_floats",
       &Lowering::emit_constant},
      {"Shape", kStandard, 1, 1, "start", &Lowering::emit_shape},
      {"Gather", kStandard, 2, 2, "axis", &Lowering::emit_gather},
      {"Squeeze", kStandard, 1, 2, "", &Lowering::emit_squeeze},
      {"Unsqueeze", kStandard, 2, 2, "", &Lowering::emit_squeeze},
      {"Concat", kStandard, 1, kNodeValuesMax, "axis", &Lowering::emit_concat},
      {"Reshape", kStandard, 2, 2, "allowzero", &Lowering::emit_reshape},
      {"Transpose", kStandard, 1, 1, "perm", &Lowering::emit_transpose},
      {"Split", kStandard, 1, 2, "axis num_outputs", &Lowering::emit_split},
      {"Slice", kStandard, 3, 5, "", &Lowering::emit_slice},
      {"ReduceSum", kStandard, 2, 2, "keepdims noop_with_empty_axes", &Lowering::emit_reduce_sum},
      {"Sub", kStandard, 2, 2, "", &Lowering::emit_sub},
      // Arithmetic.
      {"Add", kStandard, 2, 2, "", &Lowering::emit_add},
      {"Mul", kStandard, 2, 2, "", &Lowering::emit_mul},
      {"Div", kStandard, 2, 2, "", &Lowering::emit_div},
      {"Pow", kStandard, 2, 2, "", &Lowering::emit_pow},
      {"Sigmoid", kStandard, 1, 1, "", &Lowering::emit_act},
      {"Tanh", kStandard, 1, 1, "", &Lowering::emit_act},
      {"Relu", kStandard, 1, 1, "", &Lowering::emit_act},
      {"Softplus", kStandard, 1, 1, "", &Lowering::emit_act},
      {"Gelu", kBoth, 1, 1, "approximate", &Lowering::emit_gelu},
      {"FastGelu", kMicrosoft, 1, 2, "", &Lowering::emit_fast_gelu},
      {"QuickGelu", kMicrosoft, 1, 1, "alpha", &Lowering::emit_quick_gelu},
      {"Swish", kStandard, 1, 1, "alpha", &Lowering::emit_swish},
      {"MatMul", kStandard, 2, 2, "", &Lowering::emit_matmul},
      {"MatMulNBits", kMicrosoft, 3, 6,
       "K N bits block_size accuracy_level weight_prepacked weights_prepacked",
       &Lowering::emit_matmul_blocks},
      {"GatherBlockQuantized", kMicrosoft, 3, 4, "bits block_size gather_axis quantize_axis",
       &Lowering::emit_gather_blocks},
      {"SimplifiedLayerNormalization", kBoth, 2, 2, "axis epsilon stash_type",
       &Lowering::emit_norm},
      {"RMSNormalization", kStandard, 2, 2, "axis epsilon stash_type", &Lowering::emit_norm},
      {"LayerNormalization", kStandard, 2, 3, "axis epsilon stash_type", &Lowering::emit_norm},
      {"SkipSimplifiedLayerNormalization", kMicrosoft, 3, 4, "epsilon", &Lowering::emit_skip_norm},
      {"SkipLayerNormalization", kMicrosoft, 3, 5, "epsilon", &Lowering::emit_skip_norm},
      // Attention.
      {"RotaryEmbedding", kBoth, 3, 4,
       "interleaved num_heads rotary_embedding_dim is_packed_batching scale",
       &Lowering::emit_rotary},
      {"GroupQueryAttention", kMicrosoft, 7, 16,
       "num_heads kv_num_heads scale local_window_size softcap do_rotary rotary_interleaved "
       "smooth_softmax qk_norm_epsilon k_quant_type v_quant_type kv_cache_bit_width qk_output "
       "sliding_window_cache",
       &Lowering::emit_attention},
  };
  for (const Rule& rule : kRules)
    if (rule.op == op) return &rule;
  return nullptr;
}

Result<Draft> lower(const File& file, WeightStore& weights) {
  return Lowering(file, weights).run();
}

Result<Draft> Lowering::run() {
  TG_TRY(check_opsets());
  TG_TRY(declare_tensors());
  TG_TRY(declare_inputs());
  for (const Node& n : file_.graph.nodes) TG_TRY(node(n));
  TG_TRY(finish());
  return std::move(draft_);
}

Status Lowering::check_opsets() const {
  bool has_standard = false;
  for (const OperatorSet& set : file_.operator_sets) {
    if (!set.domain.empty()) continue;
    has_standard = true;
    if (set.version < kOpsetMin || set.version > kOpsetMax)
      return Error{Code::kUnsupported, fmt::format("onnx: opset {}, read are {} to {}", set.version,
                                                   kOpsetMin, kOpsetMax)};
  }
  if (!has_standard) return Error{Code::kInvalid, "onnx: the file names no opset"};
  return {};
}

Status Lowering::declare_tensors() {
  for (const Tensor& t : file_.graph.initializers) {
    Entry entry{.kind = Entry::Kind::kTensor, .tensor = &t, .dims = t.dims};
    if (t.name.empty() || !entries_.emplace(t.name, std::move(entry)).second)
      return Error{Code::kInvalid,
                   fmt::format("onnx: initializer {} is given twice", quote(t.name))};
  }
  return {};
}

Status Lowering::declare_inputs() {
  for (const ValueInfo& input : file_.graph.inputs) {
    // Old files list initializers among the inputs, as defaults.
    std::map<std::string_view, Entry>::const_iterator known = entries_.find(input.name);
    if (known != entries_.end() && known->second.kind == Entry::Kind::kTensor) continue;
    Entry entry;
    if (input.name == "input_ids") {
      entry.kind = Entry::Kind::kIds;
    } else if (input.name == "attention_mask") {
      entry.kind = Entry::Kind::kMask;
    } else if (input.name == "position_ids") {
      entry.kind = Entry::Kind::kPositions;
    } else {
      TG_TRY(declare_past(input));
      continue;
    }
    if (!is_integer(input.type) || input.dims.size() != 2)
      return bad_input(input, fmt::format("is {}{}, expected integers of rank 2", name(input.type),
                                          dims_text(input.dims)));
    if (!entries_.emplace(input.name, std::move(entry)).second)
      return bad_input(input, "is given twice");
  }
  return {};
}

// "past_key_values.12.key"
Status Lowering::declare_past(const ValueInfo& input) {
  constexpr std::string_view kPrefix = "past_key_values.";
  std::string_view rest = input.name;
  if (!rest.starts_with(kPrefix))
    return bad_input(input,
                     "is not one of input_ids, attention_mask, position_ids and "
                     "past_key_values.N.key or .value");
  rest.remove_prefix(kPrefix.size());
  i64 layer = 0;
  std::size_t digits = 0;
  while (digits < rest.size() && digits < 5 && rest[digits] >= '0' && rest[digits] <= '9')
    layer = layer * 10 + (rest[digits++] - '0');
  rest.remove_prefix(digits);
  if (digits == 0 || layer >= kLayersMax || (rest != ".key" && rest != ".value"))
    return bad_input(input, "is not past_key_values.N.key or .value of a layer");
  if (!is_real(input.type) || input.dims.size() != 4)
    return bad_input(input, fmt::format("is {}{}, expected floats of rank 4", name(input.type),
                                        dims_text(input.dims)));
  Entry entry{.kind = Entry::Kind::kPast, .dims = input.dims, .layer = layer};
  entry.is_value = rest == ".value";
  if (!entries_.emplace(input.name, std::move(entry)).second)
    return bad_input(input, "is given twice");
  return {};
}

Error Lowering::error(const Node& node, Code code, std::string_view message) const {
  return Error{code,
               fmt::format("onnx: node {} ({}): {}", quote(node.name), quote(node.op), message)};
}

Status Lowering::check_form(const Node& node, const Rule& rule) const {
  i64 inputs = 0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i)
    if (!node.inputs[i].empty()) inputs = static_cast<i64>(i) + 1;
  if (inputs < rule.inputs_min || inputs > rule.inputs_max)
    return invalid(node, fmt::format("{} inputs, expected {} to {}", inputs, rule.inputs_min,
                                     rule.inputs_max));
  if (node.output(0).empty()) return invalid(node, "its first output has no name");
  for (const Attribute& attribute : node.attributes)
    if (!has_word(rule.attributes, attribute.name))
      return unsupported(node, "attribute " + quote(attribute.name) + " is not known");
  return {};
}

Status Lowering::node(const Node& node) {
  const Rule* rule = find_rule(node.op);
  if (rule != nullptr && has_word(rule->domains, node.domain.empty() ? "ai.onnx" : node.domain)) {
    TG_TRY(check_form(node, *rule));
    return (this->*rule->emit)(node);
  }
  for (const Reason& reason : kReasons)
    if (reason.op == node.op) return unsupported(node, reason.why);
  return unsupported(node, "of domain " + quote(node.domain.empty() ? "ai.onnx" : node.domain) +
                               " is not an operator that is read");
}

Status Lowering::finish() {
  std::map<std::string_view, Entry>::const_iterator logits = entries_.find("logits");
  bool is_output = std::any_of(file_.graph.outputs.begin(), file_.graph.outputs.end(),
                               [](const ValueInfo& v) { return v.name == "logits"; });
  if (!is_output || logits == entries_.end())
    return Error{Code::kUnsupported, "onnx: the graph has no output 'logits'"};
  if (logits->second.kind != Entry::Kind::kHidden || logits->second.group != 0)
    return Error{Code::kInvalid, "onnx: 'logits' is not computed from the input"};
  draft_.logits = logits->second.value;
  draft_.cache.layers = static_cast<i64>(layers_.size());
  for (std::size_t layer = 0; layer < layers_.size(); ++layer)
    if (!layers_[layer])
      return Error{Code::kInvalid, fmt::format("onnx: layer {} has no attention", layer)};
  if (layers_.empty()) return Error{Code::kUnsupported, "onnx: the graph has no attention"};
  return {};
}

Result<i64> Lowering::integer(const Node& node, std::string_view name, i64 fallback) const {
  const Attribute* attribute = node.find(name);
  if (attribute == nullptr) return fallback;
  if (!attribute->integer.has_value())
    return invalid(node, fmt::format("attribute {} is not an integer", name));
  return *attribute->integer;
}

Result<i64> Lowering::integer_in(const Node& node, std::string_view name, i64 fallback, i64 min,
                                 i64 max) const {
  TG_ASSIGN(i64 value, integer(node, name, fallback));
  if (value < min || value > max)
    return unsupported(
        node, fmt::format("{}={}, expected {}", name, value,
                          min == max ? std::to_string(min) : fmt::format("{} to {}", min, max)));
  return value;
}

Result<f32> Lowering::real(const Node& node, std::string_view name, f32 fallback) const {
  const Attribute* attribute = node.find(name);
  if (attribute == nullptr) return fallback;
  if (!attribute->real.has_value() || !std::isfinite(*attribute->real))
    return invalid(node, fmt::format("attribute {} is not a finite float", name));
  return *attribute->real;
}

Result<const Entry*> Lowering::find(const Node& node, std::size_t i) const {
  std::map<std::string_view, Entry>::const_iterator found = entries_.find(node.input(i));
  if (node.input(i).empty()) return invalid(node, fmt::format("input {} is left out", i));
  if (found == entries_.end())
    return invalid(node, "input " + quote(node.input(i)) + " is not defined before it");
  return &found->second;
}

Result<const Entry*> Lowering::hidden_entry(const Node& node, std::size_t i) const {
  TG_ASSIGN(const Entry* entry, find(node, i));
  if (entry->kind != Entry::Kind::kHidden)
    return unsupported(node, "input " + quote(node.input(i)) + " is not an activation");
  if (entry->is_last_row != is_pruned_)
    return unsupported(node, "mixes the last token with all tokens");
  return entry;
}

Result<i32> Lowering::hidden(const Node& node, std::size_t i) const {
  TG_ASSIGN(const Entry* entry, hidden_entry(node, i));
  if (entry->group != 0)
    return unsupported(node, "input " + quote(node.input(i)) + " is reshaped to heads");
  return entry->value;
}

bool Lowering::is_hidden(const Node& node, std::size_t i) const {
  Result<const Entry*> entry = find(node, i);
  return entry.ok() && (*entry)->kind == Entry::Kind::kHidden;
}

bool Lowering::is_integral(const Node& node, std::size_t i) const {
  Result<const Entry*> entry = find(node, i);
  if (!entry.ok()) return false;
  if ((*entry)->kind == Entry::Kind::kTensor) return is_integer((*entry)->tensor->type);
  return (*entry)->kind != Entry::Kind::kHidden;
}

Result<const Tensor*> Lowering::tensor(const Node& node, std::size_t i) const {
  TG_ASSIGN(const Entry* entry, find(node, i));
  if (entry->kind != Entry::Kind::kTensor)
    return unsupported(node, "input " + quote(node.input(i)) + " is not an initializer");
  return entry->tensor;
}

Result<std::vector<Integer>> Lowering::integers(const Node& node, std::size_t i) const {
  TG_ASSIGN(const Entry* entry, find(node, i));
  if (entry->kind == Entry::Kind::kIntegers) return entry->integers;
  if (entry->kind != Entry::Kind::kTensor || !is_integer(entry->tensor->type) ||
      entry->tensor->elements() > kNodeValuesMax)
    return unsupported(node, "input " + quote(node.input(i)) + " is not a few integers");
  std::vector<Integer> out;
  for (i64 k = 0; k < entry->tensor->elements(); ++k)
    out.push_back({Integer::Meaning::kNumber, integer_at(*entry->tensor, k)});
  return out;
}

Result<std::vector<i64>> Lowering::numbers(const Node& node, std::size_t i) const {
  TG_ASSIGN(std::vector<Integer> all, integers(node, i));
  std::vector<i64> out;
  for (const Integer& integer : all) {
    if (integer.meaning != Integer::Meaning::kNumber)
      return unsupported(node, "input " + quote(node.input(i)) + " is not constant");
    out.push_back(integer.number);
  }
  return out;
}

std::optional<f32> Lowering::scalar(const Node& node, std::size_t i) const {
  Result<const Entry*> entry = find(node, i);
  if (!entry.ok() || (*entry)->kind != Entry::Kind::kTensor) return std::nullopt;
  const Tensor& tensor = *(*entry)->tensor;
  if (!is_real(tensor.type) || tensor.elements() != 1) return std::nullopt;
  return real_at(tensor, 0);
}

Result<i32> Lowering::row(const Node& node, std::size_t i, i64 width) {
  TG_ASSIGN(const Entry* entry, find(node, i));
  bool is_row = entry->kind == Entry::Kind::kTensor && is_real(entry->tensor->type) &&
                !entry->dims.empty() && entry->dims.back() == width &&
                entry->tensor->elements() == width;
  if (!is_row)
    return unsupported(
        node, fmt::format("input {} is not a float row of {}", quote(node.input(i)), width));
  return weights_.plain(*entry->tensor, {width});
}

Status Lowering::define(const Node& node, std::size_t output, Entry entry) {
  std::string_view name = node.output(output);
  if (name.empty()) return {};
  if (!entries_.emplace(name, std::move(entry)).second)
    return invalid(node, "output " + quote(name) + " is defined twice");
  return {};
}

Status Lowering::define_hidden(const Node& node, std::size_t output, i32 value, i64 group) {
  Entry entry{.kind = Entry::Kind::kHidden, .value = value, .group = group};
  entry.is_last_row = is_pruned_;
  return define(node, output, std::move(entry));
}

Status Lowering::define_integers(const Node& node, std::vector<Integer> integers) {
  if (static_cast<i64>(integers.size()) > kNodeValuesMax)
    return unsupported(node, "more integers than a shape has");
  return define(node, 0, {.kind = Entry::Kind::kIntegers, .integers = std::move(integers)});
}

Status Lowering::no_output(const Node& node, std::size_t output) const {
  if (node.output(output).empty()) return {};
  return unsupported(node, fmt::format("output {} is not computed", output));
}

i32 Lowering::emit(std::string op, std::vector<Ref> in, std::string attributes, i64 width) {
  i32 out = draft_.add_value(width);
  draft_.steps.push_back(
      {.op = std::move(op), .in = std::move(in), .attributes = std::move(attributes), .out = out});
  return out;
}

i32 Lowering::constant(Constant constant) {
  std::vector<Constant>& all = draft_.constants;
  std::vector<Constant>::iterator found = std::find_if(
      all.begin(), all.end(), [&](const Constant& c) { return c.values == constant.values; });
  if (found != all.end()) return static_cast<i32>(found - all.begin());
  all.push_back(std::move(constant));
  return static_cast<i32>(all.size()) - 1;
}

}  // namespace tg::onnx
