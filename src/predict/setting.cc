// The table's parallel sizes follow several conventions; read_layout() says which is which.
#include "predict/setting.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tg::predict {

namespace {

constexpr f64 kSizeMax = 1e6;
constexpr f64 kTokensMax = 1e8;
constexpr f64 kLatencyMaxMs = 1e9;

struct Sizes {
  f64 tensor = 1;
  f64 data = 1;
  f64 expert_tensor = 1;
  f64 expert = 1;
};

Result<f64> size_of(const Table& table, std::size_t row, const std::string& column) {
  TG_ASSIGN(f64 size, table.number_or(row, column, 1));
  if (size < 0 || size > kSizeMax)
    return table.wrong(row, column, fmt::format("expected a number from 0 to {:.0f}", kSizeMax));
  return std::max(size, 1.0);
}

Result<Sizes> read_sizes(const Table& table, std::size_t row, const std::string& prefix) {
  Sizes out;
  TG_ASSIGN(out.tensor, size_of(table, row, prefix + "tp_size"));
  TG_ASSIGN(out.data, size_of(table, row, prefix + "attention_dp_size"));
  TG_ASSIGN(out.expert_tensor, size_of(table, row, prefix + "moe_tp_size"));
  TG_ASSIGN(out.expert, size_of(table, row, prefix + "moe_ep_size"));
  return out;
}

// Two conventions multiply sizes that are already whole: "tp=64, moe_tp=8, moe_ep=8" is 8 devices
// with both at 8, and "tp=4, dp=4, moe_ep=16" is 4 devices with data-parallel attention.
Layout to_layout(const Sizes& s) {
  Layout out;
  bool is_tensor_squared = s.expert_tensor > 1 && s.expert_tensor == s.expert;
  bool is_data_squared = s.tensor > 1 && s.tensor == s.data && s.expert == s.tensor * s.data;
  out.devices = s.tensor * s.data;
  if (is_tensor_squared) out.devices = s.expert_tensor;
  if (is_data_squared) out.devices = s.tensor;
  out.tensor_parallel = out.devices;
  if (s.data > 1) out.tensor_parallel = s.tensor * s.data == out.devices ? s.tensor : 1;
  out.data_parallel = out.devices / out.tensor_parallel;
  out.splits_experts = s.expert > 1;
  return out;
}

// "key=<digits>" somewhere in a text of "key=value; ..." items.
f64 number_after(std::string_view text, std::string_view key) {
  std::size_t at = text.find(key);
  if (at == std::string_view::npos) return 0;
  std::string_view rest = text.substr(at + key.size());
  std::size_t end = rest.find_first_not_of("0123456789");
  Result<f64> value = parse_number(rest.substr(0, end));
  return value.ok() ? *value : 0;
}

// "measured=2026-04-22T..." as months since 2025-01.
f64 month_of(std::string_view source) {
  std::size_t at = source.find("measured=");
  if (at == std::string_view::npos || source.size() < at + 19) return 0;
  std::string_view date = source.substr(at + 9, 10);
  Result<f64> year = parse_number(date.substr(0, 4));
  Result<f64> month = parse_number(date.substr(5, 2));
  Result<f64> day = parse_number(date.substr(8, 2));
  if (!year.ok() || !month.ok() || !day.ok()) return 0;
  return (*year - 2025) * 12 + *month + *day / 31;
}

Campaign campaign_of(std::string_view source) {
  if (!source.starts_with("source_file=")) return Campaign::kDump;
  std::string_view file = source.substr(0, source.find(';'));
  return file.find('/') == std::string_view::npos ? Campaign::kSheet : Campaign::kOwn;
}

Status read_layouts(const Table& table, std::size_t row, Setting& out) {
  TG_ASSIGN(Sizes prefill, read_sizes(table, row, out.is_split ? "prefill_" : ""));
  TG_ASSIGN(Sizes decode, read_sizes(table, row, out.is_split ? "decode_" : ""));
  out.prefill = to_layout(prefill);
  out.decode = to_layout(decode);
  if (!out.is_split) return {};
  out.states_instances = !table.text(row, "decode_num_workers").empty();
  TG_ASSIGN(out.prefill_instances, size_of(table, row, "prefill_num_workers"));
  TG_ASSIGN(out.decode_instances, size_of(table, row, "decode_num_workers"));
  return {};
}

// Stated in the source's text; else the batches of all replicas together.
Status read_concurrency(const Table& table, std::size_t row, Setting& out) {
  out.concurrency = number_after(table.text(row, "silicon_data_source"), "silicon_concurrency=");
  if (out.concurrency > kSizeMax)
    return table.wrong(row, "silicon_data_source", "silicon_concurrency is too large");
  if (out.concurrency > 0) return {};
  std::string prefix = out.is_split ? "decode_" : "";
  TG_ASSIGN(f64 batch, table.number_or(row, prefix + "batch_size", 0));
  out.concurrency = batch * out.decode.data_parallel * out.decode_instances;
  if (!(out.concurrency >= 1) || out.concurrency > kSizeMax)
    return table.wrong(row, prefix + "batch_size", "and no silicon_concurrency= is stated");
  return {};
}

Result<f64> tokens_of(const Table& table, std::size_t row, std::string_view column) {
  TG_ASSIGN(f64 tokens, table.number(row, column));
  if (tokens < 1 || tokens > kTokensMax) return table.wrong(row, column, "expected 1 to 100000000");
  return tokens;
}

Result<f64> latency_of(const Table& table, std::size_t row, std::string_view column) {
  TG_ASSIGN(f64 latency, table.number_or(row, column, 0));
  bool is_stated = !table.text(row, column).empty();
  if (is_stated && (latency <= 0 || latency > kLatencyMaxMs))
    return table.wrong(row, column, "expected milliseconds above 0");
  return latency;
}

Result<Observation> parse_row(const Table& table, std::size_t row) {
  Observation out;
  Setting& s = out.setting;
  out.line = table.line(row);
  s.id = table.text(row, "id");
  s.model = table.text(row, "model_path");
  s.system = table.text(row, "system");
  s.engine = table.text(row, "backend");
  s.version = table.text(row, "backend_version");
  s.precision = table.text(row, "precision");
  s.gemm_mode = table.text(row, "gemm_quant_mode");
  s.expert_mode = table.text(row, "moe_quant_mode");
  if (s.model.empty()) return table.wrong(row, "model_path", "expected a model");
  if (s.system.empty()) return table.wrong(row, "system", "expected a system");
  std::string_view mode = table.text(row, "mode");
  if (mode != "agg" && mode != "disagg") return table.wrong(row, "mode", "expected agg or disagg");
  s.is_split = mode == "disagg";
  TG_ASSIGN(s.prompt, tokens_of(table, row, "isl"));
  TG_ASSIGN(s.output, tokens_of(table, row, "osl"));
  TG_TRY(read_layouts(table, row, s));
  TG_TRY(read_concurrency(table, row, s));
  std::string_view source = table.text(row, "silicon_data_source");
  s.month = month_of(source);
  s.campaign = campaign_of(source);
  TG_ASSIGN(out.ttft_ms, latency_of(table, row, "silicon_ttft_ms"));
  TG_ASSIGN(out.tpot_ms, latency_of(table, row, "silicon_tpot_ms"));
  return out;
}

}  // namespace

Result<std::vector<Observation>> parse_observations(const Table& table) {
  std::vector<Observation> out;
  out.reserve(table.row_count());
  for (std::size_t row = 0; row < table.row_count(); ++row) {
    TG_ASSIGN(Observation observation, parse_row(table, row));
    out.push_back(std::move(observation));
  }
  return out;
}

Result<std::vector<Observation>> read_observations(const std::string& path) {
  TG_ASSIGN(Table table, Table::read(path));
  return parse_observations(table);
}

static std::string layout_key(const Layout& layout) {
  return fmt::format("{:.0f}.{:.0f}.{}", layout.devices, layout.tensor_parallel,
                     layout.splits_experts);
}

std::string configuration_key(const Setting& s) {
  return fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{:.0f}|{:.0f}|{}|{}|{:.0f}|{:.0f}", s.model, s.system,
                     s.engine, s.version, s.precision, s.gemm_mode, s.expert_mode, s.is_split,
                     s.prompt, s.output, layout_key(s.prefill), layout_key(s.decode),
                     s.prefill_instances, s.decode_instances);
}

}  // namespace tg::predict
