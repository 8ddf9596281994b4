// Operators that compute: the embedding, products with weights, elementwise functions and norms.
#include <fmt/format.h>

#include <cmath>

#include "model/onnx/lowering.h"

namespace tg::onnx {
namespace {

bool is_extent(i64 size) {
  return size >= 1 && size <= kWidthMax;
}

// A matrix that was neither reshaped nor is too large.
bool is_matrix(const Entry& entry) {
  return entry.kind == Entry::Kind::kTensor && entry.dims.size() == 2 &&
         entry.dims == entry.tensor->dims && is_extent(entry.dims[0]) && is_extent(entry.dims[1]);
}

}  // namespace

// table is [vocabulary, width], or its transpose where it is shared with the head.
Status Lowering::embed(const Node& node, const Entry& table) {
  if (!is_matrix(table) || !is_real(table.tensor->type))
    return unsupported(node, "its table is not a float matrix");
  std::vector<i64> dims = table.dims;
  if (table.is_transposed) std::swap(dims[0], dims[1]);
  TG_ASSIGN(i32 weight, table.is_transposed ? weights_.transposed(*table.tensor)
                                            : weights_.plain(*table.tensor, dims));
  i32 out = emit("embed", {weight_ref(weight), parameter_ref("%ids")}, "", dims[1]);
  return define_hidden(node, 0, out);
}

// The embedding in quantised blocks, which the head may share.
Status Lowering::emit_gather_blocks(const Node& node) {
  TG_ASSIGN(const Entry* table, find(node, 0));
  TG_ASSIGN(const Entry* indices, find(node, 1));
  BlockMatrix m;
  TG_ASSIGN(m.bits, integer_in(node, "bits", 4, 4, 8));
  TG_ASSIGN(m.block, integer_in(node, "block_size", 128, 16, 4'096));
  TG_TRY(integer_in(node, "gather_axis", 0, 0, 0));
  TG_TRY(integer_in(node, "quantize_axis", 1, 1, 1));
  TG_ASSIGN(m.scales, tensor(node, 2));
  if (!node.input(3).empty()) {
    TG_ASSIGN(m.zeros, tensor(node, 3));
  }
  bool is_good = indices->kind == Entry::Kind::kIds && table->kind == Entry::Kind::kTensor &&
                 table->tensor->type == ElementType::kUint8 && !table->is_transposed &&
                 table->dims.size() == 2 && (m.bits == 4 || m.bits == 8) &&
                 is_extent(table->dims[0]) && is_extent(table->dims[1]);
  if (!is_good) return unsupported(node, "its table is not a matrix of uint8 codes");
  m.codes = table->tensor;
  m.rows = table->dims[0];
  m.columns = table->dims[1] * 8 / m.bits;
  if (m.columns % m.block != 0)
    return invalid(node, fmt::format("{} columns in blocks of {}", m.columns, m.block));
  TG_ASSIGN(i32 weight, weights_.blocks(m));
  return define_hidden(node, 0,
                       emit("embed", {weight_ref(weight), parameter_ref("%ids")}, "", m.columns));
}

Status Lowering::emit_matmul(const Node& node) {
  TG_ASSIGN(const Entry* matrix, find(node, 1));
  if (matrix->kind == Entry::Kind::kHidden)
    return unsupported(node,
                       "multiplies two activations: attention is decomposed; export with "
                       "onnxruntime-genai's builder, which keeps GroupQueryAttention");
  TG_ASSIGN(i32 x, hidden(node, 0));
  if (!is_matrix(*matrix) || !is_real(matrix->tensor->type))
    return unsupported(node, "its right side is not a float matrix");
  std::vector<i64> dims = matrix->dims;  // [N,K] once the right side is seen as stored rows
  if (!matrix->is_transposed) std::swap(dims[0], dims[1]);
  if (dims[1] != width(x))
    return invalid(node, fmt::format("{} columns times {}", width(x), dims_text(matrix->dims)));
  TG_ASSIGN(i32 weight, matrix->is_transposed ? weights_.plain(*matrix->tensor, dims)
                                              : weights_.transposed(*matrix->tensor));
  return define_hidden(node, 0, emit("linear", {value_ref(x), weight_ref(weight)}, "", dims[0]));
}

Status Lowering::matmul_blocks(const Node& node, i32 x, const BlockMatrix& matrix) {
  if (matrix.columns != width(x))
    return invalid(node, fmt::format("{} columns times a matrix of {}", width(x), matrix.columns));
  TG_ASSIGN(i32 weight, weights_.blocks(matrix));
  std::vector<Ref> in = {value_ref(x), weight_ref(weight)};
  if (node.op == "MatMulNBits" && !node.input(5).empty()) {
    TG_ASSIGN(i32 bias, row(node, 5, matrix.rows));
    in.push_back(weight_ref(bias));
  }
  return define_hidden(node, 0, emit("linear", std::move(in), "", matrix.rows));
}

// accuracy_level is about how a kernel may compute, not about what the node means.
Status Lowering::emit_matmul_blocks(const Node& node) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  BlockMatrix m;
  TG_ASSIGN(m.columns, integer_in(node, "K", 0, 1, kWidthMax));
  TG_ASSIGN(m.rows, integer_in(node, "N", 0, 1, kWidthMax));
  TG_ASSIGN(m.bits, integer_in(node, "bits", 4, 4, 8));
  TG_ASSIGN(m.block, integer_in(node, "block_size", 0, 16, 4'096));
  TG_TRY(integer_in(node, "weight_prepacked", 0, 0, 0));
  TG_TRY(integer_in(node, "weights_prepacked", 0, 0, 0));
  if (m.bits != 4 && m.bits != 8)
    return unsupported(node, fmt::format("bits={}, expected 4 or 8", m.bits));
  if ((m.block & (m.block - 1)) != 0)
    return unsupported(node, fmt::format("block_size={}, expected a power of two", m.block));
  if (m.rows > kElementsMax / (m.columns + m.block))
    return unsupported(node, fmt::format("N={} and K={}", m.rows, m.columns));
  TG_ASSIGN(m.codes, tensor(node, 1));
  TG_ASSIGN(m.scales, tensor(node, 2));
  if (!node.input(3).empty()) {
    TG_ASSIGN(m.zeros, tensor(node, 3));
  }
  if (!node.input(4).empty())
    return unsupported(node, "columns in another order (g_idx) are not read");
  return matmul_blocks(node, x, m);
}

Status Lowering::emit_add(const Node& node) {
  if (is_integral(node, 0) && is_integral(node, 1))
    return define_integers(node, {{Integer::Meaning::kOther}});
  std::size_t first = is_hidden(node, 0) ? 0 : 1;
  TG_ASSIGN(i32 a, hidden(node, first));
  Ref b;
  if (is_hidden(node, 1 - first)) {
    TG_ASSIGN(i32 other, hidden(node, 1 - first));
    if (width(other) != width(a))
      return invalid(node, fmt::format("{} columns and {}", width(a), width(other)));
    b = value_ref(other);
  } else {
    TG_ASSIGN(i32 weight, row(node, 1 - first, width(a)));
    b = weight_ref(weight);
  }
  return define_hidden(node, 0, emit("add", {value_ref(a), b}, "", width(a)));
}

Status Lowering::emit_mul(const Node& node) {
  if (is_integral(node, 0) && is_integral(node, 1))
    return define_integers(node, {{Integer::Meaning::kOther}});
  std::size_t first = is_hidden(node, 0) ? 0 : 1;
  TG_ASSIGN(const Entry* a, hidden_entry(node, first));
  i32 value = a->value;
  i64 group = a->group;
  if (std::optional<f32> factor = scalar(node, 1 - first); factor.has_value()) {
    if (!std::isfinite(*factor)) return invalid(node, fmt::format("its factor is {}", *factor));
    i32 out = emit("mul", {value_ref(value)}, "", width(value));
    draft_.steps.back().number = *factor;
    return define_hidden(node, 0, out, group);
  }
  TG_TRY(hidden(node, first));
  Ref b;
  if (is_hidden(node, 1 - first)) {
    TG_ASSIGN(i32 other, hidden(node, 1 - first));
    if (width(other) != width(value))
      return invalid(node, fmt::format("{} columns and {}", width(value), width(other)));
    b = value_ref(other);
  } else {
    TG_ASSIGN(i32 weight, row(node, 1 - first, width(value)));
    b = weight_ref(weight);
  }
  return define_hidden(node, 0, emit("mul", {value_ref(value), b}, "", width(value)));
}

Status Lowering::emit_div(const Node& node) {
  if (is_integral(node, 0) && is_integral(node, 1))
    return define_integers(node, {{Integer::Meaning::kOther}});
  TG_ASSIGN(i32 x, hidden(node, 0));
  std::optional<f32> divisor = scalar(node, 1);
  if (!divisor.has_value() || !std::isfinite(*divisor) || *divisor == 0)
    return unsupported(node, "divides by what is not a constant");
  i32 out = emit("div", {value_ref(x)}, "", width(x));
  draft_.steps.back().number = *divisor;
  return define_hidden(node, 0, out);
}

Status Lowering::emit_pow(const Node& node) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  bool is_square = scalar(node, 1) == 2.0f;
  if (is_integral(node, 1)) {
    TG_ASSIGN(std::vector<i64> power, numbers(node, 1));
    is_square = power == std::vector<i64>{2};
  }
  if (!is_square) return unsupported(node, "a power other than 2 is not read");
  return define_hidden(node, 0, emit("mul", {value_ref(x), value_ref(x)}, "", width(x)));
}

Status Lowering::emit_act(const Node& node) {
  std::string_view act = node.op == "Sigmoid" ? "sigmoid"
                         : node.op == "Tanh"  ? "tanh"
                         : node.op == "Relu"  ? "relu"
                                              : "softplus";
  TG_ASSIGN(i32 x, hidden(node, 0));
  return define_hidden(node, 0, emit("act", {value_ref(x)}, fmt::format("act={}", act), width(x)));
}

Status Lowering::emit_gelu(const Node& node) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  const Attribute* approximate = node.find("approximate");
  std::string_view kind = approximate == nullptr ? "none" : approximate->text.value_or("");
  if (kind != "none" && kind != "tanh") return invalid(node, "approximate is " + quote(kind));
  std::string_view act = kind == "none" ? "act=gelu_erf" : "act=gelu_tanh";
  return define_hidden(node, 0, emit("act", {value_ref(x)}, std::string(act), width(x)));
}

Status Lowering::emit_fast_gelu(const Node& node) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  if (!node.input(1).empty()) {
    TG_ASSIGN(i32 bias, row(node, 1, width(x)));
    x = emit("add", {value_ref(x), weight_ref(bias)}, "", width(x));
  }
  return define_hidden(node, 0, emit("act", {value_ref(x)}, "act=gelu_tanh", width(x)));
}

// x * sigmoid(alpha * x)
Status Lowering::emit_quick_gelu(const Node& node) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  TG_ASSIGN(f32 alpha, real(node, "alpha", 1.702f));
  std::string code = fmt::format("code=(x0 x0 {} mul sigmoid mul)", alpha);
  if (alpha < 0) return unsupported(node, fmt::format("alpha={}, expected 0 or more", alpha));
  return define_hidden(node, 0, emit("ew", {value_ref(x)}, std::move(code), width(x)));
}

Status Lowering::emit_swish(const Node& node) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  TG_ASSIGN(f32 alpha, real(node, "alpha", 1.0f));
  if (alpha != 1.0f) return unsupported(node, fmt::format("alpha={}, expected 1", alpha));
  return define_hidden(node, 0, emit("act", {value_ref(x)}, "act=silu", width(x)));
}

Result<Ref> Lowering::norm_row(const Node& node, std::size_t i, i64 width) {
  TG_ASSIGN(i32 weight, row(node, i, width));
  return weight_ref(weight);
}

// "eps=1e-05"
Result<std::string> Lowering::epsilon(const Node& node, f32 fallback) const {
  TG_ASSIGN(f32 value, real(node, "epsilon", fallback));
  if (value < 0) return unsupported(node, fmt::format("epsilon={}, expected 0 or more", value));
  return fmt::format("eps={}", value);
}

Status Lowering::emit_norm(const Node& node) {
  TG_ASSIGN(const Entry* x, hidden_entry(node, 0));
  i32 value = x->value;
  i64 group = x->group;
  bool is_rms = node.op != "LayerNormalization";
  TG_ASSIGN(i64 axis, integer(node, "axis", -1));
  TG_ASSIGN(std::string attributes, epsilon(node, 1e-5f));
  if (axis != -1 && axis != 2)
    return unsupported(node, fmt::format("axis={}, expected the last", axis));
  if (group != 0 && !is_rms) return unsupported(node, "a LayerNormalization per head is not read");
  std::vector<Ref> in = {value_ref(value)};
  for (std::size_t i = 1; i < node.inputs.size(); ++i) {
    TG_ASSIGN(Ref weight, norm_row(node, i, group != 0 ? group : width(value)));
    in.push_back(weight);
  }
  TG_TRY(no_output(node, 1));
  TG_TRY(no_output(node, 2));
  if (group != 0) attributes += fmt::format(" group={}", group);
  i32 out =
      emit(is_rms ? "rmsnorm" : "layernorm", std::move(in), std::move(attributes), width(value));
  return define_hidden(node, 0, out, group);
}

// norm(x + skip [+ bias]), and the sum itself as output 3.
Status Lowering::emit_skip_norm(const Node& node) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  TG_ASSIGN(i32 skip, hidden(node, 1));
  TG_ASSIGN(std::string attributes, epsilon(node, 1e-12f));
  bool is_rms = node.op == "SkipSimplifiedLayerNormalization";
  std::size_t bias = is_rms ? 3 : 4;
  if (width(x) != width(skip))
    return invalid(node, fmt::format("{} columns and {}", width(x), width(skip)));
  i32 sum = emit("add", {value_ref(x), value_ref(skip)}, "", width(x));
  if (!node.input(bias).empty()) {
    TG_ASSIGN(Ref weight, norm_row(node, bias, width(x)));
    sum = emit("add", {value_ref(sum), weight}, "", width(x));
  }
  std::vector<Ref> in = {value_ref(sum)};
  for (std::size_t i = 2; i < bias && i < node.inputs.size(); ++i) {
    if (node.input(i).empty()) continue;
    TG_ASSIGN(Ref weight, norm_row(node, i, width(x)));
    in.push_back(weight);
  }
  TG_TRY(no_output(node, 1));
  TG_TRY(no_output(node, 2));
  i32 out = emit(is_rms ? "rmsnorm" : "layernorm", std::move(in), std::move(attributes), width(x));
  TG_TRY(define_hidden(node, 0, out));
  return define_hidden(node, 3, sum);
}

}  // namespace tg::onnx
