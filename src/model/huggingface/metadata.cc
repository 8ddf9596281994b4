// Tables first; then what is checked over several keys.
#include "model/huggingface/metadata.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/architecture/shape.h"
#include "model/huggingface/rope.h"

namespace tg::checkpoint {
namespace {

Status write_key(const Config& config, const KeyRow& row, const std::string& prefix,
                 gguf::Header& out) {
  if (!row.is_required && !config.has(row.key)) return {};
  std::string name = prefix + std::string(row.gguf);
  switch (row.type) {
    case KeyType::kCount: {
      TG_ASSIGN(i64 value, config.integer(row.key, 0));
      out.set(name, static_cast<u32>(value));
      break;
    }
    case KeyType::kReal: {
      TG_ASSIGN(f64 value, config.real(row.key));
      out.set(name, static_cast<f32>(value));
      break;
    }
    case KeyType::kFlag: {
      TG_ASSIGN(bool value, config.boolean(row.key));
      out.set(name, value);
      break;
    }
  }
  return {};
}

Status check_expectation(const Config& config, const Expectation& row) {
  const Json* value = config.find(row.key);
  if (value == nullptr) return {};
  std::string found = value->kind == Json::Kind::kText ? value->text : show(*value);
  for (std::string_view rest = row.values; !rest.empty();) {
    std::size_t end = std::min(rest.find('|'), rest.size());
    if (rest.substr(0, end) == found) return {};
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return config.unsupported(row.key);
}

bool has_window(const gguf::Header& header, const std::string& prefix) {
  return std::any_of(header.metadata.begin(), header.metadata.end(), [&](const auto& entry) {
    return entry.first == prefix + "attention.sliding_window";
  });
}

// Which layers see all keys is one period for the template; a file that lists them must agree.
Status check_layer_types(const Config& config, const Family& family, bool is_windowed) {
  if (!config.has("layer_types")) return {};
  TG_ASSIGN(std::vector<std::string> types, config.texts("layer_types"));
  TG_ASSIGN(i64 period, config.integer_or("sliding_window_pattern", 1, family.window_period));
  for (std::size_t i = 0; i < types.size(); ++i) {
    bool is_full = !is_windowed || (period > 1 && (i + 1) % static_cast<u64>(period) == 0);
    if (types[i] != (is_full ? "full_attention" : "sliding_attention"))
      return config.unsupported("layer_types");
  }
  return {};
}

}  // namespace

Result<Metadata> write_metadata(const Config& config, const Family& family, std::string_view name) {
  Metadata out;
  std::string prefix = std::string(family.gguf) + ".";
  out.header.set("general.architecture", std::string(family.gguf));
  out.header.set("general.name", std::string(name));
  if (!family.rope_style.empty())
    out.header.set(model::kRopeStyleKey, std::string(family.rope_style));
  for (std::span<const KeyRow> rows : family.keys)
    for (const KeyRow& row : rows) TG_TRY(write_key(config, row, prefix, out.header));
  for (std::span<const Expectation> rows : family.expectations)
    for (const Expectation& row : rows) TG_TRY(check_expectation(config, row));
  if (family.derive != nullptr) TG_TRY(family.derive(config, prefix, out.header));
  TG_TRY(check_layer_types(config, family, has_window(out.header, prefix)));
  if (!family.is_encoder) TG_TRY(write_rope(config, family, prefix, out));
  return out;
}

}  // namespace tg::checkpoint
