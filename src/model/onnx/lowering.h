// The state of lower(): what every name of the graph stands for. Its methods are spread over three
// files by what they lower: values and shapes, arithmetic, attention.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/onnx/lower.h"

namespace tg::onnx {

// An integer that the graph computes about sizes. The builder derives GroupQueryAttention's lengths
// from the attention mask; here they come from the batch, so such integers are followed by what
// they mean and then dropped.
struct Integer {
  enum class Meaning : u8 {
    kNumber,     // `number`
    kBatch,      // sequences
    kLength,     // new tokens
    kTotal,      // cached and new tokens: the mask's length
    kMaskSum,    // per sequence, the mask's ones
    kLastIndex,  // per sequence, that less one: seqlens_k
    kOther,
  };
  Meaning meaning = Meaning::kOther;
  i64 number = 0;
  friend bool operator==(const Integer&, const Integer&) = default;
};

// What a name of the graph stands for.
struct Entry {
  enum class Kind : u8 {
    kIds,        // input_ids
    kMask,       // attention_mask
    kPositions,  // position_ids
    kHidden,     // a value of the draft
    kTensor,     // an initializer or constant
    kBlocks,     // a matrix of quantised blocks (DequantizeLinear)
    kIntegers,
    kPast,     // past_key_values.N.key or .value
    kPresent,  // what GroupQueryAttention returns of them
  };
  Kind kind = Kind::kHidden;
  i32 value = -1;                  // kHidden
  i64 group = 0;                   // kHidden: last dimension if it is seen per head; 0: all columns
  bool is_last_row = false;        // kHidden: only the last token is left (prune_lm_head)
  const Tensor* tensor = nullptr;  // kTensor
  std::vector<i64> dims;           // kTensor: as last reshaped
  bool is_transposed = false;      // kTensor
  std::vector<Integer> integers;   // kIntegers
  i64 layer = 0;                   // kPast, kPresent
  bool is_value = false;           // kPast, kPresent: .value, not .key
};

class Lowering {
 public:
  Lowering(const File& file, WeightStore& weights) : file_(file), weights_(weights) {}
  Result<Draft> run();

 private:
  using Emit = Status (Lowering::*)(const Node&);
  // One row of the operator table.
  struct Rule {
    std::string_view op;
    std::string_view domains;  // "ai.onnx", "com.microsoft" or both
    i64 inputs_min;
    i64 inputs_max;
    std::string_view attributes;  // those that are understood
    Emit emit;
  };
  static const Rule* find_rule(std::string_view op);

  // lower.cc
  Status check_opsets() const;
  Status declare_inputs();
  Status declare_past(const ValueInfo& input);
  Status declare_tensors();
  Status node(const Node& node);
  Status check_form(const Node& node, const Rule& rule) const;
  Status finish();

  // Errors of a node.
  Error error(const Node& node, Code code, std::string_view message) const;
  Error unsupported(const Node& node, std::string_view message) const {
    return error(node, Code::kUnsupported, message);
  }
  Error invalid(const Node& node, std::string_view message) const {
    return error(node, Code::kInvalid, message);
  }

  // Attributes, with the operator's own default.
  Result<i64> integer(const Node& node, std::string_view name, i64 fallback) const;
  Result<i64> integer_in(const Node& node, std::string_view name, i64 fallback, i64 min,
                         i64 max) const;
  Result<f32> real(const Node& node, std::string_view name, f32 fallback) const;

  // Operands.
  Result<const Entry*> find(const Node& node, std::size_t i) const;
  // A value of the draft whose columns are all seen (group 0).
  Result<i32> hidden(const Node& node, std::size_t i) const;
  Result<const Entry*> hidden_entry(const Node& node, std::size_t i) const;
  Result<const Tensor*> tensor(const Node& node, std::size_t i) const;
  Result<std::vector<Integer>> integers(const Node& node, std::size_t i) const;
  // Integers that are all known.
  Result<std::vector<i64>> numbers(const Node& node, std::size_t i) const;
  // An initializer that is one row of `width` columns, as a weight.
  Result<i32> row(const Node& node, std::size_t i, i64 width);
  bool is_hidden(const Node& node, std::size_t i) const;
  bool is_integral(const Node& node, std::size_t i) const;
  // The element of a float constant with one element.
  std::optional<f32> scalar(const Node& node, std::size_t i) const;

  // Results.
  Status define(const Node& node, std::size_t output, Entry entry);
  Status define_hidden(const Node& node, std::size_t output, i32 value, i64 group = 0);
  Status define_integers(const Node& node, std::vector<Integer> integers);
  // Outputs that we do not compute must have no name.
  Status no_output(const Node& node, std::size_t output) const;
  i32 emit(std::string op, std::vector<Ref> in, std::string attributes, i64 width);
  i32 constant(Constant constant);
  i64 width(i32 value) const { return draft_.widths[static_cast<std::size_t>(value)]; }

  // lower_values.cc
  Status emit_alias(const Node& node);
  Status emit_cast(const Node& node);
  Status emit_constant(const Node& node);
  Status emit_shape(const Node& node);
  Status emit_gather(const Node& node);
  Status gather_integer(const Node& node, const Entry& data);
  Status emit_squeeze(const Node& node);
  Status emit_concat(const Node& node);
  Status concat_integers(const Node& node);
  Status emit_reshape(const Node& node);
  Status reshape_hidden(const Node& node, const Entry& x, const std::vector<Integer>& shape);
  Status reshape_tensor(const Node& node, const Entry& x, const std::vector<Integer>& shape);
  Status emit_transpose(const Node& node);
  Status emit_split(const Node& node);
  Status emit_slice(const Node& node);
  Status emit_reduce_sum(const Node& node);
  Status emit_sub(const Node& node);
  Result<i64> last_axis(const Node& node, const Entry& x, i64 axis) const;

  // lower_math.cc
  Status embed(const Node& node, const Entry& table);
  Status emit_gather_blocks(const Node& node);
  Status emit_matmul(const Node& node);
  Status matmul_blocks(const Node& node, i32 x, const BlockMatrix& matrix);
  Status emit_matmul_blocks(const Node& node);
  Status emit_add(const Node& node);
  Status emit_mul(const Node& node);
  Status emit_div(const Node& node);
  Status emit_pow(const Node& node);
  Status emit_act(const Node& node);
  Status emit_gelu(const Node& node);
  Status emit_fast_gelu(const Node& node);
  Status emit_quick_gelu(const Node& node);
  Status emit_swish(const Node& node);
  Status emit_norm(const Node& node);
  Status emit_skip_norm(const Node& node);
  Result<std::string> epsilon(const Node& node, f32 fallback) const;
  Result<Ref> norm_row(const Node& node, std::size_t i, i64 width);

  // lower_attention.cc
  Status emit_rotary(const Node& node);
  Result<i32> rotate(const Node& node, i32 x, std::size_t cos, i64 heads, bool is_interleaved);
  Status rotary_node(const Node& node, std::size_t cos, std::size_t positions);
  Status emit_attention(const Node& node);
  // What an attention attends with: values, and the heads of the query.
  struct Heads {
    i32 q = -1;
    i32 k = -1;
    i32 v = -1;
    i64 heads = 0;
    i64 head = 0;  // columns of one
  };
  Status attend(const Node& node, const Heads& x);
  Status check_lengths(const Node& node) const;
  Status check_cache_types(const Node& node) const;
  Result<i64> cache_layer(const Node& node);
  Status set_cache(const Node& node, i64 heads, i64 width);

  const File& file_;
  WeightStore& weights_;
  std::map<std::string_view, Entry> entries_;
  std::deque<Tensor> made_;   // tensors that attributes spell out
  bool is_pruned_ = false;    // past the node that leaves only the last token
  std::vector<bool> layers_;  // that have had their attention
  std::map<std::pair<const Tensor*, const Tensor*>, std::pair<i32, f32>>
      rotary_;  // constant, mscale
  Draft draft_;
};

}  // namespace tg::onnx
