// Settings stand either beside the others (rope_theta, rope_scaling) or, in newer files, together
// in rope_parameters; a small view hides the difference.
#include "model/huggingface/rope.h"

#include <cmath>
#include <optional>

namespace tg::checkpoint {
namespace {

constexpr i64 kRotatedMax = 1 << 16;

struct Rope {
  const Config& config;
  std::optional<Config> scaling;  // where rope_type and its settings are
  const Family& family;
  const std::string& prefix;
  Metadata& out;

  void set(std::string_view key, gguf::WriteValue value) const {
    out.header.set(prefix + "rope." + std::string(key), std::move(value));
  }
  Status set_real(std::string_view key, std::string_view source) const {
    TG_ASSIGN(f64 value, scaling->real(source));
    f32 stored = static_cast<f32>(value);
    if (!(stored > 0)) return scaling->wrong(source, "expected a positive number");
    set(key, stored);
    return {};
  }
  // The context that the model was trained for, where scaling began.
  Status set_original_context(bool is_required) const {
    constexpr std::string_view kKey = "original_max_position_embeddings";
    const Config& source = scaling->has(kKey) ? *scaling : config;
    if (!is_required && !source.has(kKey)) return {};
    TG_ASSIGN(i64 value, source.integer(kKey, 1));
    set("scaling.original_context_length", static_cast<u32>(value));
    return {};
  }
};

// Newer files of families with windows hold one object per kind of layer. Windowed layers have a
// base of their own and no scaling.
Status write_local_base(const Config& local, const std::string& prefix, Metadata& out) {
  TG_ASSIGN(std::string type, local.text_or("rope_type", "default"));
  if (type != "default") return local.unsupported("rope_type");
  TG_ASSIGN(f64 base, local.real("rope_theta"));
  out.header.set(prefix + "rope.freq_base_swa", static_cast<f32>(base));
  return {};
}

Result<std::optional<Config>> find_scaling(const Config& config, const std::string& prefix,
                                           Metadata& out) {
  for (std::string_view key : {"rope_parameters", "rope_scaling"}) {
    if (!config.has(key)) continue;
    TG_ASSIGN(Config scaling, config.object(key));
    if (!scaling.has("full_attention")) return std::optional<Config>(scaling);
    TG_ASSIGN(Config full, scaling.object("full_attention"));
    if (scaling.has("sliding_attention")) {
      TG_ASSIGN(Config local, scaling.object("sliding_attention"));
      TG_TRY(write_local_base(local, prefix, out));
    }
    return std::optional<Config>(full);
  }
  return std::optional<Config>();
}

Status write_base(const Rope& rope) {
  constexpr std::string_view kKey = "rope_theta";
  bool is_inside = rope.scaling.has_value() && rope.scaling->has(kKey);
  const Config& source = is_inside ? *rope.scaling : rope.config;
  if (!source.has(kKey) && rope.family.rope_base_default > 0) {
    rope.set("freq_base", static_cast<f32>(rope.family.rope_base_default));
    return {};
  }
  TG_ASSIGN(f64 base, source.real(kKey));
  if (!(base > 1)) return source.wrong(kKey, "expected more than 1");
  rope.set("freq_base", static_cast<f32>(base));
  return {};
}

Result<i64> head_dim(const Config& config) {
  if (config.has("head_dim")) return config.integer("head_dim", 1);
  TG_ASSIGN(i64 width, config.integer("hidden_size", 1));
  TG_ASSIGN(i64 heads, config.integer("num_attention_heads", 1));
  return width / heads;
}

Status write_share(const Rope& rope) {
  constexpr std::string_view kKey = "partial_rotary_factor";
  bool is_inside = rope.scaling.has_value() && rope.scaling->has(kKey);
  const Config& source = is_inside ? *rope.scaling : rope.config;
  TG_ASSIGN(f64 share, source.real_or(kKey, rope.family.rotary_share_default));
  if (!(share > 0 && share <= 1)) return source.wrong(kKey, "expected more than 0 and at most 1");
  if (share == 1) return {};
  TG_ASSIGN(i64 dim, head_dim(rope.config));
  if (dim > kRotatedMax) return rope.config.unsupported("head_dim");
  rope.set("dimension_count", static_cast<u32>(static_cast<f64>(dim) * share));
  return {};
}

Status write_linear(const Rope& rope) {
  rope.set("scaling.type", std::string("linear"));
  return rope.set_real("scaling.factor", "factor");
}

// The base only grows once a text is longer than the model's context, which a program never is.
Status write_dynamic(const Rope& rope) {
  if (rope.scaling->has("alpha")) return rope.scaling->unsupported("alpha");
  return {};
}

Status write_llama3(const Rope& rope) {
  rope.set("scaling.type", std::string("llama3"));
  TG_TRY(rope.set_real("scaling.factor", "factor"));
  TG_TRY(rope.set_real("scaling.low_freq_factor", "low_freq_factor"));
  TG_TRY(rope.set_real("scaling.high_freq_factor", "high_freq_factor"));
  return rope.set_original_context(true);
}

f64 yarn_magnitude(f64 factor, f64 multiplier) {
  return factor <= 1 ? 1 : 1 + 0.1 * multiplier * std::log(factor);
}

// Templates multiply q and k by yarn_magnitude(factor, 1) unless a factor on top says otherwise.
Status write_yarn_magnitude(const Rope& rope, f64 factor) {
  const Config& s = *rope.scaling;
  TG_ASSIGN(f64 of_rope, s.real_or("mscale", 0));
  TG_ASSIGN(f64 of_all, s.real_or("mscale_all_dim", 0));
  if (rope.family.gguf == "deepseek2") {
    if (of_rope != of_all) return s.wrong("mscale", "which differs from mscale_all_dim");
    if (s.has("attention_factor")) return s.unsupported("attention_factor");
    rope.set("scaling.yarn_log_multiplier", static_cast<f32>(0.1 * of_all));
    return {};
  }
  f64 usual = yarn_magnitude(factor, 1);
  bool has_both = of_rope != 0 && of_all != 0;
  f64 derived = has_both ? yarn_magnitude(factor, of_rope) / yarn_magnitude(factor, of_all) : usual;
  TG_ASSIGN(f64 wanted, s.real_or("attention_factor", derived));
  if (!(wanted > 0)) return s.wrong("attention_factor", "expected a positive number");
  if (wanted != usual) rope.set("scaling.attn_factor", static_cast<f32>(wanted / usual));
  return {};
}

Status write_yarn(const Rope& rope) {
  const Config& s = *rope.scaling;
  rope.set("scaling.type", std::string("yarn"));
  TG_TRY(rope.set_real("scaling.factor", "factor"));
  TG_TRY(rope.set_original_context(false));
  if (s.has("beta_fast")) TG_TRY(rope.set_real("scaling.yarn_beta_fast", "beta_fast"));
  if (s.has("beta_slow")) TG_TRY(rope.set_real("scaling.yarn_beta_slow", "beta_slow"));
  TG_ASSIGN(bool truncates, s.boolean_or("truncate", true));
  if (truncates != rope.family.truncates_yarn) return s.unsupported("truncate");
  TG_ASSIGN(f64 factor, s.real("factor"));
  return write_yarn_magnitude(rope, factor);
}

Status add_table(const Rope& rope, std::string_view key, std::string_view tensor) {
  TG_ASSIGN(std::vector<f64> values, rope.scaling->reals(key));
  if (values.empty()) return rope.scaling->wrong(key, "expected numbers");
  std::vector<f32> table;
  for (f64 value : values) table.push_back(static_cast<f32>(value));
  rope.out.tables.emplace_back(tensor, std::move(table));
  return {};
}

Status write_longrope(const Rope& rope) {
  const Config& s = *rope.scaling;
  for (std::string_view key : {"short_mscale", "long_mscale"})
    if (s.has(key)) return s.unsupported(key);
  rope.set("scaling.type", std::string("longrope"));
  TG_TRY(rope.set_original_context(true));
  if (s.has("attention_factor")) TG_TRY(rope.set_real("scaling.attn_factor", "attention_factor"));
  TG_TRY(add_table(rope, "short_factor", "rope_factors_short.weight"));
  return add_table(rope, "long_factor", "rope_factors_long.weight");
}

struct Scaling {
  std::string_view type;
  Status (*write)(const Rope& rope);  // nullptr: nothing is scaled
};

constexpr auto kScalings = std::to_array<Scaling>({
    {"default", nullptr},
    {"linear", write_linear},
    {"dynamic", write_dynamic},
    {"llama3", write_llama3},
    {"yarn", write_yarn},
    {"longrope", write_longrope},
    {"su", write_longrope},
});

Status write_scaling(const Rope& rope) {
  std::string_view key = rope.scaling->has("rope_type") ? "rope_type" : "type";
  TG_ASSIGN(std::string type, rope.scaling->text_or(key, "default"));
  for (const Scaling& scaling : kScalings)
    if (scaling.type == type) return scaling.write == nullptr ? Status() : scaling.write(rope);
  return rope.scaling->unsupported(key);
}

}  // namespace

Status write_rope(const Config& config, const Family& family, const std::string& prefix,
                  Metadata& out) {
  TG_ASSIGN(std::optional<Config> scaling, find_scaling(config, prefix, out));
  Rope rope{config, scaling, family, prefix, out};
  TG_TRY(write_base(rope));
  TG_TRY(write_share(rope));
  return scaling.has_value() ? write_scaling(rope) : Status();
}

}  // namespace tg::checkpoint
