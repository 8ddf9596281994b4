// The program around the layers' blocks: declarations, one `repeat` per run of layers, the head.
#include "model/architecture/decoder.h"

#include <algorithm>

#include "model/architecture/decoder_draft.h"

namespace tg::model {

std::string DecoderDraft::write() {
  declarations();
  constants();
  function(Entry::kMain);
  if (traits_.attention == AttentionKind::kLatent) function(Entry::kFresh);
  return text_.take();
}

void DecoderDraft::declarations() {
  std::string profiles = "TEXT";
  if (s_.experts.count > 0) profiles += ",MOE";
  if (traits_.attention == AttentionKind::kLatent) profiles += ",EMBED";  // attn_dense
  text_.begin(profiles, options_, s_.context);
  caches();
  text_.append(weight_declarations(tensors_.symbols));
}

void DecoderDraft::caches() {
  std::string_view format = isa::info(options_.kv_format).name;
  if (traits_.attention == AttentionKind::kLatent) {
    text_.line(fmt::format(".kv $kv layers={} heads=1 dk={} dv=0 fmt={} page={} latent={}",
                           s_.layers, s_.latent.rank + s_.rotated, format, options_.kv_page_tokens,
                           s_.latent.rank));
    return;
  }
  text_.line(fmt::format(".kv $kv layers={} heads={} dk={} dv={} fmt={} page={}", s_.layers,
                         s_.kv_heads, s_.key_dim, s_.value_dim, format, options_.kv_page_tokens));
}

// Row 0 of two tables is that of windowed layers.
void DecoderDraft::constants() {
  std::vector<f32> values = s_.rope.inverse_frequencies;
  std::string dims = std::to_string(values.size());
  if (s_.local_rope.has_value()) {
    const std::vector<f32>& local = s_.local_rope->inverse_frequencies;
    values.insert(values.begin(), local.begin(), local.end());
    dims = "2," + dims;
  }
  text_.constant("invf", dims, values);
}

void DecoderDraft::function(Entry entry) {
  entry_ = entry;
  std::string_view signature = "(%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits";
  text_.line(entry == Entry::kMain ? fmt::format(".func main {}", signature)
                                   : fmt::format(".func prefill {} when past=0", signature));
  embedding();
  for (std::size_t i = 0; i < tensors_.runs.size(); ++i) run(i);
  head();
  text_.line(".end");
}

void DecoderDraft::embedding() {
  std::string operands = fmt::format("${}, %ids", symbol(tensors_.embedding));
  if (s_.embedding_scale == 1.0f) {
    instruction("%x0", "embed", operands, "", tokens(s_.width));
    return;
  }
  instruction("%e", "embed", operands, "", tokens(s_.width));
  instruction("%x0", "mul", "%e", fmt::format("alpha={}", s_.embedding_scale), tokens(s_.width));
}

void DecoderDraft::run(std::size_t index) {
  const Run& run = tensors_.runs[index];
  suffix_ = tensors_.runs.size() == 1 ? "" : fmt::format("_{}", index);
  text_.line(fmt::format("  %x{} = repeat l {} carry %x{} as {}", index + 1, run.count, index,
                         value("x")));
  norm(run, "h", "x", kNorm1, 0, s_.width);
  bool is_latent = traits_.attention == AttentionKind::kLatent;
  residual(run, "r", "x", is_latent ? latent_attention(run) : grouped_attention(run), kPost1);
  norm(run, "h2", "r", kNorm2, 0, s_.width);
  bool has_experts = run.slots[kRouter].exists();
  residual(run, "y", "r", has_experts ? expert_feed_forward(run) : dense_feed_forward(run), kPost2);
  text_.line(fmt::format("  yield {}", value("y")));
}

void DecoderDraft::residual(const Run& run, std::string_view result, std::string_view x,
                            std::string_view block, Role post_norm) {
  std::string added(block);
  if (run.slots[post_norm].exists()) {
    added += "n";
    norm(run, added, block, post_norm, 0, s_.width);
  }
  instruction(value(result), "add", fmt::format("{}, {}", value(x), value(added)), "",
              tokens(s_.width));
}

void DecoderDraft::head() {
  std::string rows = fmt::format("{}[R,{}]", activation(), s_.width);
  std::string scores = fmt::format("f32[R,{}]", s_.vocabulary);
  instruction("%xr", "gather", fmt::format("%x{}, %rows", tensors_.runs.size()), "", rows);
  instruction("%xn", "rmsnorm", fmt::format("%xr, ${}", symbol(tensors_.final_norm)),
              fmt::format("eps={}", s_.eps), rows);
  std::string operands = fmt::format("%xn, ${}", symbol(tensors_.head));
  if (tensors_.head_bias.exists()) operands += fmt::format(", ${}", symbol(tensors_.head_bias));
  bool is_capped = s_.logit_softcap > 0;
  instruction(is_capped ? "%scores" : "%logits", "linear", operands, product(tensors_.head),
              scores);
  if (is_capped)
    instruction("%logits", "act", "%scores",
                fmt::format("act=softcap softcap={}", s_.logit_softcap), scores);
}

void DecoderDraft::linear(const Run& run, std::string_view result, std::string_view x, Role w,
                          Role bias, i64 width) {
  std::string operands = fmt::format("{}, {}", value(x), weight(run, w));
  if (bias != kRoles && run.slots[bias].exists()) operands += ", " + weight(run, bias);
  instruction(value(result), "linear", operands, product(run.slots[w]), tokens(width));
}

void DecoderDraft::norm(const Run& run, std::string_view result, std::string_view x, Role w,
                        i64 group, i64 width) {
  std::string attributes = fmt::format("eps={}", s_.eps);
  if (group > 0) attributes += fmt::format(" group={}", group);
  instruction(value(result), "rmsnorm", fmt::format("{}, {}", value(x), weight(run, w)), attributes,
              tokens(width));
}

void DecoderDraft::view(std::string_view result, std::string_view x, i64 offset,
                        std::string_view type) {
  instruction(value(result), "view", value(x), offset > 0 ? fmt::format("offset={}", offset) : "",
              type);
}

std::string DecoderDraft::by_window(const Run& run, std::string_view key, i64 windowed,
                                    i64 other) const {
  std::vector<i64> values;
  for (i64 i = 0; i < std::min(run.count, s_.window_period); ++i)
    values.push_back(s_.is_windowed(run.first + i) ? windowed : other);
  bool is_one = std::equal(values.begin() + 1, values.end(), values.begin());
  if (is_one && values[0] == 0) return "";
  if (is_one) return fmt::format(" {}={}", key, values[0]);
  return fmt::format(" {}=cyc({})", key, fmt::join(values, ","));
}

Result<Blueprint> draw_decoder(const gguf::File& file, const DecoderTraits& traits,
                               const DecoderShape& shape, const ImportOptions& options) {
  TG_ASSIGN(DecoderTensors tensors, find_decoder_tensors(file, shape, traits));
  std::string text = DecoderDraft(traits, shape, options, tensors).write();
  return Blueprint{
      .text = std::move(text), .bindings = bindings_of(tensors.symbols), .derived = {}};
}

}  // namespace tg::model
