// The whole program fits one screen: what comes in, one layer, what goes out.
#include "model/architecture/encoder.h"

#include <algorithm>
#include <cmath>

#include "isa/limits.h"
#include "model/architecture/decoder_tensors.h"
#include "model/architecture/keys.h"
#include "model/architecture/program_text.h"
#include "model/architecture/shape.h"

namespace tg::model {
namespace {

constexpr std::string_view kTypes = "token_types.weight";

// Numbers of the container's pooling types.
Result<isa::Pooling> read_pooling(const Keys& keys) {
  TG_ASSIGN(i64 type, keys.integer_or("pooling_type", 1, {1, 3}));
  if (type == 2) return isa::Pooling::kCls;
  return type == 3 ? isa::Pooling::kLast : isa::Pooling::kMean;
}

Result<i64> read_types(const gguf::File& file) {
  const gguf::Tensor* types = file.find_tensor(kTypes);
  if (types == nullptr)
    return Error{Code::kNotFound, fmt::format("gguf: tensor {} is missing", gguf::quote(kTypes))};
  return types->dims[0];
}

// Layers first..first+count-1, alike in codecs; slots of the first, in the order of encoder_layer.
struct EncoderRun {
  i64 first = 0;
  i64 count = 0;
  std::vector<WeightSlot> slots;
};

struct EncoderTensors {
  WeightSymbols symbols;
  std::vector<EncoderRun> runs;
  DerivedTensors derived;
};

// Every token is of the first type, so that of the table only the first row is a weight.
Result<const gguf::Tensor*> first_type(const gguf::File& file, const EncoderShape& shape,
                                       DerivedTensors& derived) {
  TG_ASSIGN(const gguf::Tensor* types,
            find_tensor(file, std::string(kTypes), {shape.types, shape.width}, true));
  gguf::Tensor row = *types;
  row.dims = {shape.width};
  row.bytes = types->bytes / static_cast<u64>(shape.types);
  if (!types->data.empty()) row.data = types->data.first(row.bytes);
  derived.push_back(std::make_unique<gguf::Tensor>(std::move(row)));
  return derived.back().get();
}

bool is_alike(const std::vector<WeightSlot>& a, const std::vector<WeightSlot>& b) {
  return std::equal(a.begin(), a.end(), b.begin(),
                    [](const WeightSlot& x, const WeightSlot& y) { return x.symbol == y.symbol; });
}

Result<EncoderTensors> find_tensors(const gguf::File& file, const EncoderShape& shape) {
  EncoderTensors out;
  for (const EncoderTensor& global : encoder_globals(shape)) {
    if (global.tensor == kTypes) continue;
    TG_ASSIGN(const gguf::Tensor* tensor,
              find_tensor(file, std::string(global.tensor), global.dims, true));
    out.symbols.add(global.symbol, *tensor, false);
  }
  TG_ASSIGN(const gguf::Tensor* type, first_type(file, shape, out.derived));
  out.symbols.add("type0", *type, false);
  std::vector<EncoderTensor> parts = encoder_layer(shape);
  for (i64 layer = 0; layer < shape.layers; ++layer) {
    std::vector<WeightSlot> slots;
    for (const EncoderTensor& part : parts) {
      std::string name = fmt::format("blk.{}.{}", layer, part.tensor);
      TG_ASSIGN(const gguf::Tensor* tensor, find_tensor(file, name, part.dims, true));
      slots.push_back(out.symbols.add(part.symbol, *tensor, true));
    }
    if (out.runs.empty() || !is_alike(out.runs.back().slots, slots))
      out.runs.push_back({.first = layer, .count = 0, .slots = std::move(slots)});
    ++out.runs.back().count;
  }
  return out;
}

class EncoderDraft {
 public:
  EncoderDraft(const EncoderShape& shape, const ImportOptions& options,
               const EncoderTensors& tensors)
      : s_(shape), options_(options), tensors_(tensors), parts_(encoder_layer(shape)) {}

  std::string write() {
    text_.begin("TEXT,EMBED", options_, s_.context);
    text_.append(weight_declarations(tensors_.symbols));
    text_.line(".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %emb");
    input();
    for (std::size_t i = 0; i < tensors_.runs.size(); ++i) run(i);
    std::span<const std::string_view> names = isa::value_names(isa::AttributeKey::kPooling);
    instruction("%emb", "pool", fmt::format("%x{}, %bt", tensors_.runs.size()),
                fmt::format("pooling={} norm=1", names[static_cast<std::size_t>(s_.pooling)]),
                fmt::format("f32[S,{}]", s_.width));
    text_.line(".end");
    return text_.take();
  }

 private:
  void input();
  void run(std::size_t index);
  void attention();
  void feed_forward();

  void instruction(std::string_view result, std::string_view op, std::string_view operands,
                   std::string_view attributes, std::string_view type) {
    text_.instruction(result, op, operands, attributes, type);
  }
  // A value of the current run, whose name is unique in the function.
  std::string value(std::string_view base) const { return fmt::format("%{}{}", base, suffix_); }
  // "$wq[l+4]"
  std::string weight(std::string_view role) const {
    const WeightSlot& slot = slot_of(role);
    std::string index = slot.ordinal == 0 ? "l" : fmt::format("l+{}", slot.ordinal);
    return fmt::format("${}[{}]", tensors_.symbols.name(slot.symbol), index);
  }
  const WeightSlot& slot_of(std::string_view role) const {
    std::vector<EncoderTensor>::const_iterator part =
        std::find_if(parts_.begin(), parts_.end(),
                     [&](const EncoderTensor& candidate) { return candidate.symbol == role; });
    TG_ASSERT(part != parts_.end());
    return run_->slots[static_cast<std::size_t>(part - parts_.begin())];
  }
  void linear(std::string_view result, std::string_view x, std::string_view role, i64 width) {
    std::string w = weight(fmt::format("w{}", role));
    std::string b = weight(fmt::format("b{}", role));
    i32 symbol = slot_of(fmt::format("w{}", role)).symbol;
    isa::DType codec = tensors_.symbols.all()[static_cast<std::size_t>(symbol)].codec;
    instruction(value(result), "linear", fmt::format("{}, {}, {}", value(x), w, b),
                product_attributes(codec, options_), tokens(width));
  }
  void norm(std::string_view result, std::string_view operands) {
    instruction(result, "layernorm", operands, fmt::format("eps={}", s_.eps), tokens(s_.width));
  }
  void layer_norm(std::string_view result, std::string_view x, std::string_view role) {
    norm(value(result),
         fmt::format("{}, {}, {}", value(x), weight(role), weight(fmt::format("b{}", role))));
  }
  void add(std::string_view result, std::string_view a, std::string_view b) {
    instruction(value(result), "add", fmt::format("{}, {}", value(a), value(b)), "",
                tokens(s_.width));
  }
  std::string tokens(i64 width) const {
    return fmt::format("{}[T,{}]", options_.activations_bf16 ? "bf16" : "f32", width);
  }

  const EncoderShape& s_;
  const ImportOptions& options_;
  const EncoderTensors& tensors_;
  std::vector<EncoderTensor> parts_;
  const EncoderRun* run_ = nullptr;  // being written
  ProgramText text_;
  std::string suffix_;
};

void EncoderDraft::input() {
  std::string row = tokens(s_.width);
  instruction("%e", "embed", "$embd, %ids", "", row);
  instruction("%p", "embed", "$pos, %pos", "", row);
  instruction("%et", "add", "%e, $type0", "", row);
  instruction("%ep", "add", "%et, %p", "", row);
  norm("%x0", "%ep, $norm0, $bnorm0");
}

void EncoderDraft::run(std::size_t index) {
  run_ = &tensors_.runs[index];
  suffix_ = tensors_.runs.size() == 1 ? "" : fmt::format("_{}", index);
  text_.line(fmt::format("  %x{} = repeat l {} carry %x{} as {}", index + 1, run_->count, index,
                         value("x")));
  attention();
  feed_forward();
  text_.line(fmt::format("  yield {}", value("y")));
}

void EncoderDraft::attention() {
  linear("q", "x", "q", s_.width);
  linear("k", "x", "k", s_.width);
  linear("v", "x", "v", s_.width);
  f32 scale = 1 / std::sqrt(static_cast<f32>(s_.width / s_.heads));
  instruction(value("a"), "attn_dense",
              fmt::format("{}, {}, {}, %bt", value("q"), value("k"), value("v")),
              fmt::format("heads={} kv_heads={} mask=full scale={}", s_.heads, s_.heads, scale),
              tokens(s_.width));
  linear("o", "a", "o", s_.width);
  add("r", "x", "o");
  layer_norm("h", "r", "norm1");
}

void EncoderDraft::feed_forward() {
  linear("u", "h", "u", s_.ffn);
  instruction(value("s"), "act", value("u"), "act=gelu_erf", tokens(s_.ffn));
  linear("m", "s", "d", s_.width);
  add("z", "h", "m");
  layer_norm("y", "z", "norm2");
}

}  // namespace

std::vector<EncoderTensor> encoder_globals(const EncoderShape& s) {
  return {{"embd", "token_embd.weight", {s.vocabulary, s.width}},
          {"pos", "position_embd.weight", {s.context, s.width}},
          {"types", kTypes, {s.types, s.width}},
          {"norm0", "token_embd_norm.weight", {s.width}},
          {"bnorm0", "token_embd_norm.bias", {s.width}}};
}

std::vector<EncoderTensor> encoder_layer(const EncoderShape& s) {
  return {{"wq", "attn_q.weight", {s.width, s.width}},
          {"bq", "attn_q.bias", {s.width}},
          {"wk", "attn_k.weight", {s.width, s.width}},
          {"bk", "attn_k.bias", {s.width}},
          {"wv", "attn_v.weight", {s.width, s.width}},
          {"bv", "attn_v.bias", {s.width}},
          {"wo", "attn_output.weight", {s.width, s.width}},
          {"bo", "attn_output.bias", {s.width}},
          {"norm1", "attn_output_norm.weight", {s.width}},
          {"bnorm1", "attn_output_norm.bias", {s.width}},
          {"wu", "ffn_up.weight", {s.ffn, s.width}},
          {"bu", "ffn_up.bias", {s.ffn}},
          {"wd", "ffn_down.weight", {s.width, s.ffn}},
          {"bd", "ffn_down.bias", {s.width}},
          {"norm2", "layer_output_norm.weight", {s.width}},
          {"bnorm2", "layer_output_norm.bias", {s.width}}};
}

Result<EncoderShape> read_encoder_shape(const gguf::File& file, const DecoderTraits& traits) {
  TG_ASSERT(traits.stack == Stack::kEncoder);
  Keys keys(file, traits.name);
  EncoderShape shape;
  TG_ASSIGN(shape.layers, keys.integer("block_count", {1, isa::kLayersMax}));
  TG_ASSIGN(shape.width, keys.integer("embedding_length", {1, isa::kDimMax}));
  TG_ASSIGN(shape.heads, keys.integer("attention.head_count", {1, isa::kHeadsMax}));
  if (shape.width % shape.heads != 0)
    return Error{Code::kInvalid,
                 fmt::format("gguf: key {} is {}, not a multiple of {} heads",
                             gguf::quote(keys.full("embedding_length")), shape.width, shape.heads)};
  TG_ASSIGN(shape.ffn, keys.integer("feed_forward_length", {1, isa::kDimMax}));
  TG_ASSIGN(shape.context, keys.integer("context_length", {1, isa::kContextMax}));
  TG_ASSIGN(f64 eps, keys.positive("attention.layer_norm_epsilon"));
  shape.eps = static_cast<f32>(eps);
  TG_ASSIGN(shape.pooling, read_pooling(keys));
  TG_ASSIGN(shape.vocabulary, read_vocabulary_size(file));
  TG_ASSIGN(shape.types, read_types(file));
  TG_ASSIGN(std::optional<bool> is_causal, file.boolean(keys.full("attention.causal")));
  if (!is_causal.value_or(false)) return shape;
  return Error{Code::kUnsupported, fmt::format("gguf: key {} is true, which is not supported",
                                               gguf::quote(keys.full("attention.causal")))};
}

Result<Blueprint> draw_encoder(const gguf::File& file, const EncoderShape& shape,
                               const ImportOptions& options) {
  TG_ASSIGN(EncoderTensors tensors, find_tensors(file, shape));
  std::string text = EncoderDraft(shape, options, tensors).write();
  return Blueprint{.text = std::move(text),
                   .bindings = bindings_of(tensors.symbols),
                   .derived = std::move(tensors.derived)};
}

}  // namespace tg::model
