// For tests: small decoders as onnxruntime-genai's builder writes them (names, order and forms of
// its nodes), with weights that are a function of their names, so that another route can be given
// the same ones.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "base/bytes.h"
#include "isa/codec.h"
#include "model/onnx/testing/proto_writer.h"

namespace tg::onnx::testing {

struct TinyDecoder {
  i64 layers = 2;
  i64 width = 64;
  i64 heads = 4;
  i64 kv_heads = 2;
  i64 head = 16;
  i64 ffn = 96;
  i64 vocabulary = 80;
  i64 positions = 64;  // rows of the rotary tables
  i64 window = -1;
  bool is_f16 = false;             // weights and tables
  bool has_bias = false;           // of q, k and v (Qwen 2)
  bool has_qk_norm = false;        // per head (Qwen 3)
  bool has_separate_rope = false;  // RotaryEmbedding nodes
  bool is_packed = false;          // one product for q, k and v (Phi 3)
  bool is_tied = false;            // head and embedding share a table
  i64 bits = 0;                    // 4 or 8: MatMulNBits
  i64 block = 32;
  bool has_zeros = false;  // zero points
  bool has_f16_scales = true;
};

// What a weight was made as: rows of outputs, [N,K], the values that the file means.
using Weights = std::map<std::string, std::vector<f32>>;

class GenaiGraph {
 public:
  explicit GenaiGraph(const TinyDecoder& d) : d_(d) { build(); }

  MadeModel model;
  Weights weights;

 private:
  using Names = std::vector<std::string>;

  static MadeAttribute integer(std::string name, i64 value) {
    return {.name = std::move(name), .integer = value};
  }
  static MadeAttribute real(std::string name, f32 value) {
    return {.name = std::move(name), .real = value};
  }

  void node(std::string op, std::string name, Names inputs, Names outputs,
            std::vector<MadeAttribute> attributes = {}, std::string domain = "") {
    model.nodes.push_back({.op = std::move(op),
                           .name = std::move(name),
                           .inputs = std::move(inputs),
                           .outputs = std::move(outputs),
                           .attributes = std::move(attributes),
                           .domain = std::move(domain)});
  }
  // A node of one output, whose name is returned.
  std::string one(std::string op, const std::string& name, Names inputs,
                  std::vector<MadeAttribute> attributes = {}, std::string domain = "") {
    node(std::move(op), name, std::move(inputs), {name + "/output_0"}, std::move(attributes),
         std::move(domain));
    return name + "/output_0";
  }

  ElementType float_type() const { return d_.is_f16 ? ElementType::kFloat16 : ElementType::kFloat; }

  void append(std::vector<u8>& out, f32 value, ElementType type) {
    if (type == ElementType::kFloat) {
      append_u32(out, std::bit_cast<u32>(value));
    } else {
      append_u16(out, isa::f16_from_f32(value));
    }
  }
  std::string floats(const std::string& name, std::vector<i64> dims, const std::vector<f32>& values,
                     ElementType type) {
    MadeTensor& t = model.tensors.emplace_back();
    t.name = name;
    t.type = type;
    t.dims = std::move(dims);
    for (f32 value : values) append(t.data, value, type);
    return name;
  }
  // A constant as the builder names and makes it.
  std::string constant(const std::string& text, std::vector<i64> dims,
                       const std::vector<i64>& values) {
    std::string name = "/model/constants/INT64/" + text;
    for (const MadeNode& n : model.nodes)
      if (n.outputs[0] == name) return name;
    MadeTensor t{.name = name, .type = ElementType::kInt64, .dims = std::move(dims)};
    for (i64 value : values) append_u64(t.data, static_cast<u64>(value));
    MadeAttribute value{.name = "value"};
    value.tensor = t;
    node("Constant", "/model/constant_nodes/INT64/" + text, {}, {name}, {value});
    return name;
  }

  // Gaussian values by name; those of a norm are around 1.
  const std::vector<f32>& make(const std::string& name, i64 count, f32 mean, f32 deviation) {
    std::vector<f32>& out = weights[name];
    if (!out.empty()) return out;
    u32 seed = 2'166'136'261u;
    for (char c : name) seed = (seed ^ static_cast<u8>(c)) * 16'777'619u;
    std::mt19937 random(seed);
    std::normal_distribution<f32> spread(mean, deviation);
    for (i64 i = 0; i < count; ++i) {
      f32 value = spread(random);
      out.push_back(d_.is_f16 ? isa::f32_from_f16(isa::f16_from_f32(value)) : value);
    }
    return out;
  }
  // The parts' rows, one after the other (a packed product).
  std::vector<f32> joined(const Names& parts) {
    std::vector<f32> out;
    for (const std::string& part : parts)
      out.insert(out.end(), weights.at(part).begin(), weights.at(part).end());
    return out;
  }

  std::string norm_weight(const std::string& name, i64 count) {
    return floats(name, {count}, make(name, count, 1.0f, 0.1f), float_type());
  }

  // x times the matrix [n,k] whose rows are `rows`; stored as MatMul or MatMulNBits has it.
  std::string product(const std::string& base, const std::string& x, std::vector<f32>& rows, i64 n,
                      i64 k, const std::string& output = "");
  void quantize(const std::string& dotted, std::vector<f32>& rows, i64 n, i64 k, Names& inputs);
  std::string linear(const std::string& path, const std::string& x, i64 n, i64 k);
  std::string packed(const std::string& path, const std::string& x);

  void build();
  void graph_values();
  void lengths();
  std::string embedding();
  void rotary_tables();
  std::string attention(i64 layer, const std::string& x);
  std::string per_head(const std::string& path, const std::string& x, i64 heads);
  std::string feed_forward(i64 layer, const std::string& x);
  void head(const std::string& x);

  TinyDecoder d_;
  std::string last_index_, total_;
};

inline std::string dotted(const std::string& path) {
  std::string out = path.substr(1);
  for (char& c : out)
    if (c == '/') c = '.';
  return out;
}

inline void GenaiGraph::quantize(const std::string& base, std::vector<f32>& rows, i64 n, i64 k,
                                 Names& inputs) {
  i64 blocks = (k + d_.block - 1) / d_.block;
  MadeTensor codes{.name = base + ".qweight", .type = ElementType::kUint8};
  codes.dims = {n, blocks, d_.block * d_.bits / 8};
  codes.data.resize(static_cast<std::size_t>(n * blocks * d_.block * d_.bits / 8));
  std::vector<f32> scales;
  MadeTensor zeros{.name = base + ".qzeros", .type = ElementType::kUint8};
  i64 zero_row = d_.bits == 4 ? (blocks + 1) / 2 : blocks;
  zeros.dims = {n * zero_row};
  zeros.data.resize(static_cast<std::size_t>(n * zero_row));
  int middle = d_.bits == 4 ? 8 : 128;
  for (i64 row = 0; row < n; ++row) {
    for (i64 b = 0; b < blocks; ++b) {
      f32 largest = 0;
      i64 end = std::min(k, (b + 1) * d_.block);
      for (i64 c = b * d_.block; c < end; ++c)
        largest = std::max(largest, std::abs(rows[static_cast<std::size_t>(row * k + c)]));
      f32 scale = largest / static_cast<f32>(middle - 1);
      if (d_.has_f16_scales) scale = isa::f32_from_f16(isa::f16_from_f32(scale));
      scales.push_back(scale);
      int zero = d_.has_zeros ? middle - 2 + static_cast<int>((row + b) % 4) : middle;
      std::size_t z = static_cast<std::size_t>(row * zero_row + (d_.bits == 4 ? b / 2 : b));
      zeros.data[z] |= static_cast<u8>(d_.bits == 4 && b % 2 == 1 ? zero << 4 : zero);
      for (i64 c = b * d_.block; c < end; ++c) {
        f32& w = rows[static_cast<std::size_t>(row * k + c)];
        int code = std::clamp(static_cast<int>(std::lrint(w / scale)) + zero, 0, 2 * middle - 1);
        w = static_cast<f32>(code - zero) * scale;
        i64 at = row * blocks * d_.block + c;
        u8& byte = codes.data[static_cast<std::size_t>(d_.bits == 4 ? at / 2 : at)];
        byte |= static_cast<u8>(d_.bits == 4 && at % 2 == 1 ? code << 4 : code);
      }
    }
  }
  inputs.push_back(codes.name);
  model.tensors.push_back(std::move(codes));
  inputs.push_back(floats(base + ".scales", {n, blocks}, scales,
                          d_.has_f16_scales ? ElementType::kFloat16 : ElementType::kFloat));
  if (!d_.has_zeros) return;
  inputs.push_back(zeros.name);
  model.tensors.push_back(std::move(zeros));
}

inline std::string GenaiGraph::product(const std::string& base, const std::string& x,
                                       std::vector<f32>& rows, i64 n, i64 k,
                                       const std::string& output) {
  std::string name = base + (d_.bits > 0 ? "NBits" : "");
  std::string result = output.empty() ? name + "/output_0" : output;
  Names inputs = {x};
  if (d_.bits > 0) {
    quantize(dotted(name), rows, n, k, inputs);
    node("MatMulNBits", name, inputs, {result},
         {integer("accuracy_level", 0), integer("bits", d_.bits), integer("block_size", d_.block),
          integer("K", k), integer("N", n)},
         "com.microsoft");
    return result;
  }
  std::vector<f32> columns(rows.size());
  for (i64 i = 0; i < n; ++i)
    for (i64 j = 0; j < k; ++j)
      columns[static_cast<std::size_t>(j * n + i)] = rows[static_cast<std::size_t>(i * k + j)];
  inputs.push_back(floats(dotted(base) + ".weight", {k, n}, columns, float_type()));
  node("MatMul", name, inputs, {result});
  return result;
}

// "/model/layers.0/attn/q_proj", with its bias if the decoder has them.
inline std::string GenaiGraph::linear(const std::string& path, const std::string& x, i64 n, i64 k) {
  std::string key = dotted(path);
  make(key, n * k, 0.0f, 0.15f);
  std::string y = product(path + "/MatMul", x, weights[key], n, k);
  bool is_qkv = path.ends_with("/q_proj") || path.ends_with("/k_proj") || path.ends_with("/v_proj");
  if (!d_.has_bias || !is_qkv) return y;
  std::string bias = key + ".Add.bias";
  floats(bias, {n}, make(bias, n, 0.0f, 0.1f), float_type());
  return one("Add", path + "/Add", {y, bias});
}

inline std::string GenaiGraph::packed(const std::string& path, const std::string& x) {
  std::string base = dotted(path);
  Names parts = {base + ".q_proj", base + ".k_proj", base + ".v_proj"};
  i64 counts[] = {d_.heads * d_.head, d_.kv_heads * d_.head, d_.kv_heads * d_.head};
  i64 rows = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    make(parts[i], counts[i] * d_.width, 0.0f, 0.15f);
    rows += counts[i];
  }
  std::vector<f32> all = joined(parts);
  std::string y = product(path + "/qkv_proj/MatMul", x, all, rows, d_.width);
  std::size_t at = 0;
  for (const std::string& part : parts)
    for (f32& w : weights[part]) w = all[at++];
  if (!d_.has_bias) return y;
  Names biases;
  for (std::size_t i = 0; i < 3; ++i) {
    biases.push_back(parts[i] + ".Add.bias");
    make(biases[i], counts[i], 0.0f, 0.1f);
  }
  std::string bias = floats(base + ".qkv_proj.Add.bias", {rows}, joined(biases), float_type());
  return one("Add", path + "/qkv_proj/Add", {y, bias});
}

inline void GenaiGraph::graph_values() {
  ElementType ids = ElementType::kInt64;
  model.inputs = {{"input_ids", ids, {-1, -1}}, {"attention_mask", ids, {-1, -1}}};
  if (d_.has_separate_rope) model.inputs.push_back({"position_ids", ids, {-1, -1}});
  model.outputs = {{"logits", float_type(), {-1, -1, d_.vocabulary}}};
  for (i64 layer = 0; layer < d_.layers; ++layer) {
    for (std::string_view part : {"key", "value"}) {
      std::vector<i64> dims = {-1, d_.kv_heads, -1, d_.head};
      model.inputs.push_back(
          {fmt::format("past_key_values.{}.{}", layer, part), float_type(), dims});
      model.outputs.push_back({fmt::format("present.{}.{}", layer, part), float_type(), dims});
    }
  }
}

// seqlens_k and total_sequence_length out of the mask.
inline void GenaiGraph::lengths() {
  std::string base = "/model/attn_mask_reformat/attn_mask_subgraph";
  std::string one_1d = constant("[1]", {1}, {1});
  std::string sum =
      one("ReduceSum", base + "/ReduceSum", {"attention_mask", one_1d}, {integer("keepdims", 0)});
  std::string less = one("Sub", base + "/Sub", {sum, one_1d});
  last_index_ = one("Cast", base + "/Sub/Cast", {less}, {integer("to", 6)});
  std::string shape = one("Shape", base + "/Shape", {"attention_mask"});
  std::string total =
      one("Gather", base + "/Gather", {shape, constant("1", {}, {1})}, {integer("axis", 0)});
  total_ = one("Cast", base + "/Gather/Cast", {total}, {integer("to", 6)});
}

inline std::string GenaiGraph::embedding() {
  std::string name = "model.embed_tokens.weight";
  i64 count = d_.vocabulary * d_.width;
  if (!d_.is_tied) {
    floats(name, {d_.vocabulary, d_.width}, make(name, count, 0.0f, 0.5f), float_type());
    return one("Gather", "/model/embed_tokens/Gather", {name, "input_ids"});
  }
  make(name, count, 0.0f, 0.5f);
  if (d_.bits > 0) {
    i64 row_bytes = d_.width * d_.bits / 8;
    std::string codes = one(
        "Reshape", "/model/embed_tokens/Reshape",
        {"lm_head.MatMulNBits.qweight", constant(fmt::format("[{}, {}]", d_.vocabulary, row_bytes),
                                                 {2}, {d_.vocabulary, row_bytes})});
    Names inputs = {codes, "input_ids", "lm_head.MatMulNBits.scales"};
    if (d_.has_zeros) inputs.push_back("lm_head.MatMulNBits.qzeros");
    return one("GatherBlockQuantized", "/model/embed_tokens/GatherBlockQuantized", inputs,
               {integer("bits", d_.bits), integer("block_size", d_.block),
                integer("gather_axis", 0), integer("quantize_axis", 1)},
               "com.microsoft");
  }
  // The head's matrix, transposed.
  std::string table = one("Transpose", "/model/embed_tokens/Transpose", {"lm_head.MatMul.weight"},
                          {{.name = "perm", .integers = {1, 0}}});
  return one("Gather", "/model/embed_tokens/Gather", {table, "input_ids"});
}

inline void GenaiGraph::rotary_tables() {
  std::vector<f32> cos, sin;
  for (i64 p = 0; p < d_.positions; ++p) {
    for (i64 i = 0; i < d_.head / 2; ++i) {
      f32 f = static_cast<f32>(
          std::pow(10'000.0, -2.0 * static_cast<f64>(i) / static_cast<f64>(d_.head)));
      f32 angle = static_cast<f32>(p) * f;
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
  }
  floats("cos_cache", {d_.positions, d_.head / 2}, cos, float_type());
  floats("sin_cache", {d_.positions, d_.head / 2}, sin, float_type());
}

// Reshape to heads, norm, reshape back.
inline std::string GenaiGraph::per_head(const std::string& path, const std::string& x, i64 heads) {
  std::string to = fmt::format("[0, -1, {}]", d_.head);
  std::string back = fmt::format("[0, -1, {}]", heads * d_.head);
  std::string y = one("Reshape", path + "/Reshape_1", {x, constant(to, {3}, {0, -1, d_.head})});
  std::string weight = norm_weight(dotted(path) + ".layernorm.weight", d_.head);
  y = one("SimplifiedLayerNormalization", path + "/SimplifiedLayerNormalization", {y, weight},
          {real("epsilon", 1e-5f), integer("axis", -1), integer("stash_type", 1)});
  return one("Reshape", path + "/Reshape_2", {y, constant(back, {3}, {0, -1, heads * d_.head})});
}

inline std::string GenaiGraph::attention(i64 layer, const std::string& x) {
  std::string path = fmt::format("/model/layers.{}/attn", layer);
  i64 q_width = d_.heads * d_.head;
  i64 kv_width = d_.kv_heads * d_.head;
  std::string q, k, v;
  if (d_.is_packed) {
    q = packed(path, x);
  } else {
    q = linear(path + "/q_proj", x, q_width, d_.width);
    k = linear(path + "/k_proj", x, kv_width, d_.width);
    v = linear(path + "/v_proj", x, kv_width, d_.width);
  }
  if (d_.has_qk_norm) {
    q = per_head(path + "/q_norm", q, d_.heads);
    k = per_head(path + "/k_norm", k, d_.kv_heads);
  }
  if (d_.has_separate_rope) {
    for (std::string* part : {&q, &k})
      *part = one(
          "RotaryEmbedding",
          path + (part == &q ? "/q_rotary/RotaryEmbedding" : "/k_rotary/RotaryEmbedding"),
          {*part, "position_ids", "cos_cache", "sin_cache"},
          {integer("interleaved", 0), integer("num_heads", 0), integer("rotary_embedding_dim", 0)},
          "com.microsoft");
  }
  bool rotates = !d_.has_separate_rope;
  std::string past = fmt::format("past_key_values.{}", layer);
  std::string present = fmt::format("present.{}", layer);
  std::string name = path + "/GroupQueryAttention";
  node("GroupQueryAttention", name,
       {q, k, v, past + ".key", past + ".value", last_index_, total_, rotates ? "cos_cache" : "",
        rotates ? "sin_cache" : "", "", "", ""},
       {name + "/output_0", present + ".key", present + ".value"},
       {integer("num_heads", d_.heads), integer("kv_num_heads", d_.kv_heads),
        real("scale", 1 / std::sqrt(static_cast<f32>(d_.head))),
        integer("local_window_size", d_.window), real("softcap", 0.0f),
        integer("do_rotary", rotates ? 1 : 0), integer("rotary_interleaved", 0)},
       "com.microsoft");
  return linear(path + "/o_proj", name + "/output_0", d_.width, q_width);
}

inline std::string GenaiGraph::feed_forward(i64 layer, const std::string& x) {
  std::string path = fmt::format("/model/layers.{}/mlp", layer);
  std::string gate = linear(path + "/gate_proj", x, d_.ffn, d_.width);
  std::string up = linear(path + "/up_proj", x, d_.ffn, d_.width);
  std::string sigmoid = one("Sigmoid", path + "/act_fn/Sigmoid", {gate});
  std::string silu = one("Mul", path + "/act_fn/Mul", {gate, sigmoid});
  std::string product = one("Mul", path + "/Mul", {silu, up});
  return linear(path + "/down_proj", product, d_.width, d_.ffn);
}

inline void GenaiGraph::head(const std::string& x) {
  std::string key = d_.is_tied ? "model.embed_tokens.weight" : "lm_head";
  make(key, d_.vocabulary * d_.width, 0.0f, 0.15f);
  product("/lm_head/MatMul", x, weights[key], d_.vocabulary, d_.width, "logits");
}

inline void GenaiGraph::build() {
  graph_values();
  lengths();
  rotary_tables();
  std::string residual = embedding();
  std::string added;
  for (i64 i = 0; i <= 2 * d_.layers; ++i) {
    i64 layer = i / 2;
    bool is_last = i == 2 * d_.layers;
    std::string location = is_last ? "final_norm" : i % 2 == 0 ? "input" : "post_attention";
    std::string base = fmt::format("model.layers.{}.{}_layernorm", layer, location);
    std::string path = fmt::format("/model/layers.{}/{}_layernorm", layer, location);
    std::string weight = norm_weight(base + ".weight", d_.width);
    std::string normed = path + "/output_0";
    if (added.empty()) {
      node("SimplifiedLayerNormalization", path + "/LayerNorm", {residual, weight}, {normed},
           {real("epsilon", 1e-5f), integer("axis", -1), integer("stash_type", 1)});
    } else {
      Names outputs = {normed};
      if (!is_last) outputs = {normed, "", "", path + "/output_3"};
      node("SkipSimplifiedLayerNormalization", path + "/SkipLayerNorm", {residual, added, weight},
           outputs, {real("epsilon", 1e-5f)}, "com.microsoft");
      residual = path + "/output_3";
    }
    if (is_last) {
      head(normed);
    } else {
      added = i % 2 == 0 ? attention(layer, normed) : feed_forward(layer, normed);
    }
  }
}

}  // namespace tg::onnx::testing
