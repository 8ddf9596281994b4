// Attention over cached keys and values, grouped by heads.
#include "model/architecture/decoder_draft.h"

namespace tg::model {

std::string_view DecoderDraft::grouped_attention(const Run& run) {
  grouped_inputs(run);
  rotate(run, "q", kQNorm, s_.heads);
  rotate(run, "k", kKNorm, s_.kv_heads);
  text_.line(fmt::format("  kv_append {}, {}, {}, %bt", cache(run), value("kr"), value("v")));
  std::string attributes =
      fmt::format("heads={} mask=causal scale={}", s_.heads, s_.attention_scale);
  attributes += by_window(run, "window", s_.window, 0);
  if (s_.attention_softcap > 0) attributes += fmt::format(" softcap={}", s_.attention_softcap);
  std::string operands = fmt::format("{}, {}, %bt", value("qr"), cache(run));
  if (run.slots[kSinks].exists()) operands += ", " + weight(run, kSinks);
  instruction(value("a"), "attn", operands, attributes, tokens(s_.heads * s_.value_dim));
  linear(run, "o", "a", kWo, kBo, s_.width);
  return "o";
}

void DecoderDraft::grouped_inputs(const Run& run) {
  i64 q = s_.heads * s_.key_dim;
  i64 k = s_.kv_heads * s_.key_dim;
  i64 v = s_.kv_heads * s_.value_dim;
  if (run.slots[kWqkv].exists()) {
    linear(run, "qkv", "h", kWqkv, kBqkv, q + k + v);
    view("q", "qkv", 0, tokens(q));
    view("k", "qkv", q, tokens(k));
    view("v", "qkv", q + k, tokens(v));
    return;
  }
  linear(run, "q", "h", kWq, kBq, q);
  linear(run, "k", "h", kWk, kBk, k);
  linear(run, "v", "h", kWv, kBv, v);
}

void DecoderDraft::rotate(const Run& run, std::string_view x, Role norm_role, i64 heads) {
  std::string input(x);
  i64 width = heads * s_.key_dim;
  if (run.slots[norm_role].exists()) {
    std::string normed = input + "n";
    norm(run, normed, input, norm_role, s_.key_dim, width);
    input = normed;
  }
  instruction(value(fmt::format("{}r", x)), "rope", fmt::format("{}, %pos, $invf", value(input)),
              rope_attributes(run, heads, 0), tokens(width));
}

std::string DecoderDraft::rope_attributes(const Run& run, i64 heads, i64 offset) const {
  std::string out =
      fmt::format("style={} heads={} rot={}",
                  s_.rope_style == isa::RopeStyle::kGptj ? "gptj" : "neox", heads, s_.rotated);
  if (offset > 0) out += fmt::format(" offset={}", offset);
  if (s_.rope.magnitude != 1.0f) out += fmt::format(" mscale={}", s_.rope.magnitude);
  if (s_.local_rope.has_value()) out += by_window(run, "table", 0, 1);
  return out;
}

}  // namespace tg::model
