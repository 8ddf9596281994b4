#include "apps/config.h"

#include <fmt/format.h>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <functional>
#include <map>

#include "env/disk.h"

namespace tg::apps {

namespace {

constexpr u64 kConfigBytesMax = 1 << 20;

// One setting: where its value goes and what it may be.
struct Setting {
  std::function<Status(const toml::node&)> set;
};

Setting text(std::string& target) {
  return {[&target](const toml::node& node) -> Status {
    if (!node.is_string()) return Error{Code::kInvalid, "must be a string"};
    target = node.as_string()->get();
    return {};
  }};
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

template <typename Integer>
Setting number(Integer& target, i64 low, i64 high) {
  return {[&target, low, high](const toml::node& node) -> Status {
    if (!node.is_integer()) return Error{Code::kInvalid, "must be a whole number"};
    i64 value = node.as_integer()->get();
    if (value < low || value > high) {
      return Error{Code::kInvalid, fmt::format("is {}, not within {}..{}", value, low, high)};
    }
    target = static_cast<Integer>(value);
    return {};
  }};
}

std::map<std::string, Setting> settings_of(ServeConfig& c) {
  constexpr i64 kMillion = 1'000'000;
  return {
      {"server.host", text(c.host)},
      {"server.port", number(c.port, 0, 65'535)},
      {"server.tls_certificate", text(c.tls_certificate)},
      {"server.tls_key", text(c.tls_key)},
      {"server.drain_seconds", number(c.drain_seconds, 0, 3'600)},
      {"server.name", text(c.log_name)},
      {"data.directory", text(c.data)},
      {"data.ledger", store_kind(c.ledger_store)},
      {"model.file", text(c.model)},
      {"model.id", text(c.model_id)},
      {"model.context", number(c.context, 0, 16 * kMillion)},
      {"engine.kv_tokens", number(c.kv_tokens, 0, 1'000 * kMillion)},
      {"engine.threads", number(c.threads, 0, 1'024)},
      {"engine.running_max", number(c.engine.running_max, 1, 4'096)},
      {"engine.waiting_max", number(c.engine.waiting_max, 1, kMillion)},
      {"engine.step_tokens_max", number(c.engine.step_tokens_max, 1, 65'536)},
      {"tariff.name", text(c.tariff.name)},
      {"tariff.factor_ppm", number(c.tariff.factor_ppm, 1, 1'000 * kMillion)},
      {"tariff.price_ucredit_per_mst",
       number(c.tariff.price_ucredit_per_mst, 0, kMillion * kMillion)},
      {"receipts.suite", suite(c.receipt_suite)},
      {"first_start.bundle_st", number(c.demo_bundle_st, 0, 1'000 * kMillion)},
  };
}

Error at(const std::string& path, const toml::source_region& where, const std::string& what) {
  return Error{Code::kInvalid, fmt::format("{}, line {}: {}", path, where.begin.line, what)};
}

Status read_table(const std::string& path, const std::string& prefix, const toml::table& table,
                  const std::map<std::string, Setting>& settings) {
  for (const auto& [key, node] : table) {
    std::string name = prefix + std::string(key.str());
    if (node.is_table() && prefix.empty()) {
      TG_TRY(read_table(path, name + ".", *node.as_table(), settings));
      continue;
    }
    std::map<std::string, Setting>::const_iterator found = settings.find(name);
    if (found == settings.end()) return at(path, node.source(), "unknown setting '" + name + "'");
    Status status = found->second.set(node);
    if (!status.ok()) return at(path, node.source(), name + " " + status.error().message);
  }
  return {};
}

}  // namespace

Status read_config(const std::string& path, ServeConfig& config) {
  TG_ASSIGN(std::string content, read_file(path, kConfigBytesMax));
  toml::parse_result parsed = toml::parse(content, path);
  if (!parsed) return at(path, parsed.error().source(), std::string(parsed.error().description()));
  TG_TRY(read_table(path, "", parsed.table(), settings_of(config)));
  Status tariff = config.tariff.check();
  if (!tariff.ok()) return Error{Code::kInvalid, path + ": " + tariff.error().message};
  return {};
}

}  // namespace tg::apps
