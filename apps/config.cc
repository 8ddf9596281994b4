#include "apps/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>

#include "apps/import_flags.h"
#include "base/toml_field.h"
#include "env/disk.h"

namespace tg::apps {

namespace {

constexpr u64 kConfigBytesMax = 1 << 20;
constexpr std::size_t kModelsMax = 64;

// One setting: where its value goes and what it may be; how it is compared; and whether a running
// server takes a new value.
struct Setting {
  std::function<Status(const toml::node&)> set;
  std::function<std::string()> show = {};
  bool is_live = false;
};

Setting live(Setting setting) {
  setting.is_live = true;
  return setting;
}

Setting text(std::string& target) {
  return {[&target](const toml::node& node) -> Status {
            if (!node.is_string()) return Error{Code::kInvalid, "must be a string"};
            target = node.as_string()->get();
            return {};
          },
          [&target] { return target; }};
}

Setting flag(bool& target) {
  return {[&target](const toml::node& node) -> Status {
            if (!node.is_boolean()) return Error{Code::kInvalid, "must be true or false"};
            target = node.as_boolean()->get();
            return {};
          },
          [&target] { return std::string(target ? "true" : "false"); }};
}

Setting log_format(bool& is_json) {
  return {[&is_json](const toml::node& node) -> Status {
            std::string given = node.is_string() ? node.as_string()->get() : "";
            if (given != "text" && given != "json") {
              return Error{Code::kInvalid, "must be \"text\" or \"json\""};
            }
            is_json = given == "json";
            return {};
          },
          [&is_json] { return std::string(is_json ? "json" : "text"); }};
}

Setting store_kind(std::optional<ledger::StoreKind>& target) {
  return {[&target](const toml::node& node) -> Status {
    if (node.is_string()) target = ledger::store_kind_by_name(node.as_string()->get());
    if (!target) return Error{Code::kInvalid, "must be \"log\", \"sqlite\" or \"postgresql\""};
    return {};
  }};
}

Setting suite(tlog::Suite& target) {
  return {[&target](const toml::node& node) -> Status {
    std::optional<tlog::Suite> known;
    if (node.is_string()) known = tlog::suite_by_name(node.as_string()->get());
    if (!known) return Error{Code::kInvalid, "must be \"ed25519-sha256\" or \"sm2-sm3\""};
    target = *known;
    return {};
  }};
}

Setting kv_format(isa::DType& target) {
  return {
      [&target](const toml::node& node) -> Status {
        std::span<const std::string> names = kv_format_names();
        std::string name = node.is_string() ? node.as_string()->get() : "";
        if (std::ranges::find(names, name) == names.end())
          return Error{Code::kInvalid, fmt::format("must be one of {}", fmt::join(names, ", "))};
        target = *isa::dtype_by_name(name);
        return {};
      },
      [&target] { return std::string(isa::info(target).name); }};
}

// One text, or an array of them.
Setting texts(std::vector<std::string>& target) {
  return {[&target](const toml::node& node) -> Status {
            Error wrong{Code::kInvalid, "must be a string or an array of strings"};
            target.clear();
            if (node.is_string()) target.push_back(node.as_string()->get());
            if (node.is_string()) return {};
            if (!node.is_array()) return wrong;
            for (const toml::node& item : *node.as_array()) {
              if (!item.is_string()) return wrong;
              target.push_back(item.as_string()->get());
            }
            return {};
          },
          [&target] { return fmt::format("{}", fmt::join(target, ", ")); }};
}

template <typename Integer>
Setting number(Integer& target, i64 low, i64 high) {
  return {
      [&target, low, high](const toml::node& node) -> Status {
        if (!node.is_integer()) return Error{Code::kInvalid, "must be a whole number"};
        i64 value = node.as_integer()->get();
        if (value < low || value > high) {
          return Error{Code::kInvalid, fmt::format("is {}, not within {}..{}", value, low, high)};
        }
        target = static_cast<Integer>(value);
        return {};
      },
      [&target] { return fmt::format("{}", target); }};
}

// Kept in nanoseconds.
Setting milliseconds(i64& target_ns, i64 low, i64 high) {
  return {[=, &target_ns](const toml::node& node) -> Status {
            i64 value = 0;
            TG_TRY(number(value, low, high).set(node));
            target_ns = value * 1'000'000;
            return {};
          },
          [&target_ns] { return fmt::format("{}", target_ns / 1'000'000); }};
}

constexpr i64 kMillion = 1'000'000;

Setting context_of(ModelConfig& m) {
  return number(m.context, 0, 16 * kMillion);
}
Setting kv_tokens_of(ModelConfig& m) {
  return number(m.kv_tokens, 0, 1'000 * kMillion);
}
Setting swap_tokens_of(ModelConfig& m) {
  return number(m.swap_tokens, 0, 1'000 * kMillion);
}
Setting threads_of(ModelConfig& m) {
  return number(m.threads, 0, 1'024);
}
Setting memory_of(ModelConfig& m) {
  return number(m.memory_mib_max, 0, 1'000 * kMillion);
}
Setting idle_of(ModelConfig& m) {
  return number(m.idle_unload_s, 0, 365 * 86'400);
}

// Of one [[models]] table.
std::map<std::string, Setting> settings_of(ModelConfig& m) {
  return {{"file", text(m.file)},
          {"id", text(m.id)},
          {"exact", flag(m.import.exact)},
          {"kv_format", kv_format(m.import.kv_format)},
          {"keep_packed", flag(m.keep_packed)},
          {"context", context_of(m)},
          {"kv_tokens", kv_tokens_of(m)},
          {"swap_tokens", swap_tokens_of(m)},
          {"threads", threads_of(m)},
          {"backend", text(m.backend)},
          {"memory_mib_max", memory_of(m)},
          {"idle_unload_s", idle_of(m)}};
}

std::map<std::string, Setting> settings_of(ServeConfig& c) {
  constexpr i64 kHourMs = 3'600'000;
  gateway::ServerLimits& l = c.limits;
  return {
      {"server.host", text(c.host)},
      {"server.port", number(c.port, 0, 65'535)},
      {"server.tls_certificate", live(text(c.tls_certificate))},
      {"server.tls_key", live(text(c.tls_key))},
      {"server.drain_seconds", live(number(c.drain_seconds, 0, 3'600))},
      {"server.drain_notice_seconds", live(number(c.drain_notice_seconds, 0, 3'600))},
      {"server.name", text(c.log_name)},
      {"limits.connections_max", live(number(l.connections_max, 1, kMillion))},
      {"limits.requests_per_key_max", live(number(l.requests_per_key_max, 1, kMillion))},
      {"limits.header_bytes_max", live(number(l.header_bytes_max, 1'024, kMillion))},
      {"limits.body_bytes_max", live(number(l.body_bytes_max, 1'024, 1'024 * kMillion))},
      {"limits.idle_ms", live(number(l.idle_ms, 1, kHourMs))},
      {"limits.header_ms", live(number(l.header_ms, 1, kHourMs))},
      {"limits.body_ms", live(number(l.body_ms, 1, kHourMs))},
      {"limits.write_ms", live(number(l.write_ms, 1, kHourMs))},
      {"limits.supply_ms", live(number(l.supply_ms, 1, 24 * kHourMs))},
      {"limits.ping_ms", live(number(l.ping_ms, 1, kHourMs))},
      {"limits.events_pending_max", live(number(l.events_pending_max, 1, kMillion))},
      {"limits.send_buffer_bytes", live(number(l.send_buffer_bytes, 4'096, 64 * kMillion))},
      {"limits.max_tokens_default", live(number(l.max_tokens_default, 1, kMillion))},
      {"limits.queue_max", live(number(l.queue_max, 0, kMillion))},
      {"limits.queue_ms", live(number(l.queue_ms, 1, kHourMs))},
      {"log.format", live(log_format(c.log_json))},
      {"log.requests", live(flag(c.log_requests))},
      {"admin.enabled", flag(c.has_admin)},
      {"telemetry.otlp_endpoint", text(c.telemetry.endpoint)},
      {"telemetry.interval_seconds", number(c.telemetry.interval_seconds, 1, 3'600)},
      {"telemetry.service_name", text(c.telemetry.service_name)},
      {"data.directory", text(c.data)},
      {"data.ledger", store_kind(c.ledger_store)},
      {"data.leases", flag(c.leases)},
      {"data.lease_st", number(c.lease_st, 1, kMillion)},
      {"data.lease_seconds", number(c.lease_seconds, 5, 3'600)},
      {"model.file", text(c.model.file)},
      {"model.id", text(c.model.id)},
      {"model.exact", flag(c.model.import.exact)},
      {"model.kv_format", kv_format(c.model.import.kv_format)},
      {"model.keep_packed", flag(c.model.keep_packed)},
      {"model.context", context_of(c.model)},
      {"model.idle_unload_s", idle_of(c.model)},
      {"engine.kv_tokens", kv_tokens_of(c.model)},
      {"engine.swap_tokens", swap_tokens_of(c.model)},
      {"engine.threads", threads_of(c.model)},
      {"engine.backend", text(c.model.backend)},
      {"engine.memory_mib_max", memory_of(c.model)},
      {"engine.memory_mib_total", number(c.memory_mib_total, 0, 1'000 * kMillion)},
      {"engine.powercap", text(c.model.powercap)},
      {"engine.watts", number(c.model.watts, 0, kMillion)},
      {"engine.running_max", number(c.engine.running_max, 1, 4'096)},
      {"engine.waiting_max", number(c.engine.waiting_max, 1, kMillion)},
      {"engine.funds_wait_ms", milliseconds(c.engine.funds_wait_ns, 0, kHourMs)},
      {"engine.step_target_ms", milliseconds(c.engine.step_target_ns, 0, 60'000)},
      {"engine.step_longest_ms", milliseconds(c.engine.step_longest_ns, 0, 60'000)},
      {"engine.step_tokens_max", number(c.engine.step_tokens_max, 1, 65'536)},
      {"tariff.name", text(c.tariff.name)},
      {"tariff.factor_ppm", number(c.tariff.factor_ppm, 1, 1'000 * kMillion)},
      {"tariff.price_ucredit_per_mst",
       number(c.tariff.price_ucredit_per_mst, 0, kMillion * kMillion)},
      {"tariff.rates", texts(c.rate_files)},
      {"tariff.capacity_ucredit_per_hour",
       number(c.capacity_ucredit_per_hour, 0, kMillion * kMillion)},
      {"plans.file", text(c.plans_file)},
      {"receipts.suite", suite(c.receipt_suite)},
      {"first_start.bundle_st", number(c.demo_bundle_st, 0, 1'000 * kMillion)},
  };
}

// Levenshtein's distance; names are short.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string unknown(const std::string& name, const std::map<std::string, Setting>& settings) {
  std::string_view nearest;
  std::size_t best = 4;  // Further away it is a guess.
  for (const auto& [known, setting] : settings) {
    std::size_t here = distance(name.substr(0, 100), known);
    if (here < best) {
      best = here;
      nearest = known;
    }
  }
  std::string out = "unknown setting '" + name + "'";
  if (!nearest.empty()) out += fmt::format("; is '{}' meant?", nearest);
  return out;
}

std::map<std::string, Setting> prefixed(const std::string& prefix,
                                        std::map<std::string, Setting> settings) {
  std::map<std::string, Setting> out;
  for (auto& [name, setting] : settings) out.emplace(prefix + name, std::move(setting));
  return out;
}

Status read_table(const std::string& path, const std::string& prefix, const toml::table& table,
                  const std::map<std::string, Setting>& settings) {
  for (const auto& [key, node] : table) {
    std::string name = prefix + std::string(key.str());
    // Those that say who serves are read by apps/fleet_config.cc; [[models]] below.
    if (name == "supplier" || name == "pool" || name == "autoscale" || name == "models") continue;
    if (node.is_table() && prefix.empty()) {
      TG_TRY(read_table(path, name + ".", *node.as_table(), settings));
      continue;
    }
    std::map<std::string, Setting>::const_iterator found = settings.find(name);
    if (found == settings.end())
      return toml_error(path, node.source().begin.line, unknown(name, settings));
    Status status = found->second.set(node);
    if (!status.ok())
      return toml_error(path, node.source().begin.line, name + " " + status.error().message);
  }
  return {};
}

// What a further model does not say is as with the first one.
Status read_models(const std::string& path, const toml::node& node, ServeConfig& config) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > kModelsMax) {
    return toml_error(
        path, node.source().begin.line,
        fmt::format("models are written as [[models]] tables, at most {}", kModelsMax));
  }
  config.more_models.clear();
  for (const toml::node& one : *list) {
    i64 line = one.source().begin.line;
    if (!one.is_table()) return toml_error(path, line, "a model must be a table");
    ModelConfig model = config.model;
    model.file.clear();
    model.id.clear();
    TG_TRY(read_table(path, "models.", *one.as_table(), prefixed("models.", settings_of(model))));
    if (model.file.empty()) return toml_error(path, line, "a model lacks 'file'");
    config.more_models.push_back(std::move(model));
  }
  return {};
}

// Everything a further model says, to compare.
std::string shown(std::vector<ModelConfig> models) {
  std::string out;
  for (ModelConfig& model : models) {
    for (const auto& [name, setting] : settings_of(model)) out += name + "=" + setting.show() + ";";
  }
  return out;
}

}  // namespace

Status read_config(const std::string& path, ServeConfig& config) {
  TG_ASSIGN(std::string content, read_file(path, kConfigBytesMax));
  TG_ASSIGN(toml::table table, parse_table(content, path, kConfigBytesMax));
  TG_TRY(read_table(path, "", table, settings_of(config)));
  if (const toml::node* models = table.get("models")) TG_TRY(read_models(path, *models, config));
  Status tariff = config.tariff.check();
  if (!tariff.ok()) return Error{Code::kInvalid, path + ": " + tariff.error().message};
  return {};
}

std::vector<std::string> changes_for_restart(const ServeConfig& running,
                                             const ServeConfig& wanted) {
  ServeConfig before = running;
  ServeConfig after = wanted;
  std::map<std::string, Setting> old_settings = settings_of(before);
  std::vector<std::string> names;
  for (const auto& [name, setting] : settings_of(after)) {
    const Setting& old = old_settings.at(name);
    if (setting.is_live || !setting.show) continue;
    if (setting.show() != old.show()) names.push_back(name);
  }
  if (shown(running.more_models) != shown(wanted.more_models)) names.push_back("models");
  return names;
}

}  // namespace tg::apps
