// Two steps: find every layer's tensors and group neighbouring layers of equal make into runs; then
// write one `repeat` per run. Most files have one run; mixed quantisation makes several.
#include "model/architecture/llama.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "model/architecture/weight_symbols.h"

namespace tg::model {
namespace {

enum Role : std::size_t {
  kNorm1,
  kWq,
  kBq,
  kWk,
  kBk,
  kWv,
  kBv,
  kQNorm,
  kKNorm,
  kWo,
  kBo,
  kNorm2,
  kWg,
  kBg,
  kWu,
  kBu,
  kWd,
  kBd,
  kRoles
};

struct RoleInfo {
  std::string_view symbol;
  std::string_view tensor;  // behind "blk.N."
  bool is_required;
  std::vector<i64> dims;
};

std::array<RoleInfo, kRoles> layer_roles(const DecoderShape& s, const DecoderTraits& traits) {
  i64 q = s.heads * s.key_dim;
  i64 k = s.kv_heads * s.key_dim;
  i64 v = s.kv_heads * s.value_dim;
  i64 a = s.heads * s.value_dim;
  bool qk = traits.has_qk_norm;
  return {{{"norm1", "attn_norm.weight", true, {s.width}},
           {"wq", "attn_q.weight", true, {q, s.width}},
           {"bq", "attn_q.bias", false, {q}},
           {"wk", "attn_k.weight", true, {k, s.width}},
           {"bk", "attn_k.bias", false, {k}},
           {"wv", "attn_v.weight", true, {v, s.width}},
           {"bv", "attn_v.bias", false, {v}},
           {"qnorm", "attn_q_norm.weight", qk, {s.key_dim}},
           {"knorm", "attn_k_norm.weight", qk, {s.key_dim}},
           {"wo", "attn_output.weight", true, {s.width, a}},
           {"bo", "attn_output.bias", false, {s.width}},
           {"norm2", "ffn_norm.weight", true, {s.width}},
           {"wg", "ffn_gate.weight", true, {s.ffn, s.width}},
           {"bg", "ffn_gate.bias", false, {s.ffn}},
           {"wu", "ffn_up.weight", true, {s.ffn, s.width}},
           {"bu", "ffn_up.bias", false, {s.ffn}},
           {"wd", "ffn_down.weight", true, {s.width, s.ffn}},
           {"bd", "ffn_down.bias", false, {s.width}}}};
}

using LayerSlots = std::array<WeightSlot, kRoles>;

// Layers first..first+count-1, alike in codecs and optional tensors.
struct Run {
  i64 first = 0;
  i64 count = 0;
  LayerSlots slots;  // of the first layer; the others follow it by one ordinal each
};

struct Tensors {
  WeightSymbols symbols;
  std::vector<Run> runs;
  WeightSlot embedding, final_norm, head, head_bias;
};

Result<const gguf::Tensor*> find_tensor(const gguf::File& file, const std::string& name,
                                        const std::vector<i64>& dims, bool is_required) {
  const gguf::Tensor* tensor = file.find_tensor(name);
  if (tensor == nullptr && is_required)
    return Error{Code::kNotFound, "gguf: tensor " + gguf::quote(name) + " is missing"};
  if (tensor != nullptr && tensor->dims != dims)
    return Error{Code::kInvalid,
                 fmt::format("gguf: tensor {} is {}, expected {}", gguf::quote(name),
                             gguf::dims_text(tensor->dims), gguf::dims_text(dims))};
  return tensor;
}

bool is_alike(const LayerSlots& a, const LayerSlots& b) {
  return std::equal(a.begin(), a.end(), b.begin(),
                    [](const WeightSlot& x, const WeightSlot& y) { return x.symbol == y.symbol; });
}

Status find_layers(const gguf::File& file, const DecoderShape& shape, const DecoderTraits& traits,
                   Tensors& out) {
  std::array<RoleInfo, kRoles> roles = layer_roles(shape, traits);
  for (i64 layer = 0; layer < shape.layers; ++layer) {
    LayerSlots slots;
    for (std::size_t role = 0; role < kRoles; ++role) {
      const RoleInfo& info = roles[role];
      std::string name = fmt::format("blk.{}.{}", layer, info.tensor);
      TG_ASSIGN(const gguf::Tensor* tensor, find_tensor(file, name, info.dims, info.is_required));
      if (tensor != nullptr) slots[role] = out.symbols.add(info.symbol, *tensor, true);
    }
    if (out.runs.empty() || !is_alike(out.runs.back().slots, slots))
      out.runs.push_back({.first = layer, .count = 0, .slots = slots});
    ++out.runs.back().count;
  }
  return {};
}

Result<Tensors> find_tensors(const gguf::File& file, const DecoderShape& shape,
                             const DecoderTraits& traits) {
  Tensors out;
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

// Writes the text; a method per part of the program.
class Draft {
 public:
  Draft(const DecoderTraits& traits, const DecoderShape& shape, const ImportOptions& options,
        const Tensors& tensors)
      : traits_(traits), s_(shape), options_(options), tensors_(tensors) {}

  std::string write() {
    declarations();
    constants();
    line(".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits");
    instruction("%x0", "embed", fmt::format("${}, %ids", symbol(tensors_.embedding)), "",
                tokens(s_.width));
    for (std::size_t i = 0; i < tensors_.runs.size(); ++i) run(i);
    head();
    line(".end");
    return std::move(text_);
  }

 private:
  void declarations();
  void constants();
  void run(std::size_t index);
  void attention_inputs(const Run& run);
  void attention(const Run& run);
  void feed_forward(const Run& run);
  void head();

  void line(std::string_view text) { text_.append(text).append("\n"); }
  // "  RESULT = OP OPERANDS  {ATTRIBUTES} -> TYPE"
  void instruction(std::string_view result, std::string_view op, std::string_view operands,
                   std::string_view attributes, std::string_view type) {
    std::string braced = attributes.empty() ? "" : fmt::format(" {{{}}}", attributes);
    line(fmt::format("  {} = {} {}{} -> {}", result, op, operands, braced, type));
  }

  std::string symbol(const WeightSlot& slot) const { return tensors_.symbols.name(slot.symbol); }
  // "$wq[l+4]"
  std::string weight(const Run& run, Role role) const {
    const WeightSlot& slot = run.slots[role];
    return fmt::format("${}[{}]", symbol(slot), loop_index(slot.ordinal));
  }
  static std::string loop_index(i64 offset) {
    return offset == 0 ? "l" : fmt::format("l+{}", offset);
  }
  // A value's name, which is unique in the function though each run repeats the same body.
  std::string value(std::string_view base) const { return fmt::format("%{}{}", base, suffix_); }
  std::string_view activation() const { return options_.activations_bf16 ? "bf16" : "f32"; }
  std::string tokens(i64 width) const { return fmt::format("{}[T,{}]", activation(), width); }

  void linear(const Run& run, std::string_view result, std::string_view x, Role w, Role bias,
              i64 width) {
    std::string operands = fmt::format("{}, {}", value(x), weight(run, w));
    if (run.slots[bias].exists()) operands += ", " + weight(run, bias);
    instruction(value(result), "linear", operands, "", tokens(width));
  }
  void norm(const Run& run, std::string_view result, std::string_view x, Role w, i64 group,
            i64 width) {
    std::string attributes = fmt::format("eps={}", s_.eps);
    if (group > 0) attributes += fmt::format(" group={}", group);
    instruction(value(result), "rmsnorm", fmt::format("{}, {}", value(x), weight(run, w)),
                attributes, tokens(width));
  }
  // Normalises per head if the layer does, then rotates; the result's name ends in 'r'.
  void rotate(const Run& run, std::string_view x, Role norm_role, i64 heads);

  const DecoderTraits& traits_;
  const DecoderShape& s_;
  const ImportOptions& options_;
  const Tensors& tensors_;
  std::string text_;
  std::string suffix_;  // of the current run's values
};

void Draft::declarations() {
  const isa::Bounds& b = options_.bounds;
  line(".tgp 1.0 profile=TEXT");
  line(fmt::format(".dim T<={} S<={} R<={} C<={}", b.tokens, b.sequences, b.rows,
                   b.context > 0 ? b.context : s_.context));
  line(fmt::format(".kv $kv layers={} heads={} dk={} dv={} fmt={} page={}", s_.layers, s_.kv_heads,
                   s_.key_dim, s_.value_dim, isa::info(options_.kv_format).name,
                   options_.kv_page_tokens));
  const std::vector<WeightSymbol>& symbols = tensors_.symbols.all();
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const WeightSymbol& w = symbols[i];
    std::string layers = w.is_layered ? fmt::format("[{}]", w.tensors.size()) : "";
    line(fmt::format(".w ${}{} {}{}", tensors_.symbols.name(static_cast<i32>(i)), layers,
                     isa::info(w.codec).name, gguf::dims_text(w.dims)));
  }
}

// Frequencies are written as words, so that the text says exactly what the program holds.
void Draft::constants() {
  std::string words;
  for (f32 frequency : s_.rope.inverse_frequencies)
    words += fmt::format(" {:#010x}", std::bit_cast<u32>(frequency));
  line(fmt::format(".const $invf f32[{}] ={}", s_.rope.inverse_frequencies.size(), words));
}

void Draft::run(std::size_t index) {
  const Run& run = tensors_.runs[index];
  suffix_ = tensors_.runs.size() == 1 ? "" : fmt::format("_{}", index);
  line(fmt::format("  %x{} = repeat l {} carry %x{} as {}", index + 1, run.count, index,
                   value("x")));
  attention_inputs(run);
  attention(run);
  feed_forward(run);
  line(fmt::format("  yield {}", value("y")));
}

void Draft::rotate(const Run& run, std::string_view x, Role norm_role, i64 heads) {
  std::string input(x);
  i64 width = heads * s_.key_dim;
  if (run.slots[norm_role].exists()) {
    std::string normed = input + "n";
    norm(run, normed, input, norm_role, s_.key_dim, width);
    input = normed;
  }
  std::string attributes =
      fmt::format("style={} heads={} rot={}",
                  traits_.rope == isa::RopeStyle::kGptj ? "gptj" : "neox", heads, s_.rotated);
  if (s_.rope.magnitude != 1.0f) attributes += fmt::format(" mscale={}", s_.rope.magnitude);
  instruction(value(fmt::format("{}r", x)), "rope", fmt::format("{}, %pos, $invf", value(input)),
              attributes, tokens(width));
}

void Draft::attention_inputs(const Run& run) {
  norm(run, "h", "x", kNorm1, 0, s_.width);
  linear(run, "q", "h", kWq, kBq, s_.heads * s_.key_dim);
  linear(run, "k", "h", kWk, kBk, s_.kv_heads * s_.key_dim);
  linear(run, "v", "h", kWv, kBv, s_.kv_heads * s_.value_dim);
  rotate(run, "q", kQNorm, s_.heads);
  rotate(run, "k", kKNorm, s_.kv_heads);
}

void Draft::attention(const Run& run) {
  std::string cache = fmt::format("$kv[{}]", loop_index(run.first));
  line(fmt::format("  kv_append {}, {}, {}, %bt", cache, value("kr"), value("v")));
  std::string attributes =
      fmt::format("heads={} mask=causal scale={}", s_.heads, s_.attention_scale);
  if (s_.window > 0) attributes += fmt::format(" window={}", s_.window);
  instruction(value("a"), "attn", fmt::format("{}, {}, %bt", value("qr"), cache), attributes,
              tokens(s_.heads * s_.value_dim));
  linear(run, "o", "a", kWo, kBo, s_.width);
  instruction(value("r"), "add", fmt::format("{}, {}", value("x"), value("o")), "",
              tokens(s_.width));
}

void Draft::feed_forward(const Run& run) {
  norm(run, "h2", "r", kNorm2, 0, s_.width);
  linear(run, "g", "h2", kWg, kBg, s_.ffn);
  linear(run, "u", "h2", kWu, kBu, s_.ffn);
  instruction(value("s"), "glu", fmt::format("{}, {}", value("g"), value("u")), "act=silu",
              tokens(s_.ffn));
  linear(run, "m", "s", kWd, kBd, s_.width);
  instruction(value("y"), "add", fmt::format("{}, {}", value("r"), value("m")), "",
              tokens(s_.width));
}

void Draft::head() {
  std::string rows = fmt::format("{}[R,{}]", activation(), s_.width);
  instruction("%xr", "gather", fmt::format("%x{}, %rows", tensors_.runs.size()), "", rows);
  instruction("%xn", "rmsnorm", fmt::format("%xr, ${}", symbol(tensors_.final_norm)),
              fmt::format("eps={}", s_.eps), rows);
  std::string operands = fmt::format("%xn, ${}", symbol(tensors_.head));
  if (tensors_.head_bias.exists()) operands += fmt::format(", ${}", symbol(tensors_.head_bias));
  instruction("%logits", "linear", operands, "", fmt::format("f32[R,{}]", s_.vocabulary));
}

}  // namespace

Result<Blueprint> draw_llama(const gguf::File& file, const DecoderTraits& traits,
                             const DecoderShape& shape, const ImportOptions& options) {
  TG_ASSIGN(Tensors tensors, find_tensors(file, shape, traits));
  Blueprint blueprint{.text = Draft(traits, shape, options, tensors).write()};
  const std::vector<WeightSymbol>& symbols = tensors.symbols.all();
  for (std::size_t i = 0; i < symbols.size(); ++i)
    blueprint.bindings.push_back({.symbol = tensors.symbols.name(static_cast<i32>(i)),
                                  .is_layered = symbols[i].is_layered,
                                  .tensors = symbols[i].tensors});
  return blueprint;
}

}  // namespace tg::model
