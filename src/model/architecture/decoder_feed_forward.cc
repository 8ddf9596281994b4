// Gated feed-forward blocks: one dense block, or the experts that a router picks for each token,
// beside one that every token takes.
#include "model/architecture/decoder_draft.h"

namespace tg::model {

std::string DecoderDraft::gate_attributes() const {
  std::span<const std::string_view> names = isa::value_names(isa::AttributeKey::kAct);
  return fmt::format("act={}", names[static_cast<std::size_t>(traits_.gate)]);
}

std::string_view DecoderDraft::dense_feed_forward(const Run& run) {
  std::string operands = value("gu");
  if (traits_.is_gate_up_fused) {
    linear(run, "gu", "h2", kWu, kBu, 2 * s_.ffn);
  } else {
    linear(run, "g", "h2", kWg, kBg, s_.ffn);
    linear(run, "u", "h2", kWu, kBu, s_.ffn);
    operands = fmt::format("{}, {}", value("g"), value("u"));
  }
  instruction(value("s"), "glu", operands, gate_attributes(), tokens(s_.ffn));
  linear(run, "m", "s", kWd, kBd, s_.width);
  return "m";
}

void DecoderDraft::route(const Run& run) {
  const ExpertShape& e = s_.experts;
  std::string operands = fmt::format("{}, {}", value("h2"), weight(run, kRouter));
  if (run.slots[kBrouter].exists()) operands += ", " + weight(run, kBrouter);
  instruction(value("lg"), "linear", operands, "", fmt::format("f32[T,{}]", e.count));
  operands = value("lg");
  if (run.slots[kSelect].exists()) operands += ", " + weight(run, kSelect);
  std::span<const std::string_view> scores = isa::value_names(isa::AttributeKey::kScore);
  std::string attributes =
      fmt::format("k={} score={}", e.used, scores[static_cast<std::size_t>(e.score)]);
  if (e.groups > 1)
    attributes += fmt::format(" groups={} topk_groups={} group_score={}", e.groups, e.groups_used,
                              e.score == isa::RouteScore::kSigmoid ? "top2" : "max");
  if (e.renormalizes) attributes += " renorm=1";
  if (e.scale != 1.0f) attributes += fmt::format(" scale={}", e.scale);
  instruction(fmt::format("{}, {}", value("rw"), value("pm")), "route", operands, attributes,
              fmt::format("f32[T,{}], perm[T,{},{}]", e.used, e.used, e.count));
}

std::string_view DecoderDraft::expert_feed_forward(const Run& run) {
  const ExpertShape& e = s_.experts;
  route(run);
  auto grouped = [&](std::string_view result, std::string_view x, Role w, Role bias, i64 width) {
    std::string operands = fmt::format("{}, {}, {}", value(x), weight(run, w), value("pm"));
    if (run.slots[bias].exists()) operands += ", " + weight(run, bias);
    instruction(value(result), "grouped_linear", operands, product(run.slots[w]), routed(width));
  };
  grouped("eg", "h2", kEg, kBeg, e.ffn);
  grouped("eu", "h2", kEu, kBeu, e.ffn);
  instruction(value("es"), "glu", fmt::format("{}, {}", value("eg"), value("eu")),
              gate_attributes(), routed(e.ffn));
  grouped("ed", "es", kEd, kBed, s_.width);
  instruction(value("m"), "combine",
              fmt::format("{}, {}, {}", value("ed"), value("pm"), value("rw")), "",
              tokens(s_.width));
  if (e.shared_ffn == 0) return "m";
  shared_expert(run);
  return "mm";
}

void DecoderDraft::shared_expert(const Run& run) {
  i64 ffn = s_.experts.shared_ffn;
  linear(run, "sg", "h2", kSg, kRoles, ffn);
  linear(run, "su", "h2", kSu, kRoles, ffn);
  instruction(value("ss"), "glu", fmt::format("{}, {}", value("sg"), value("su")),
              gate_attributes(), tokens(ffn));
  linear(run, "sd", "ss", kSd, kRoles, s_.width);
  instruction(value("mm"), "add", fmt::format("{}, {}", value("m"), value("sd")), "",
              tokens(s_.width));
}

}  // namespace tg::model
