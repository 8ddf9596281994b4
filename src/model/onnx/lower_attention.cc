// Attention un-fused: GroupQueryAttention becomes views of a packed product, norms per head, rope,
// kv_append and attn. Lengths come from the batch; the graph's own are only checked to be what the
// builder derives from the mask.
#include <fmt/format.h>

#include <cmath>

#include "model/onnx/lowering.h"
#include "model/onnx/rotary_cache.h"

namespace tg::onnx {
namespace {

// Inputs of GroupQueryAttention.
enum GqaInput : std::size_t {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kLastIndex,
  kTotal,
  kCos,
  kSin,
  kPositions,
  kBias,
  kSinks,
  kKeyScale,
  kValueScale,
  kQueryNorm,
  kKeyNorm,
};

}  // namespace

// Rotates x [.., heads * head]. The tables' columns say how much of a head is rotated.
Result<i32> Lowering::rotate(const Node& node, i32 x, std::size_t cos, i64 heads,
                             bool is_interleaved) {
  TG_ASSIGN(const Tensor* cosines, tensor(node, cos));
  TG_ASSIGN(const Tensor* sines, tensor(node, cos + 1));
  std::pair<const Tensor*, const Tensor*> key(cosines, sines);
  if (!rotary_.contains(key)) {
    Result<RotaryTable> table = recover_rotary(*cosines, *sines);
    if (!table.ok()) return table.error();
    draft_.positions_max = std::max(draft_.positions_max, table->positions);
    i32 index = constant({.name = "invf", .values = table->inverse_frequencies});
    rotary_[key] = {index, table->magnitude};
  }
  std::pair<i32, f32> table = rotary_[key];
  i64 rotated = 2 * cosines->dims[1];
  if (width(x) % heads != 0 || rotated > width(x) / heads)
    return invalid(node,
                   fmt::format("rotates {} of {} columns in {} heads", rotated, width(x), heads));
  std::string attributes =
      fmt::format("style={} heads={} rot={}", is_interleaved ? "gptj" : "neox", heads, rotated);
  if (table.second != 1.0f) attributes += fmt::format(" mscale={}", table.second);
  return emit("rope", {value_ref(x), parameter_ref("%pos"), constant_ref(table.first)},
              std::move(attributes), width(x));
}

// com.microsoft: (x, position_ids, cos, sin). ai.onnx: (x, cos, sin, position_ids).
Status Lowering::emit_rotary(const Node& node) {
  bool is_standard = node.domain.empty();
  TG_TRY(integer_in(node, "is_packed_batching", 0, 0, 0));
  TG_ASSIGN(f32 scale, real(node, "scale", 1.0f));
  if (scale != 1.0f) return unsupported(node, fmt::format("scale={}, expected 1", scale));
  return rotary_node(node, is_standard ? 1 : 2, is_standard ? 3 : 1);
}

Status Lowering::rotary_node(const Node& node, std::size_t cos, std::size_t positions) {
  TG_ASSIGN(i32 x, hidden(node, 0));
  TG_ASSIGN(const Entry* ids, find(node, positions));
  if (ids->kind != Entry::Kind::kPositions)
    return unsupported(node, "its positions are not position_ids");
  TG_ASSIGN(const Tensor* cosines, tensor(node, cos));
  TG_ASSIGN(i64 interleaved, integer_in(node, "interleaved", 0, 0, 1));
  TG_ASSIGN(i64 rotated, integer_in(node, "rotary_embedding_dim", 0, 0, 2 * kRotaryPairsMax));
  TG_ASSIGN(i64 heads, integer_in(node, "num_heads", 0, 0, kHeadsMax));
  i64 columns = cosines->dims.size() == 2 ? 2 * cosines->dims[1] : 0;
  if (columns < 2 || columns > 2 * kRotaryPairsMax || (rotated != 0 && rotated != columns))
    return invalid(node, fmt::format("rotary_embedding_dim={} with tables {}", rotated,
                                     dims_text(cosines->dims)));
  if (heads == 0 && rotated != 0 && width(x) % rotated != 0)
    return invalid(node, "num_heads is missing");
  // Without a number of heads the tables are as wide as a head.
  if (heads == 0) heads = width(x) / columns;
  if (heads < 1) return invalid(node, "its tables are wider than its input");
  TG_ASSIGN(i32 out, rotate(node, x, cos, heads, interleaved == 1));
  return define_hidden(node, 0, out);
}

Status Lowering::check_lengths(const Node& node) const {
  using Meaning = Integer::Meaning;
  TG_ASSIGN(std::vector<Integer> last, integers(node, kLastIndex));
  TG_ASSIGN(std::vector<Integer> total, integers(node, kTotal));
  if (last != std::vector<Integer>{{Meaning::kLastIndex}})
    return unsupported(node, "seqlens_k is not ReduceSum(attention_mask) - 1");
  if (total != std::vector<Integer>{{Meaning::kTotal}})
    return unsupported(node, "total_sequence_length is not the length of attention_mask");
  if (!node.input(kPositions).empty()) {
    TG_ASSIGN(const Entry* positions, find(node, kPositions));
    if (positions->kind != Entry::Kind::kPositions)
      return unsupported(node, "its positions are not position_ids");
  }
  if (!node.input(kBias).empty()) return unsupported(node, "attention_bias is not read");
  return {};
}

// The engine chooses the cache's format; a file that quantises its own is another model.
Status Lowering::check_cache_types(const Node& node) const {
  for (std::string_view name : {"k_quant_type", "v_quant_type"}) {
    const Attribute* attribute = node.find(name);
    if (attribute != nullptr && attribute->text.value_or("") != "NONE")
      return unsupported(node, "a quantised cache is not read");
  }
  if (!node.input(kKeyScale).empty() || !node.input(kValueScale).empty())
    return unsupported(node, "a quantised cache is not read");
  TG_TRY(integer_in(node, "qk_output", 0, 0, 0));
  return no_output(node, 3);
}

Result<i64> Lowering::cache_layer(const Node& node) {
  TG_ASSIGN(const Entry* key, find(node, kPastKey));
  TG_ASSIGN(const Entry* value, find(node, kPastValue));
  bool is_pair = key->kind == Entry::Kind::kPast && value->kind == Entry::Kind::kPast &&
                 key->layer == value->layer && !key->is_value && value->is_value;
  if (!is_pair) return unsupported(node, "its past is not one layer's past_key_values");
  i64 layer = key->layer;
  if (static_cast<i64>(layers_.size()) <= layer)
    layers_.resize(static_cast<std::size_t>(layer) + 1);
  if (layers_[static_cast<std::size_t>(layer)])
    return unsupported(node, fmt::format("layer {} has attention twice", layer));
  layers_[static_cast<std::size_t>(layer)] = true;
  Entry present{.kind = Entry::Kind::kPresent, .layer = layer};
  TG_TRY(define(node, 1, present));
  present.is_value = true;
  TG_TRY(define(node, 2, present));
  return layer;
}

Status Lowering::set_cache(const Node& node, i64 heads, i64 width) {
  for (std::size_t input : {kPastKey, kPastValue}) {
    TG_ASSIGN(const Entry* past, find(node, input));
    bool fits = (past->dims[1] < 0 || past->dims[1] == heads) &&
                (past->dims[3] < 0 || past->dims[3] == width);
    if (!fits)
      return invalid(node, fmt::format("{} is {}, its heads are {} of {}", quote(node.input(input)),
                                       dims_text(past->dims), heads, width));
  }
  CacheShape& cache = draft_.cache;
  if (cache.width != 0 && (cache.heads != heads || cache.width != width))
    return unsupported(node, fmt::format("{} heads of {}, other layers have {} of {}", heads, width,
                                         cache.heads, cache.width));
  cache.heads = heads;
  cache.width = width;
  return {};
}

Status Lowering::emit_attention(const Node& node) {
  if (is_pruned_) return unsupported(node, "attention of the last token alone is not read");
  TG_TRY(check_lengths(node));
  TG_TRY(check_cache_types(node));
  TG_ASSIGN(i64 heads, integer_in(node, "num_heads", 0, 1, kHeadsMax));
  TG_ASSIGN(i64 kv_heads, integer_in(node, "kv_num_heads", 0, 1, kHeadsMax));
  TG_ASSIGN(i32 q, hidden(node, kQuery));
  bool is_packed = node.input(kKey).empty() && node.input(kValue).empty();
  i64 all_heads = is_packed ? heads + 2 * kv_heads : heads;
  i64 head = width(q) / all_heads;
  if (width(q) % all_heads != 0)
    return invalid(node, fmt::format("{} columns in {} heads", width(q), all_heads));
  i32 k = q;
  i32 v = q;
  if (is_packed) {
    i32 packed = q;
    q = emit("view", {value_ref(packed)}, "", heads * head);
    k = emit("view", {value_ref(packed)}, fmt::format("offset={}", heads * head), kv_heads * head);
    v = emit("view", {value_ref(packed)}, fmt::format("offset={}", (heads + kv_heads) * head),
             kv_heads * head);
  } else {
    TG_ASSIGN(k, hidden(node, kKey));
    TG_ASSIGN(v, hidden(node, kValue));
    if (width(k) != kv_heads * head || width(v) != kv_heads * head)
      return invalid(node, fmt::format("keys of {} and values of {} columns, expected {}", width(k),
                                       width(v), kv_heads * head));
  }
  TG_TRY(set_cache(node, kv_heads, head));
  if (!node.input(kQueryNorm).empty() || !node.input(kKeyNorm).empty()) {
    TG_ASSIGN(f32 epsilon, real(node, "qk_norm_epsilon", 1e-6f));
    std::string attributes = fmt::format("eps={} group={}", epsilon, head);
    TG_ASSIGN(Ref q_norm, norm_row(node, kQueryNorm, head));
    TG_ASSIGN(Ref k_norm, norm_row(node, kKeyNorm, head));
    q = emit("rmsnorm", {value_ref(q), q_norm}, attributes, width(q));
    k = emit("rmsnorm", {value_ref(k), k_norm}, attributes, width(k));
  }
  TG_ASSIGN(i64 rotary, integer_in(node, "do_rotary", 0, 0, 1));
  TG_ASSIGN(i64 interleaved, integer_in(node, "rotary_interleaved", 0, 0, 1));
  if (rotary == 1) {
    TG_ASSIGN(q, rotate(node, q, kCos, heads, interleaved == 1));
    TG_ASSIGN(k, rotate(node, k, kCos, kv_heads, interleaved == 1));
  }
  return attend(node, {.q = q, .k = k, .v = v, .heads = heads, .head = head});
}

Status Lowering::attend(const Node& node, const Heads& x) {
  TG_ASSIGN(f32 scale, real(node, "scale", 0.0f));
  TG_ASSIGN(f32 softcap, real(node, "softcap", 0.0f));
  TG_ASSIGN(i64 window, integer_in(node, "local_window_size", -1, -1, i64{1} << 27));
  TG_ASSIGN(i64 smooth, integer_in(node, "smooth_softmax", 0, -1, 1));
  if (window == 0) return unsupported(node, "local_window_size=0, expected -1 or more than 0");
  if (softcap < 0) return unsupported(node, fmt::format("softcap={}, expected 0 or more", softcap));
  if (scale == 0.0f) scale = static_cast<f32>(1 / std::sqrt(static_cast<f64>(x.head)));
  TG_ASSIGN(i64 layer, cache_layer(node));
  std::vector<Ref> in = {value_ref(x.q), cache_ref(layer), parameter_ref("%bt")};
  if (!node.input(kSinks).empty()) {
    TG_ASSIGN(Ref sinks, norm_row(node, kSinks, x.heads));
    in.push_back(sinks);
  } else if (smooth == 1) {
    // One is added to each sum of the softmax: a sink of score 0.
    in.push_back(constant_ref(constant(
        {.name = "sinks", .values = std::vector<f32>(static_cast<std::size_t>(x.heads))})));
  }
  draft_.steps.push_back(
      {.op = "kv_append",
       .in = {cache_ref(layer), value_ref(x.k), value_ref(x.v), parameter_ref("%bt")}});
  std::string attributes = fmt::format("heads={} mask=causal scale={}", x.heads, scale);
  if (softcap > 0) attributes += fmt::format(" softcap={}", softcap);
  i32 out = emit("attn", std::move(in), std::move(attributes), x.heads * x.head);
  draft_.steps.back().window = std::max<i64>(window, 0);
  return define_hidden(node, 0, out);
}

}  // namespace tg::onnx
