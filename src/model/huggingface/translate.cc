// Tensors are gathered by the module they belong to; then each module is shaped as its row says.
// Vectors, biases and routers become f32, which is exact and what GGUF files hold.
#include "model/huggingface/translate.h"

#include <fmt/format.h>

#include "model/gguf/format.h"
#include "model/huggingface/names.h"
#include "model/huggingface/numbers.h"
#include "model/huggingface/shaping.h"

namespace tg::checkpoint {
namespace {

using safetensors::Tensor;

constexpr std::string_view kHead = "output";
constexpr std::string_view kRouter = "ffn_gate_inp";

// What one row gathers in one layer.
struct Gathered {
  const TensorRow* row = nullptr;
  std::map<i64, Parts> experts;  // by number; -1 alone for modules without experts
};

using Groups = std::map<std::string, Gathered>;  // by the GGUF name before its ending

const Tensor& any_of(const Parts& parts) {
  return *parts.begin()->second;
}

Error about(const Tensor& tensor, const Error& error) {
  if (error.message.starts_with("tensor ")) return error;
  return Error{error.code, fmt::format("tensor {}: {}", gguf::quote(tensor.name), error.message)};
}

class Translator {
 public:
  Translator(const Config& config, const Family& family) : config_(config), family_(family) {}

  Result<Translation> run(const std::map<std::string_view, const Tensor*>& tensors) {
    TG_ASSIGN(quantization_, read_quantization(config_));
    TG_ASSIGN(layers_, config_.integer("num_hidden_layers", 1));
    gather(tensors);
    TG_TRY(settle_head());
    for (const Groups::value_type& group : groups_) {
      Status status = shape(group.first, group.second);
      if (!status.ok()) return about(any_of(group.second.experts.begin()->second), status.error());
    }
    return std::move(out_);
  }

 private:
  void gather(const std::map<std::string_view, const Tensor*>& tensors);
  Status settle_head();
  Status shape(const std::string& name, const Gathered& group);
  Status add_module(const std::string& name, const Parts& parts, bool adds_one);
  Status add_experts(const std::string& name, const Gathered& group);
  Status add_key_value_up(const std::string& name, const Parts& parts);
  Status add_gate_up(const std::string& name, const Parts& parts);
  Result<Stored> weight_of(const Parts& parts) { return read_weight(parts, quantization_); }
  void add(std::string name, Stored stored);

  const Config& config_;
  const Family& family_;
  Quantization quantization_;
  i64 layers_ = 0;
  Groups groups_;
  Translation out_;
};

bool has_weight(const Parts& parts) {
  for (const Parts::value_type& part : parts)
    if (is_weight_part(part.first)) return true;
  return false;
}

const Tensor* find(const Parts& parts, std::string_view ending) {
  Parts::const_iterator found = parts.find(ending);
  return found == parts.end() ? nullptr : found->second;
}

// Layers past the last are for guessing tokens ahead; no template uses them.
void Translator::gather(const std::map<std::string_view, const Tensor*>& tensors) {
  Names names(family_);
  for (const std::pair<const std::string_view, const Tensor*>& entry : tensors) {
    Place place = names.find(entry.first);
    if (place.row == nullptr || place.layer >= layers_) {
      out_.unused.emplace_back(entry.first);
      continue;
    }
    Gathered& group = groups_[in_layer(place.row->gguf, place.layer)];
    group.row = place.row;
    group.experts[place.expert][place.ending] = entry.second;
  }
}

// A tied head is the embedding, whatever else is stored.
Status Translator::settle_head() {
  if (!config_.has("tie_word_embeddings")) return {};
  TG_ASSIGN(bool is_tied, config_.boolean("tie_word_embeddings"));
  Groups::iterator head = groups_.find(std::string(kHead));
  if (!is_tied && head == groups_.end() && !family_.is_encoder)
    return Error{Code::kNotFound,
                 "tensor 'lm_head.weight' is missing and tie_word_embeddings is false"};
  if (!is_tied || head == groups_.end()) return {};
  for (const Parts::value_type& part : head->second.experts.begin()->second)
    out_.unused.push_back(part.second->name);
  groups_.erase(head);
  return {};
}

void Translator::add(std::string name, Stored stored) {
  bool is_wide =
      stored.dims.size() == 1 || name.ends_with(".bias") || name.find(kRouter) != std::string::npos;
  out_.tensors.push_back({.name = std::move(name),
                          .stored = is_wide ? widened(std::move(stored)) : std::move(stored)});
}

Status Translator::shape(const std::string& name, const Gathered& group) {
  const Parts& parts = group.experts.begin()->second;
  switch (group.row->shaping) {
    case Shaping::kPlain: return add_module(name, parts, false);
    case Shaping::kPlusOne: return add_module(name, parts, true);
    case Shaping::kExpert: return add_experts(name, group);
    case Shaping::kKeyValueUp: return add_key_value_up(name, parts);
    case Shaping::kGateUpExperts: return add_gate_up(name, parts);
  }
  return {};
}

Status Translator::add_module(const std::string& name, const Parts& parts, bool adds_one) {
  if (const Tensor* bias = find(parts, "bias")) {
    TG_ASSIGN(Stored stored, read_plain(*bias));
    add(name + ".bias", std::move(stored));
  }
  if (const Tensor* whole = find(parts, "")) {
    TG_ASSIGN(Stored stored, read_plain(*whole));
    add(name, std::move(stored));
  }
  if (!has_weight(parts)) return {};
  if (adds_one) {
    TG_ASSIGN(Stored stored, read_plain(any_of(parts)));
    add(name + ".weight", plus_one(stored));
    return {};
  }
  TG_ASSIGN(Stored stored, weight_of(parts));
  add(name + ".weight", std::move(stored));
  return {};
}

Status Translator::add_experts(const std::string& name, const Gathered& group) {
  std::vector<Stored> experts;
  for (const std::pair<const i64, Parts>& expert : group.experts) {
    const Tensor& any = any_of(expert.second);
    if (expert.first != static_cast<i64>(experts.size()))
      return Error{Code::kNotFound,
                   fmt::format("tensor {} is there, but expert {} before it is missing",
                               gguf::quote(any.name), experts.size())};
    if (!has_weight(expert.second))
      return Error{Code::kUnsupported, describe(any) + ", which is not supported"};
    Result<Stored> stored = weight_of(expert.second);
    if (!stored.ok()) return about(any, stored.error());
    experts.push_back(std::move(*stored));
  }
  TG_ASSIGN(Stored stored, stacked(experts));
  add(name + ".weight", std::move(stored));
  return {};
}

Status Translator::add_key_value_up(const std::string& name, const Parts& parts) {
  LatentHeads heads;
  TG_ASSIGN(heads.heads, config_.integer("num_attention_heads", 1));
  TG_ASSIGN(heads.nope, config_.integer("qk_nope_head_dim", 1));
  TG_ASSIGN(heads.value, config_.integer("v_head_dim", 1));
  TG_ASSIGN(Stored stored, weight_of(parts));
  TG_ASSIGN(KeyValueUp split, split_key_value_up(stored, heads));
  add(name + "k_b.weight", std::move(split.key));
  add(name + "v_b.weight", std::move(split.value));
  return {};
}

Status Translator::add_gate_up(const std::string& name, const Parts& parts) {
  for (std::string_view ending : {"weight", "bias"}) {
    bool is_bias = ending == "bias";
    const Tensor* bias = find(parts, "bias");
    if (is_bias ? bias == nullptr : !has_weight(parts)) continue;
    TG_ASSIGN(Stored stored, is_bias ? read_plain(*bias) : weight_of(parts));
    if (stored.dims.size() != (is_bias ? 2u : 3u))
      return Error{Code::kInvalid, fmt::format("{} dimensions", stored.dims.size())};
    using Halves = std::pair<Stored, Stored>;
    TG_ASSIGN(Halves halves, split_interleaved(stored));
    add(fmt::format("{}gate_exps.{}", name, ending), std::move(halves.first));
    add(fmt::format("{}up_exps.{}", name, ending), std::move(halves.second));
  }
  return {};
}

}  // namespace

Result<Translation> translate(
    const Config& config, const Family& family,
    const std::map<std::string_view, const safetensors::Tensor*>& tensors) {
  return Translator(config, family).run(tensors);
}

}  // namespace tg::checkpoint
