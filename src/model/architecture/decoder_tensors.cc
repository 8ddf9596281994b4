// Layers are walked in order, so that a symbol's ordinals follow the layers.
#include "model/architecture/decoder_tensors.h"

#include <fmt/format.h>

#include <algorithm>

namespace tg::model {
namespace {

bool is_alike(const LayerSlots& a, const LayerSlots& b) {
  return std::equal(a.begin(), a.end(), b.begin(),
                    [](const WeightSlot& x, const WeightSlot& y) { return x.symbol == y.symbol; });
}

// Files of earlier converters keep experts, and the two parts of a latent key, in another way.
struct OldTensor {
  Role missing;
  std::string_view tensor;
};
constexpr OldTensor kOldTensors[] = {
    {kEg, "ffn_gate.0.weight"},
    {kWkb, "attn_kv_b.weight"},
};

Status check_not_old(const gguf::File& file, i64 layer, std::size_t role) {
  for (const OldTensor& old : kOldTensors) {
    std::string name = fmt::format("blk.{}.{}", layer, old.tensor);
    if (old.missing == role && file.find_tensor(name) != nullptr)
      return Error{Code::kUnsupported,
                   fmt::format("gguf: tensor {} is of an older layout, which is not supported",
                               gguf::quote(name))};
  }
  return {};
}

Result<LayerSlots> find_layer(const gguf::File& file, const std::array<RoleInfo, kRoles>& roles,
                              i64 layer, WeightSymbols& symbols) {
  LayerSlots slots;
  for (std::size_t role = 0; role < kRoles; ++role) {
    const RoleInfo& info = roles[role];
    if (info.need == Need::kAbsent) continue;
    std::string name = fmt::format("blk.{}.{}", layer, info.tensor);
    if (file.find_tensor(name) == nullptr) TG_TRY(check_not_old(file, layer, role));
    TG_ASSIGN(const gguf::Tensor* tensor,
              find_tensor(file, name, info.dims, info.need == Need::kRequired));
    if (tensor != nullptr) slots[role] = symbols.add(info.symbol, *tensor, true);
  }
  return slots;
}

Status find_layers(const gguf::File& file, const DecoderShape& shape, const DecoderTraits& traits,
                   DecoderTensors& out) {
  for (i64 layer = 0; layer < shape.layers; ++layer) {
    std::array<RoleInfo, kRoles> roles = layer_roles(shape, traits, layer);
    TG_ASSIGN(LayerSlots slots, find_layer(file, roles, layer, out.symbols));
    if (out.runs.empty() || !is_alike(out.runs.back().slots, slots))
      out.runs.push_back({.first = layer, .count = 0, .slots = slots});
    ++out.runs.back().count;
  }
  return {};
}

// Some files keep a factor of a whole matrix beside it, which programs do not read.
Status check_no_scale(const gguf::File& file, const std::string& name) {
  constexpr std::string_view kWeight = ".weight";
  if (!name.ends_with(kWeight)) return {};
  std::string scale = name.substr(0, name.size() - kWeight.size()) + ".scale";
  if (file.find_tensor(scale) == nullptr) return {};
  return Error{Code::kUnsupported,
               fmt::format("gguf: tensor {} is not supported", gguf::quote(scale))};
}

}  // namespace

Result<const gguf::Tensor*> find_tensor(const gguf::File& file, const std::string& name,
                                        const std::vector<i64>& dims, bool is_required) {
  TG_TRY(check_no_scale(file, name));
  const gguf::Tensor* tensor = file.find_tensor(name);
  if (tensor == nullptr && is_required)
    return Error{Code::kNotFound, "gguf: tensor " + gguf::quote(name) + " is missing"};
  if (tensor != nullptr && tensor->dims != dims)
    return Error{Code::kInvalid,
                 fmt::format("gguf: tensor {} is {}, expected {}", gguf::quote(name),
                             gguf::dims_text(tensor->dims), gguf::dims_text(dims))};
  return tensor;
}

Result<DecoderTensors> find_decoder_tensors(const gguf::File& file, const DecoderShape& shape,
                                            const DecoderTraits& traits) {
  DecoderTensors out;
  std::vector<i64> table = {shape.vocabulary, shape.width};
  TG_ASSIGN(const gguf::Tensor* embedding, find_tensor(file, "token_embd.weight", table, true));
  TG_ASSIGN(const gguf::Tensor* norm, find_tensor(file, "output_norm.weight", {shape.width}, true));
  TG_ASSIGN(const gguf::Tensor* head, find_tensor(file, "output.weight", table, false));
  TG_ASSIGN(const gguf::Tensor* bias, find_tensor(file, "output.bias", {shape.vocabulary}, false));
  out.embedding = out.symbols.add("embd", *embedding, false);
  TG_TRY(find_layers(file, shape, traits, out));
  out.final_norm = out.symbols.add("normf", *norm, false);
  // Without a head of its own the model's head is its embedding.
  out.head = head == nullptr ? out.embedding : out.symbols.add("head", *head, false);
  if (bias != nullptr) out.head_bias = out.symbols.add("bhead", *bias, false);
  return out;
}

std::string weight_declarations(const WeightSymbols& symbols) {
  std::string text;
  for (std::size_t i = 0; i < symbols.all().size(); ++i) {
    const WeightSymbol& w = symbols.all()[i];
    std::string layers = w.is_layered ? fmt::format("[{}]", w.tensors.size()) : "";
    text += fmt::format(".w ${}{} {}{}\n", symbols.name(static_cast<i32>(i)), layers,
                        isa::info(w.codec).name, gguf::dims_text(w.dims));
  }
  return text;
}

std::vector<Binding> bindings_of(const WeightSymbols& symbols) {
  std::vector<Binding> out;
  for (std::size_t i = 0; i < symbols.all().size(); ++i)
    out.push_back({.symbol = symbols.name(static_cast<i32>(i)),
                   .is_layered = symbols.all()[i].is_layered,
                   .tensors = symbols.all()[i].tensors});
  return out;
}

}  // namespace tg::model
