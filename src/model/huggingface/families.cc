// The tables. GGUF names are those that converters to GGUF write; config.json keys and their
// meanings are those of each family's published models.
#include "model/huggingface/families.h"

#include <fmt/format.h>

#include <cmath>

#include "model/gguf/format.h"

namespace tg::checkpoint {
namespace {

using enum KeyType;
using enum Shaping;

constexpr bool kRequired = true;

// --- keys
// -----------------------------------------------------------------------------------------

constexpr auto kDecoderKeys = std::to_array<KeyRow>({
    {"block_count", "num_hidden_layers", kCount, kRequired},
    {"context_length", "max_position_embeddings", kCount, kRequired},
    {"embedding_length", "hidden_size", kCount, kRequired},
    {"feed_forward_length", "intermediate_size", kCount, kRequired},
    {"attention.head_count", "num_attention_heads", kCount, kRequired},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", kReal, kRequired},
    {"vocab_size", "vocab_size", kCount},
});

constexpr auto kGroupedKeys = std::to_array<KeyRow>({
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.key_length", "head_dim"},
    {"attention.value_length", "head_dim"},
});

// For families whose heads are not as wide as their width would have it.
constexpr auto kHeadDimKeys = std::to_array<KeyRow>({
    {"attention.head_count_kv", "num_key_value_heads", kCount, kRequired},
    {"attention.key_length", "head_dim", kCount, kRequired},
    {"attention.value_length", "head_dim", kCount, kRequired},
});

constexpr auto kWindowKeys = std::to_array<KeyRow>({
    {"attention.sliding_window", "sliding_window"},
});

constexpr auto kMixtralKeys = std::to_array<KeyRow>({
    {"expert_count", "num_local_experts", kCount, kRequired},
    {"expert_used_count", "num_experts_per_tok", kCount, kRequired},
    {"attention.sliding_window", "sliding_window"},
});

constexpr auto kQwen3MoeKeys = std::to_array<KeyRow>({
    {"expert_count", "num_experts", kCount, kRequired},
    {"expert_used_count", "num_experts_per_tok", kCount, kRequired},
    {"expert_feed_forward_length", "moe_intermediate_size", kCount, kRequired},
    {"expert_weights_norm", "norm_topk_prob", kFlag, kRequired},
});

constexpr auto kGemma2Keys = std::to_array<KeyRow>({
    {"attention.sliding_window", "sliding_window", kCount, kRequired},
    {"attn_logit_softcapping", "attn_logit_softcapping", kReal},
    {"final_logit_softcapping", "final_logit_softcapping", kReal},
});

constexpr auto kGemma3Keys = std::to_array<KeyRow>({
    {"attention.sliding_window", "sliding_window", kCount, kRequired},
    {"attention.sliding_window_pattern", "sliding_window_pattern"},
    {"rope.freq_base_swa", "rope_local_base_freq", kReal},
});

constexpr auto kGptOssKeys = std::to_array<KeyRow>({
    {"attention.sliding_window", "sliding_window", kCount, kRequired},
    {"expert_count", "num_local_experts", kCount, kRequired},
    {"expert_used_count", "num_experts_per_tok", kCount, kRequired},
    {"expert_feed_forward_length", "intermediate_size", kCount, kRequired},
});

constexpr auto kDeepseekKeys = std::to_array<KeyRow>({
    {"attention.q_lora_rank", "q_lora_rank"},
    {"attention.kv_lora_rank", "kv_lora_rank", kCount, kRequired},
    {"attention.value_length_mla", "v_head_dim", kCount, kRequired},
    {"attention.value_length", "kv_lora_rank", kCount, kRequired},
    {"rope.dimension_count", "qk_rope_head_dim", kCount, kRequired},
    {"leading_dense_block_count", "first_k_dense_replace", kCount},
    {"expert_count", "n_routed_experts", kCount, kRequired},
    {"expert_used_count", "num_experts_per_tok", kCount, kRequired},
    {"expert_shared_count", "n_shared_experts"},
    {"expert_feed_forward_length", "moe_intermediate_size", kCount, kRequired},
    {"expert_weights_scale", "routed_scaling_factor", kReal},
    {"expert_weights_norm", "norm_topk_prob", kFlag},
});

constexpr auto kBertKeys = std::to_array<KeyRow>({
    {"block_count", "num_hidden_layers", kCount, kRequired},
    {"context_length", "max_position_embeddings", kCount, kRequired},
    {"embedding_length", "hidden_size", kCount, kRequired},
    {"feed_forward_length", "intermediate_size", kCount, kRequired},
    {"attention.head_count", "num_attention_heads", kCount, kRequired},
    {"attention.layer_norm_epsilon", "layer_norm_eps", kReal, kRequired},
    {"vocab_size", "vocab_size", kCount},
});

// --- tensors
// --------------------------------------------------------------------------------------

constexpr auto kEndRows = std::to_array<TensorRow>({
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
});

constexpr auto kLayerRows = std::to_array<TensorRow>({
    {"model.layers.{l}.input_layernorm", "blk.{l}.attn_norm"},
    {"model.layers.{l}.self_attn.q_proj", "blk.{l}.attn_q"},
    {"model.layers.{l}.self_attn.k_proj", "blk.{l}.attn_k"},
    {"model.layers.{l}.self_attn.v_proj", "blk.{l}.attn_v"},
    {"model.layers.{l}.self_attn.o_proj", "blk.{l}.attn_output"},
    {"model.layers.{l}.self_attn.q_norm", "blk.{l}.attn_q_norm"},
    {"model.layers.{l}.self_attn.k_norm", "blk.{l}.attn_k_norm"},
    {"model.layers.{l}.post_attention_layernorm", "blk.{l}.ffn_norm"},
    {"model.layers.{l}.mlp.gate_proj", "blk.{l}.ffn_gate"},
    {"model.layers.{l}.mlp.up_proj", "blk.{l}.ffn_up"},
    {"model.layers.{l}.mlp.down_proj", "blk.{l}.ffn_down"},
});

constexpr auto kMixtralRows = std::to_array<TensorRow>({
    {"model.layers.{l}.block_sparse_moe.gate", "blk.{l}.ffn_gate_inp"},
    {"model.layers.{l}.block_sparse_moe.experts.{e}.w1", "blk.{l}.ffn_gate_exps", kExpert},
    {"model.layers.{l}.block_sparse_moe.experts.{e}.w2", "blk.{l}.ffn_down_exps", kExpert},
    {"model.layers.{l}.block_sparse_moe.experts.{e}.w3", "blk.{l}.ffn_up_exps", kExpert},
});

constexpr auto kQwen3MoeRows = std::to_array<TensorRow>({
    {"model.layers.{l}.mlp.gate", "blk.{l}.ffn_gate_inp"},
    {"model.layers.{l}.mlp.experts.{e}.gate_proj", "blk.{l}.ffn_gate_exps", kExpert},
    {"model.layers.{l}.mlp.experts.{e}.up_proj", "blk.{l}.ffn_up_exps", kExpert},
    {"model.layers.{l}.mlp.experts.{e}.down_proj", "blk.{l}.ffn_down_exps", kExpert},
});

constexpr auto kGemmaRows = std::to_array<TensorRow>({
    {"model.embed_tokens", "token_embd"},
    {"lm_head", "output"},
    {"model.norm", "output_norm", kPlusOne},
    {"model.layers.{l}.input_layernorm", "blk.{l}.attn_norm", kPlusOne},
    {"model.layers.{l}.self_attn.q_proj", "blk.{l}.attn_q"},
    {"model.layers.{l}.self_attn.k_proj", "blk.{l}.attn_k"},
    {"model.layers.{l}.self_attn.v_proj", "blk.{l}.attn_v"},
    {"model.layers.{l}.self_attn.o_proj", "blk.{l}.attn_output"},
    {"model.layers.{l}.self_attn.q_norm", "blk.{l}.attn_q_norm", kPlusOne},
    {"model.layers.{l}.self_attn.k_norm", "blk.{l}.attn_k_norm", kPlusOne},
    {"model.layers.{l}.post_attention_layernorm", "blk.{l}.post_attention_norm", kPlusOne},
    {"model.layers.{l}.pre_feedforward_layernorm", "blk.{l}.ffn_norm", kPlusOne},
    {"model.layers.{l}.post_feedforward_layernorm", "blk.{l}.post_ffw_norm", kPlusOne},
    {"model.layers.{l}.mlp.gate_proj", "blk.{l}.ffn_gate"},
    {"model.layers.{l}.mlp.up_proj", "blk.{l}.ffn_up"},
    {"model.layers.{l}.mlp.down_proj", "blk.{l}.ffn_down"},
});

constexpr auto kPhi3Rows = std::to_array<TensorRow>({
    {"model.layers.{l}.input_layernorm", "blk.{l}.attn_norm"},
    {"model.layers.{l}.self_attn.qkv_proj", "blk.{l}.attn_qkv"},
    {"model.layers.{l}.self_attn.o_proj", "blk.{l}.attn_output"},
    {"model.layers.{l}.post_attention_layernorm", "blk.{l}.ffn_norm"},
    {"model.layers.{l}.mlp.gate_up_proj", "blk.{l}.ffn_up"},
    {"model.layers.{l}.mlp.down_proj", "blk.{l}.ffn_down"},
});

constexpr auto kGlm4Rows = std::to_array<TensorRow>({
    {"model.layers.{l}.input_layernorm", "blk.{l}.attn_norm"},
    {"model.layers.{l}.self_attn.q_proj", "blk.{l}.attn_q"},
    {"model.layers.{l}.self_attn.k_proj", "blk.{l}.attn_k"},
    {"model.layers.{l}.self_attn.v_proj", "blk.{l}.attn_v"},
    {"model.layers.{l}.self_attn.o_proj", "blk.{l}.attn_output"},
    {"model.layers.{l}.post_self_attn_layernorm", "blk.{l}.post_attention_norm"},
    {"model.layers.{l}.post_attention_layernorm", "blk.{l}.ffn_norm"},
    {"model.layers.{l}.post_mlp_layernorm", "blk.{l}.post_ffw_norm"},
    {"model.layers.{l}.mlp.gate_up_proj", "blk.{l}.ffn_up"},
    {"model.layers.{l}.mlp.down_proj", "blk.{l}.ffn_down"},
});

constexpr auto kGptOssRows = std::to_array<TensorRow>({
    {"model.layers.{l}.input_layernorm", "blk.{l}.attn_norm"},
    {"model.layers.{l}.self_attn.q_proj", "blk.{l}.attn_q"},
    {"model.layers.{l}.self_attn.k_proj", "blk.{l}.attn_k"},
    {"model.layers.{l}.self_attn.v_proj", "blk.{l}.attn_v"},
    {"model.layers.{l}.self_attn.o_proj", "blk.{l}.attn_output"},
    {"model.layers.{l}.self_attn.sinks", "blk.{l}.attn_sinks.weight"},
    {"model.layers.{l}.post_attention_layernorm", "blk.{l}.post_attention_norm"},
    {"model.layers.{l}.mlp.router", "blk.{l}.ffn_gate_inp"},
    {"model.layers.{l}.mlp.experts.gate_up_proj", "blk.{l}.ffn_", kGateUpExperts},
    {"model.layers.{l}.mlp.experts.down_proj", "blk.{l}.ffn_down_exps"},
});

constexpr auto kDeepseekRows = std::to_array<TensorRow>({
    {"model.layers.{l}.self_attn.q_a_proj", "blk.{l}.attn_q_a"},
    {"model.layers.{l}.self_attn.q_a_layernorm", "blk.{l}.attn_q_a_norm"},
    {"model.layers.{l}.self_attn.q_b_proj", "blk.{l}.attn_q_b"},
    {"model.layers.{l}.self_attn.kv_a_proj_with_mqa", "blk.{l}.attn_kv_a_mqa"},
    {"model.layers.{l}.self_attn.kv_a_layernorm", "blk.{l}.attn_kv_a_norm"},
    {"model.layers.{l}.self_attn.kv_b_proj", "blk.{l}.attn_", kKeyValueUp},
    {"model.layers.{l}.mlp.gate", "blk.{l}.ffn_gate_inp"},
    {"model.layers.{l}.mlp.gate.e_score_correction_bias", "blk.{l}.exp_probs_b.bias"},
    {"model.layers.{l}.mlp.experts.{e}.gate_proj", "blk.{l}.ffn_gate_exps", kExpert},
    {"model.layers.{l}.mlp.experts.{e}.up_proj", "blk.{l}.ffn_up_exps", kExpert},
    {"model.layers.{l}.mlp.experts.{e}.down_proj", "blk.{l}.ffn_down_exps", kExpert},
    {"model.layers.{l}.mlp.shared_experts.gate_proj", "blk.{l}.ffn_gate_shexp"},
    {"model.layers.{l}.mlp.shared_experts.up_proj", "blk.{l}.ffn_up_shexp"},
    {"model.layers.{l}.mlp.shared_experts.down_proj", "blk.{l}.ffn_down_shexp"},
});

constexpr auto kBertRows = std::to_array<TensorRow>({
    {"embeddings.word_embeddings", "token_embd"},
    {"embeddings.position_embeddings", "position_embd"},
    {"embeddings.token_type_embeddings", "token_types"},
    {"embeddings.LayerNorm", "token_embd_norm"},
    {"encoder.layer.{l}.attention.self.query", "blk.{l}.attn_q"},
    {"encoder.layer.{l}.attention.self.key", "blk.{l}.attn_k"},
    {"encoder.layer.{l}.attention.self.value", "blk.{l}.attn_v"},
    {"encoder.layer.{l}.attention.output.dense", "blk.{l}.attn_output"},
    {"encoder.layer.{l}.attention.output.LayerNorm", "blk.{l}.attn_output_norm"},
    {"encoder.layer.{l}.intermediate.dense", "blk.{l}.ffn_up"},
    {"encoder.layer.{l}.output.dense", "blk.{l}.ffn_down"},
    {"encoder.layer.{l}.output.LayerNorm", "blk.{l}.layer_output_norm"},
});

// --- what settings must be
// ------------------------------------------------------------------------

constexpr auto kSilu = std::to_array<Expectation>({{"hidden_act", "silu"}});

constexpr auto kQwen3MoeExpectations =
    std::to_array<Expectation>({{"decoder_sparse_step", "1"}, {"mlp_only_layers", "[]"}});

constexpr auto kGemmaExpectations = std::to_array<Expectation>({
    {"hidden_activation", "gelu_pytorch_tanh"},
    {"use_bidirectional_attention", "false"},
});

constexpr auto kGptOssExpectations = std::to_array<Expectation>({
    {"swiglu_limit", "7"},
});

constexpr auto kDeepseekExpectations = std::to_array<Expectation>({
    {"moe_layer_freq", "1"},
    {"topk_method", "greedy|group_limited_greedy|noaux_tc"},
    {"ep_size", "1"},
});

constexpr auto kBertExpectations = std::to_array<Expectation>({
    {"hidden_act", "gelu"},
    {"position_embedding_type", "absolute"},
    {"is_decoder", "false"},
});

// --- what no table says
// ---------------------------------------------------------------------------

std::string full(std::string_view prefix, std::string_view key) {
  return std::string(prefix) + std::string(key);
}

// Windows that begin at a certain layer are not a setting of the template.
Status derive_qwen(const Config& config, std::string_view prefix, gguf::Header& out) {
  TG_ASSIGN(bool uses_window, config.boolean_or("use_sliding_window", false));
  if (!uses_window) return {};
  TG_ASSIGN(i64 layers, config.integer("num_hidden_layers", 1));
  TG_ASSIGN(i64 first_windowed, config.integer_or("max_window_layers", 0, 0));
  if (first_windowed >= layers) return {};
  if (first_windowed > 0) return config.unsupported("max_window_layers");
  TG_ASSIGN(i64 window, config.integer("sliding_window", 1));
  out.set(full(prefix, "attention.sliding_window"), static_cast<u32>(window));
  return {};
}

Status derive_gemma(const Config& config, std::string_view prefix, gguf::Header& out) {
  TG_ASSIGN(f64 scalar, config.real("query_pre_attn_scalar"));
  if (!(scalar > 0)) return config.wrong("query_pre_attn_scalar", "expected a positive number");
  out.set(full(prefix, "attention.scale"), static_cast<f32>(1 / std::sqrt(scalar)));
  return {};
}

Status derive_gemma3(const Config& config, std::string_view prefix, gguf::Header& out) {
  for (std::string_view key : {"attn_logit_softcapping", "final_logit_softcapping"})
    if (config.has(key)) return config.unsupported(key);
  return derive_gemma(config, prefix, out);
}

// Latent attention is attention of all heads over one cached row of kv_lora_rank + rope elements.
Status derive_deepseek(const Config& config, std::string_view prefix, gguf::Header& out) {
  TG_ASSIGN(i64 nope, config.integer("qk_nope_head_dim", 1));
  TG_ASSIGN(i64 rope, config.integer("qk_rope_head_dim", 1));
  TG_ASSIGN(i64 rank, config.integer("kv_lora_rank", 1));
  out.set(full(prefix, "attention.head_count_kv"), u32{1});
  out.set(full(prefix, "attention.key_length"), static_cast<u32>(rank + rope));
  out.set(full(prefix, "attention.key_length_mla"), static_cast<u32>(nope + rope));
  TG_ASSIGN(std::string scoring, config.text_or("scoring_func", "softmax"));
  if (scoring != "softmax" && scoring != "sigmoid") return config.unsupported("scoring_func");
  out.set(full(prefix, "expert_gating_func"), u32{scoring == "softmax" ? 1u : 2u});
  TG_ASSIGN(std::string method, config.text_or("topk_method", "greedy"));
  if (method == "greedy") return {};
  TG_ASSIGN(i64 groups, config.integer("n_group", 1));
  TG_ASSIGN(i64 used, config.integer("topk_group", 1));
  out.set(full(prefix, "expert_group_count"), static_cast<u32>(groups));
  out.set(full(prefix, "expert_group_used_count"), static_cast<u32>(used));
  return {};
}

Status derive_bert(const Config&, std::string_view prefix, gguf::Header& out) {
  out.set(full(prefix, "attention.causal"), false);
  return {};
}

// --- families
// -------------------------------------------------------------------------------------

// GGUF files of the llama architecture hold the rows of q and k permuted. Checkpoints do not, and
// the key kRopeStyleKey says so, which keeps their bytes where they are mapped.
constexpr std::string_view kNeox = "neox";

const auto kFamilies = std::to_array<Family>({
    {.architecture = "LlamaForCausalLM",
     .model_type = "llama",
     .gguf = "llama",
     .rope_style = kNeox,
     .keys = {kDecoderKeys, kGroupedKeys},
     .tensors = {kEndRows, kLayerRows},
     .expectations = {kSilu},
     .rope_base_default = 10'000},
    {.architecture = "MistralForCausalLM",
     .model_type = "mistral",
     .gguf = "llama",
     .rope_style = kNeox,
     .keys = {kDecoderKeys, kGroupedKeys, kWindowKeys},
     .tensors = {kEndRows, kLayerRows},
     .expectations = {kSilu},
     .rope_base_default = 10'000},
    {.architecture = "MixtralForCausalLM",
     .model_type = "mixtral",
     .gguf = "llama",
     .rope_style = kNeox,
     .keys = {kDecoderKeys, kGroupedKeys, kMixtralKeys},
     .tensors = {kEndRows, kLayerRows, kMixtralRows},
     .expectations = {kSilu}},
    {.architecture = "Qwen2ForCausalLM",
     .model_type = "qwen2",
     .gguf = "qwen2",
     .keys = {kDecoderKeys, kGroupedKeys},
     .tensors = {kEndRows, kLayerRows},
     .expectations = {kSilu},
     .rope_base_default = 10'000,
     .derive = derive_qwen},
    {.architecture = "Qwen3ForCausalLM",
     .model_type = "qwen3",
     .gguf = "qwen3",
     .keys = {kDecoderKeys, kHeadDimKeys},
     .tensors = {kEndRows, kLayerRows},
     .expectations = {kSilu},
     .derive = derive_qwen},
    {.architecture = "Qwen3MoeForCausalLM",
     .model_type = "qwen3_moe",
     .gguf = "qwen3moe",
     .keys = {kDecoderKeys, kHeadDimKeys, kQwen3MoeKeys},
     .tensors = {kEndRows, kLayerRows, kQwen3MoeRows},
     .expectations = {kSilu, kQwen3MoeExpectations},
     .derive = derive_qwen},
    {.architecture = "Gemma2ForCausalLM",
     .model_type = "gemma2",
     .gguf = "gemma2",
     .keys = {kDecoderKeys, kHeadDimKeys, kGemma2Keys},
     .tensors = {kGemmaRows},
     .expectations = {kGemmaExpectations},
     .window_period = 2,
     .rope_base_default = 10'000,
     .derive = derive_gemma},
    {.architecture = "Gemma3ForCausalLM",
     .model_type = "gemma3_text",
     .gguf = "gemma3",
     .keys = {kDecoderKeys, kHeadDimKeys, kGemma3Keys},
     .tensors = {kGemmaRows},
     .expectations = {kGemmaExpectations},
     .window_period = 6,
     .rope_base_default = 1'000'000,
     .derive = derive_gemma3},
    {.architecture = "Phi3ForCausalLM",
     .model_type = "phi3",
     .gguf = "phi3",
     .keys = {kDecoderKeys, kGroupedKeys, kWindowKeys},
     .tensors = {kEndRows, kPhi3Rows},
     .expectations = {kSilu},
     .rope_base_default = 10'000},
    {.architecture = "Glm4ForCausalLM",
     .model_type = "glm4",
     .gguf = "glm4",
     .keys = {kDecoderKeys, kHeadDimKeys},
     .tensors = {kEndRows, kGlm4Rows},
     .expectations = {kSilu},
     .rope_base_default = 10'000,
     .rotary_share_default = 0.5},
    {.architecture = "GptOssForCausalLM",
     .model_type = "gpt_oss",
     .gguf = "gpt-oss",
     .keys = {kDecoderKeys, kHeadDimKeys, kGptOssKeys},
     .tensors = {kEndRows, kGptOssRows},
     .expectations = {kSilu, kGptOssExpectations},
     .window_period = 2,
     .truncates_yarn = false},
    {.architecture = "DeepseekV2ForCausalLM",
     .model_type = "deepseek_v2",
     .gguf = "deepseek2",
     .keys = {kDecoderKeys, kDeepseekKeys},
     .tensors = {kEndRows, kLayerRows, kDeepseekRows},
     .expectations = {kSilu, kDeepseekExpectations},
     .rope_base_default = 10'000,
     .derive = derive_deepseek},
    {.architecture = "DeepseekV3ForCausalLM",
     .model_type = "deepseek_v3",
     .gguf = "deepseek2",
     .keys = {kDecoderKeys, kDeepseekKeys},
     .tensors = {kEndRows, kLayerRows, kDeepseekRows},
     .expectations = {kSilu, kDeepseekExpectations},
     .rope_base_default = 10'000,
     .derive = derive_deepseek},
    {.architecture = "BertModel",
     .model_type = "bert",
     .gguf = "bert",
     .keys = {kBertKeys},
     .tensors = {kBertRows},
     .expectations = {kBertExpectations},
     .is_encoder = true,
     .derive = derive_bert},
});

}  // namespace

std::span<const Family> families() {
  return kFamilies;
}

Result<const Family*> find_family(const Config& config) {
  std::string architecture;
  if (config.has("architectures")) {
    TG_ASSIGN(std::vector<std::string> stated, config.texts("architectures"));
    if (!stated.empty()) architecture = stated[0];
  }
  TG_ASSIGN(std::string model_type, config.text_or("model_type", ""));
  std::string known;
  for (const Family& family : kFamilies) {
    bool is_it = architecture.empty() ? family.model_type == model_type
                                      : family.architecture == architecture;
    if (is_it) return &family;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", family.architecture);
  }
  return Error{Code::kUnsupported,
               fmt::format("config.json: architecture {} is not supported (known: {})",
                           gguf::quote(architecture.empty() ? model_type : architecture), known)};
}

}  // namespace tg::checkpoint
