// Keys come under several names; the first that is present counts. Nested text_config is where
// multimodal models keep the language model.
#include "predict/model_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "env/disk.h"
#include "model/huggingface/config.h"

namespace tg::predict {

namespace {

using checkpoint::Config;
using checkpoint::Json;
using Keys = std::initializer_list<std::string_view>;

constexpr i64 kLayersMax = 4096;

// The language model's configuration with the outer one behind it.
class Source {
 public:
  Source(const Json& outer, std::string_view file) : outer_(outer, file), inner_(outer_) {
    const Json* text = outer_.find("text_config");
    if (text != nullptr && text->kind == Json::Kind::kObject)
      inner_ = Config(*text, file, "text_config.");
  }

  const Json* find(std::string_view key) const {
    const Json* value = inner_.find(key);
    return value != nullptr ? value : outer_.find(key);
  }
  // `otherwise` if none of the keys is there or holds a number.
  Result<i64> integer_or(Keys keys, i64 otherwise) const {
    for (std::string_view key : keys) {
      const Config& config = inner_.has(key) ? inner_ : outer_;
      if (config.has(key)) return config.integer(key, 0);
    }
    return otherwise;
  }
  Result<i64> integer(std::string_view key) const {
    const Config& config = inner_.has(key) ? inner_ : outer_;
    return config.integer(key, 1);
  }
  bool flag(std::string_view key) const {
    const Json* value = find(key);
    return value != nullptr && value->kind == Json::Kind::kBool && value->boolean;
  }

 private:
  Config outer_;
  Config inner_;
};

// Which layers attend how, and which have experts.
struct Layers {
  i64 all = 0;
  i64 full = 0;
  i64 window = 0;
  i64 recurrent = 0;
  i64 expert = -1;  // -1: to be derived from the keys that say it by rule
  i64 mlp = -1;
};

bool names_a_window(std::string_view type) {
  return type.find("slid") != std::string_view::npos ||
         type.find("chunk") != std::string_view::npos;
}

bool names_a_state(std::string_view type) {
  return type.find("linear") != std::string_view::npos ||
         type.find("mamba") != std::string_view::npos ||
         type.find("recurrent") != std::string_view::npos;
}

void count_types(const Json& types, Layers& out) {
  for (std::size_t i = 0; i < types.items.size() && static_cast<i64>(i) < out.all; ++i) {
    const std::string& type = types.items[i].text;
    if (names_a_state(type)) {
      ++out.recurrent;
    } else if (names_a_window(type)) {
      ++out.window;
    } else {
      ++out.full;
    }
  }
}

// "MEM*-": state, experts, attention and plain layers, one component each.
void count_pattern(std::string_view pattern, Layers& out) {
  out.all = static_cast<i64>(pattern.size());
  out.recurrent = std::count(pattern.begin(), pattern.end(), 'M');
  out.full = std::count(pattern.begin(), pattern.end(), '*');
  out.expert = std::count(pattern.begin(), pattern.end(), 'E');
  out.mlp = std::count(pattern.begin(), pattern.end(), '-');
}

// Empty if layers are whole, attention and feed-forward together.
std::string component_pattern(const Source& in) {
  const Json* pattern = in.find("hybrid_override_pattern");
  if (pattern != nullptr && pattern->kind == Json::Kind::kText) return pattern->text;
  const Json* blocks = in.find("layers_block_type");
  std::string out;
  if (blocks == nullptr) return out;
  for (const Json& block : blocks->items) {
    bool is_state = names_a_state(block.text);
    out += is_state ? 'M' : block.text == "moe" ? 'E' : block.text == "mlp" ? '-' : '*';
  }
  return out;
}

i64 count_ones(const Json& flags, i64 limit) {
  i64 ones = 0;
  for (std::size_t i = 0; i < flags.items.size() && static_cast<i64>(i) < limit; ++i) {
    ones += flags.items[i].kind == Json::Kind::kInteger && flags.items[i].integer != 0;
  }
  return ones;
}

i64 full_layers_listed(const Source& in) {
  const Json* linear = in.find("linear_attn_config");
  const Json* listed = linear == nullptr ? nullptr : linear->find("full_attn_layers");
  return listed == nullptr ? -1 : static_cast<i64>(listed->items.size());
}

Result<Layers> count_layers(const Source& in) {
  Layers out;
  std::string pattern = component_pattern(in);
  if (!pattern.empty()) {
    count_pattern(pattern, out);
    if (out.all > kLayersMax)
      return Error{Code::kLimit, fmt::format("a pattern of {} layers", out.all)};
    return out;
  }
  TG_ASSIGN(out.all, in.integer("num_hidden_layers"));
  if (out.all > kLayersMax)
    return Error{Code::kLimit, fmt::format("num_hidden_layers is {}", out.all)};
  TG_ASSIGN(i64 interval, in.integer_or({"full_attention_interval"}, 0));
  const Json* types = in.find("layer_types");
  const Json* windows = in.find("hybrid_layer_pattern");
  if (types != nullptr && types->kind == Json::Kind::kArray) {
    count_types(*types, out);
  } else if (windows != nullptr && windows->kind == Json::Kind::kArray) {
    out.window = count_ones(*windows, out.all);
    out.full = out.all - out.window;
  } else if (interval > 0) {
    out.full = out.all / interval;
    out.recurrent = out.all - out.full;
  } else {
    i64 listed = full_layers_listed(in);
    out.full = listed > 0 && listed < out.all ? listed : out.all;
    out.recurrent = out.all - out.full;
  }
  return out;
}

struct Attention {
  f64 parameters = 0;  // of one layer
};

Status read_latent_attention(const Source& in, i64 heads, ModelShape& out, Attention& attention) {
  TG_ASSIGN(i64 rank, in.integer("kv_lora_rank"));
  TG_ASSIGN(i64 rope, in.integer_or({"qk_rope_head_dim"}, 64));
  TG_ASSIGN(i64 plain, in.integer_or({"qk_nope_head_dim"}, 128));
  TG_ASSIGN(i64 value, in.integer_or({"v_head_dim"}, 128));
  TG_ASSIGN(i64 query_rank, in.integer_or({"q_lora_rank"}, 0));
  f64 h = static_cast<f64>(out.hidden), n = static_cast<f64>(heads);
  f64 r = static_cast<f64>(rank), ro = static_cast<f64>(rope), no = static_cast<f64>(plain),
      v = static_cast<f64>(value), q = static_cast<f64>(query_rank);
  f64 query = q > 0 ? h * q + q * n * (no + ro) : h * n * (no + ro);
  attention.parameters = query + h * (r + ro) + r * n * (no + v) + n * v * h;
  out.kv_elements = r + ro;
  out.kv_heads = 1;
  out.is_latent = true;
  // Decoding works on the latent vectors themselves, a prompt on the heads made from them.
  out.decode_pair_flops = 2 * n * (2 * r + ro);
  out.prompt_pair_flops = 2 * n * (no + ro + v);
  return {};
}

Status read_head_attention(const Source& in, i64 heads, ModelShape& out, Attention& attention) {
  TG_ASSIGN(i64 kv_heads, in.integer_or({"num_key_value_heads", "num_kv_heads"}, heads));
  TG_ASSIGN(i64 width, in.integer_or({"head_dim"}, out.hidden / std::max<i64>(heads, 1)));
  TG_ASSIGN(i64 query_rank, in.integer_or({"q_lora_rank"}, 0));
  out.kv_heads = std::max<i64>(kv_heads, 1);
  f64 h = static_cast<f64>(out.hidden), n = static_cast<f64>(heads), d = static_cast<f64>(width),
      k = static_cast<f64>(out.kv_heads), q = static_cast<f64>(query_rank);
  f64 gate = in.flag("attn_output_gate") ? 2 : 1;
  f64 query = q > 0 ? q * (h + n * d) : gate * h * n * d;
  attention.parameters = query + 2 * h * d * k + n * d * h;
  out.kv_elements = 2 * k * d;
  out.decode_pair_flops = out.prompt_pair_flops = 4 * n * d;
  return {};
}

Result<Attention> read_attention(const Source& in, ModelShape& out) {
  Attention attention;
  TG_ASSIGN(i64 heads, in.integer("num_attention_heads"));
  const Json* rank = in.find("kv_lora_rank");
  if (rank != nullptr) {
    TG_TRY(read_latent_attention(in, heads, out, attention));
  } else {
    TG_TRY(read_head_attention(in, heads, out, attention));
  }
  TG_ASSIGN(out.selected_keys, in.integer_or({"index_topk"}, 0));
  if (out.selected_keys > 0) {
    TG_ASSIGN(i64 index_heads, in.integer_or({"index_n_heads"}, 1));
    TG_ASSIGN(i64 index_width, in.integer_or({"index_head_dim"}, 128));
    TG_ASSIGN(i64 query_rank, in.integer_or({"q_lora_rank"}, out.hidden));
    out.index_elements = static_cast<f64>(index_width);
    attention.parameters +=
        static_cast<f64>(index_width) * static_cast<f64>(query_rank * index_heads + out.hidden);
  }
  return attention;
}

// Parameters of one recurrent layer; its state goes to `out`.
Result<f64> read_recurrence(const Source& in, i64 layers, ModelShape& out) {
  if (layers == 0) return 0.0;
  const Json* nested = in.find("linear_attn_config");
  TG_ASSIGN(i64 key_heads, in.integer_or({"linear_num_key_heads", "n_groups"}, 16));
  TG_ASSIGN(i64 value_heads, in.integer_or({"linear_num_value_heads", "mamba_num_heads"}, 64));
  TG_ASSIGN(i64 key_width, in.integer_or({"linear_key_head_dim", "ssm_state_size"}, 128));
  TG_ASSIGN(i64 value_width, in.integer_or({"linear_value_head_dim", "mamba_head_dim"}, 128));
  if (nested != nullptr && nested->kind == Json::Kind::kObject) {
    Config config(*nested, "linear_attn_config");
    TG_ASSIGN(value_heads, config.integer_or("num_heads", 1, value_heads));
    TG_ASSIGN(value_width, config.integer_or("head_dim", 1, value_width));
    key_heads = value_heads;
    key_width = value_width;
  }
  f64 keys = static_cast<f64>(key_heads) * static_cast<f64>(key_width);
  f64 values = static_cast<f64>(value_heads) * static_cast<f64>(value_width);
  out.state_bytes = static_cast<f64>(layers) * values * static_cast<f64>(key_width) * sizeof(f32);
  return static_cast<f64>(out.hidden) * (2 * keys + 3 * values);
}

Result<i64> count_expert_layers(const Source& in, const Layers& layers) {
  if (layers.expert >= 0) return layers.expert;
  const Json* listed = in.find("moe_layer_freq");
  if (listed != nullptr && listed->kind == Json::Kind::kArray)
    return count_ones(*listed, layers.all);
  TG_ASSIGN(i64 dense, in.integer_or({"first_k_dense_replace"}, 0));
  TG_ASSIGN(i64 step, in.integer_or({"decoder_sparse_step", "interleave_moe_layer_step"}, 1));
  return std::max<i64>(0, layers.all - dense) / std::max<i64>(step, 1);
}

// Width of what every token passes beside the chosen experts.
Result<i64> shared_width(const Source& in, i64 expert_width) {
  TG_ASSIGN(i64 stated,
            in.integer_or({"shared_expert_intermediate_size", "moe_shared_expert_intermediate_size",
                           "shared_intermediate_size", "share_expert_dim"},
                          0));
  TG_ASSIGN(i64 count, in.integer_or({"n_shared_experts", "num_shared_experts"}, 0));
  return stated > 0 ? stated : count * expert_width;
}

// Experts, and the parameters of all feed-forward layers that every token passes.
Result<f64> read_feed_forward(const Source& in, const Layers& layers, ModelShape& out) {
  TG_ASSIGN(i64 width, in.integer_or({"dense_intermediate_size", "intermediate_size_mlp",
                                      "intermediate_size", "ffn_hidden_size"},
                                     4 * out.hidden));
  TG_ASSIGN(out.experts,
            in.integer_or(
                {"n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts"}, 0));
  constexpr f64 kGated = 3, kPlain = 2;
  bool is_hybrid = layers.expert >= 0;  // their feed-forward layers have no gate
  f64 matrices = is_hybrid ? kPlain : kGated;
  f64 h = static_cast<f64>(out.hidden);
  f64 dense = matrices * h * static_cast<f64>(width);
  if (out.experts == 0) {
    i64 count = is_hybrid ? layers.mlp : layers.all;
    return dense * static_cast<f64>(count);
  }
  TG_ASSIGN(out.experts_active,
            in.integer_or({"num_experts_per_tok", "experts_per_token", "top_k_experts", "moe_topk",
                           "num_experts_per_token"},
                          1));
  out.experts_active = std::clamp<i64>(out.experts_active, 1, out.experts);
  TG_ASSIGN(i64 expert_width,
            in.integer_or({"moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size"},
                          width));
  TG_ASSIGN(i64 latent, in.integer_or({"moe_latent_size", "routed_expert_hidden_size"}, 0));
  TG_ASSIGN(out.expert_layers, count_expert_layers(in, layers));
  TG_ASSIGN(i64 shared, shared_width(in, expert_width));
  f64 inner = latent > 0 ? static_cast<f64>(latent) : h;
  out.expert_parameters = matrices * inner * static_cast<f64>(expert_width);
  i64 plain_layers = is_hybrid ? layers.mlp : layers.all - out.expert_layers;
  f64 per_layer = matrices * h * static_cast<f64>(shared) + h * static_cast<f64>(out.experts) +
                  (latent > 0 ? 2 * h * inner : 0);
  return dense * static_cast<f64>(plain_layers) + per_layer * static_cast<f64>(out.expert_layers);
}

bool mentions(const Json& value, std::string_view word) {
  if (value.kind == Json::Kind::kText) return value.text.find(word) != std::string::npos;
  for (const Json& item : value.items) {
    if (mentions(item, word)) return true;
  }
  for (const checkpoint::JsonMember& member : value.members) {
    if (mentions(member.value, word)) return true;
  }
  return false;
}

bool has_four_bit_integers(const Json& value) {
  const Json* bits = value.find("num_bits");
  if (bits != nullptr && bits->kind == Json::Kind::kInteger && bits->integer == 4)
    return !mentions(value, "float");
  for (const checkpoint::JsonMember& member : value.members) {
    if (has_four_bit_integers(member.value)) return true;
  }
  return false;
}

void read_storage(const Source& in, ModelShape& out) {
  const Json* quantization = in.find("quantization_config");
  if (quantization == nullptr) return;
  out.is_attention_wide = mentions(*quantization, "self_attn");
  const Json* method = quantization->find("quant_method");
  std::string_view name = method == nullptr ? std::string_view() : std::string_view(method->text);
  if (name == "mxfp4") {
    out.stored_as = StoredAs::kMxFp4;
  } else if (mentions(*quantization, "FP4") || mentions(*quantization, "nvfp4")) {
    out.stored_as = StoredAs::kFp4;
  } else if (name.find("fp8") != std::string_view::npos || mentions(*quantization, "FP8")) {
    out.stored_as = StoredAs::kFp8;
  } else if (name == "awq" || name == "gptq" || has_four_bit_integers(*quantization)) {
    out.stored_as = StoredAs::kInt4;
  }
}

Result<ModelShape> read_shape(const Source& in) {
  ModelShape out;
  TG_ASSIGN(Layers layers, count_layers(in));
  out.layers = layers.all;
  out.full_layers = layers.full;
  out.recurrent_layers = layers.recurrent;
  TG_ASSIGN(out.hidden, in.integer("hidden_size"));
  TG_ASSIGN(i64 vocabulary, in.integer("vocab_size"));
  TG_ASSIGN(out.window,
            in.integer_or({"sliding_window", "sliding_window_size", "attention_chunk_size"}, 0));
  out.window_layers = layers.window;
  if (out.window == 0) {
    out.full_layers += out.window_layers;
    out.window_layers = 0;
  }
  TG_ASSIGN(Attention attention, read_attention(in, out));
  TG_ASSIGN(f64 recurrence, read_recurrence(in, layers.recurrent, out));
  TG_ASSIGN(f64 feed_forward, read_feed_forward(in, layers, out));
  out.dense_parameters =
      attention.parameters * static_cast<f64>(out.full_layers + out.window_layers) +
      recurrence * static_cast<f64>(layers.recurrent) + feed_forward;
  out.head_parameters = static_cast<f64>(vocabulary) * static_cast<f64>(out.hidden);
  TG_ASSIGN(i64 drafts, in.integer_or({"num_nextn_predict_layers", "mtp_num_hidden_layers"}, 0));
  out.has_draft_layers = drafts > 0;
  read_storage(in, out);
  return out;
}

}  // namespace

f64 ModelShape::parameters() const {
  return dense_parameters + 2 * head_parameters +
         static_cast<f64>(expert_layers * experts) * expert_parameters;
}

f64 ModelShape::active_parameters() const {
  return dense_parameters + head_parameters +
         static_cast<f64>(expert_layers * experts_active) * expert_parameters;
}

std::string ModelShape::key() const {
  return fmt::format("{}/{}/{}/{}/{}/{:.0f}", layers, hidden, experts, experts_active, kv_heads,
                     dense_parameters);
}

// Python writes Infinity and NaN, which JSON does not have; no key read here may be either.
static std::string without_infinities(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool is_quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool is_escape = is_quoted && text[i] == '\\' && i + 1 < text.size();
    if (is_escape) out += text[i++];
    if (text[i] == '"' && !is_escape) is_quoted = !is_quoted;
    std::size_t skipped = 0;
    for (std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (skipped == 0 && !is_quoted && text.substr(i).starts_with(word)) skipped = word.size();
    }
    if (skipped > 0) {
      out += "null";
      i += skipped - 1;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<ModelShape> parse_model_shape(std::string_view text, std::string_view file) {
  if (text.size() > checkpoint::kConfigBytesMax)
    return Error{Code::kLimit, fmt::format("{}: {} bytes", file, text.size())};
  Result<Json> json = checkpoint::parse_json(without_infinities(text));
  if (!json.ok())
    return Error{json.error().code, fmt::format("{}: {}", file, json.error().message)};
  if (json->kind != Json::Kind::kObject)
    return Error{Code::kCorrupt, fmt::format("{}: not an object", file)};
  return read_shape(Source(*json, file));
}

Result<ModelShape> read_model_shape(const std::string& path) {
  TG_ASSIGN(std::string text, read_file(path, checkpoint::kConfigBytesMax));
  return parse_model_shape(text, path);
}

ModelShape shape_of(const unit::CostMatrix& cost, const ProgramFacts& facts) {
  TG_ASSERT(facts.weight_bytes > 0 && facts.layers > 0 && facts.hidden > 0);
  ModelShape out;
  out.layers = facts.layers;
  out.hidden = facts.hidden;
  out.kv_heads = std::max<i64>(facts.kv_heads, 1);
  out.dense_parameters = static_cast<f64>(cost.per_pass[unit::kWBytes]) / facts.weight_bytes;
  out.head_parameters = static_cast<f64>(cost.head_bytes) / facts.weight_bytes;
  f64 kv_read = 0, pair_flops = 0;
  for (const unit::WindowCost& window : cost.windows) {
    kv_read += static_cast<f64>(window.kv_rd_bytes_per_key);
    pair_flops += static_cast<f64>(window.attn_flops_per_pair);
  }
  // A cost matrix sums the layers of a window class; shares are by what they read.
  f64 layers = static_cast<f64>(facts.layers);
  for (const unit::WindowCost& window : cost.windows) {
    f64 share = kv_read > 0 ? static_cast<f64>(window.kv_rd_bytes_per_key) / kv_read : 0;
    i64 count = static_cast<i64>(share * layers + 0.5);
    if (window.kind == unit::PairKind::kSelected) out.selected_keys = window.window;
    bool is_window = window.window > 0 && window.kind != unit::PairKind::kSelected;
    (is_window ? out.window_layers : out.full_layers) += count;
    if (is_window) out.window = window.window;
  }
  out.kv_elements = kv_read / facts.kv_bytes / layers;
  out.decode_pair_flops = out.prompt_pair_flops = pair_flops / layers;
  for (const unit::ExpertCost& expert : cost.experts) {
    out.experts = std::max<i64>(out.experts, expert.experts);
    out.experts_active = std::max<i64>(out.experts_active, expert.active);
    out.expert_layers += expert.layers;
    out.expert_parameters = static_cast<f64>(expert.bytes_per_expert) / facts.weight_bytes;
  }
  return out;
}

}  // namespace tg::predict
