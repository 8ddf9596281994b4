#include "apps/fleet_config.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <set>

#include "apps/capability_file.h"
#include "base/bytes.h"
#include "base/toml_field.h"
#include "env/disk.h"

namespace tg::apps {

namespace {

constexpr u64 kConfigBytesMax = 1 << 20;
constexpr u64 kTokenBytesMax = 4'096;
constexpr std::size_t kSuppliersMax = 4'096;

using Set = std::function<Status(const toml::node&)>;
using Settings = std::map<std::string, Set, std::less<>>;

Error must(const std::string& what) {
  return Error{Code::kInvalid, "must be " + what};
}

Set text(std::string& target) {
  return [&target](const toml::node& node) -> Status {
    if (!node.is_string()) return must("a string");
    target = node.as_string()->get();
    return {};
  };
}

Set flag(bool& target) {
  return [&target](const toml::node& node) -> Status {
    if (!node.is_boolean()) return must("true or false");
    target = node.as_boolean()->get();
    return {};
  };
}

Result<f64> number_in(const toml::node& node, f64 low, f64 high) {
  f64 value = 0;
  if (node.is_integer()) {
    value = static_cast<f64>(node.as_integer()->get());
  } else if (node.is_floating_point()) {
    value = node.as_floating_point()->get();
  } else {
    return must("a number");
  }
  if (!(value >= low && value <= high))
    return Error{Code::kInvalid, fmt::format("is {}, not within {}..{}", value, low, high)};
  return value;
}

// A number that is kept in another unit.
template <typename T>
Set scaled(T& target, f64 by, f64 low, f64 high) {
  return [&target, by, low, high](const toml::node& node) -> Status {
    TG_ASSIGN(f64 value, number_in(node, low, high));
    target = static_cast<T>(value * by);
    return {};
  };
}

Set file_text(std::string& target) {
  return [&target](const toml::node& node) -> Status {
    if (!node.is_string()) return must("the path of a file");
    TG_ASSIGN(target, read_file(node.as_string()->get(), kTokenBytesMax));
    while (!target.empty() && (target.back() == '\n' || target.back() == ' ')) target.pop_back();
    if (target.empty()) return Error{Code::kInvalid, "names an empty file"};
    return {};
  };
}

Set kind(SupplierConfig& supplier) {
  return [&supplier](const toml::node& node) -> Status {
    std::string name = node.is_string() ? node.as_string()->get() : "";
    if (name == "node") supplier.kind = SupplierKind::kNode;
    if (name == "device") supplier.kind = SupplierKind::kDevice;
    if (std::optional<node::EngineKind> engine = node::engine_kind_by_name(name)) {
      supplier.kind = SupplierKind::kEngine;
      supplier.engine = *engine;
    }
    if (supplier.kind) return {};
    return must(
        "\"node\", \"device\", \"vllm\", \"sglang\", \"llama.cpp\", \"tgi\", \"ollama\", "
        "\"mindie\" or \"openai\"");
  };
}

Set policy(dispatch::Policy& target) {
  return [&target](const toml::node& node) -> Status {
    std::optional<dispatch::Policy> known;
    if (node.is_string()) known = dispatch::policy_of(node.as_string()->get());
    if (!known) return Error{Code::kInvalid, "names no policy"};
    target = *known;
    return {};
  };
}

// Prices are written in 10^-6 credit per million tokens, and kept in 10^-9 credit per token.
constexpr f64 kPriceUnit = 1e-3;
constexpr f64 kPriceMax = 1e12;

void add_facts(Settings& settings, dispatch::PoolSupplier& facts) {
  constexpr f64 kNsPerMs = 1e6;
  settings["name"] = text(facts.name);
  settings["zone"] = text(facts.zone);
  settings["price_input"] = scaled(facts.price.input, kPriceUnit, 0, kPriceMax);
  settings["price_cached"] = scaled(facts.price.cached, kPriceUnit, 0, kPriceMax);
  settings["price_output"] = scaled(facts.price.output, kPriceUnit, 0, kPriceMax);
  settings["requests_max"] = scaled(facts.requests_max, 1, 0, 100'000);
  settings["rtt_ms"] = scaled(facts.rtt_ns, kNsPerMs, 0, 60'000);
  settings["watts"] = scaled(facts.power.watts, 1, 0, 1e6);
  settings["carbon_g_per_kwh"] = scaled(facts.power.grams_per_joule, 1 / 3.6e6, 0, 1e5);
  settings["step_ms"] = scaled(facts.step.ns_per_step, kNsPerMs, 0, 60'000);
  settings["token_us"] = scaled(facts.step.ns_per_token, 1e3, 0, 1e7);
}

// Read once all of the table is known: the key may stand behind it.
struct CapabilityFiles {
  std::string record;
  std::string key;
};

Status take_record(const std::string& path, i64 line, const CapabilityFiles& files,
                   dispatch::PoolSupplier& facts) {
  if (files.record.empty()) return {};
  Result<fleet::Capability> capability = read_capability(files.record, files.key);
  if (!capability.ok()) return toml_error(path, line, "capability: " + capability.error().message);
  take_capability(*capability, facts);
  return {};
}

Settings supplier_settings(SupplierConfig& s, std::string& program, CapabilityFiles& files) {
  Settings settings;
  settings["capability"] = text(files.record);
  settings["capability_key"] = text(files.key);
  add_facts(settings, s.facts);
  settings["kind"] = kind(s);
  settings["url"] = text(s.url);
  settings["model"] = text(s.model);
  settings["api_key"] = text(s.api_key);
  settings["api_key_file"] = file_text(s.api_key);
  settings["context"] = scaled(s.context, 1, 0, 16e6);
  settings["address"] = text(s.node.address);
  settings["token_file"] = file_text(s.node.token);
  settings["key"] = text(s.node.key);
  settings["program"] = text(program);
  settings["backend"] = text(s.backend);
  settings["threads"] = scaled(s.threads, 1, 0, 1'024);
  settings["kv_tokens"] = scaled(s.kv_tokens, 1, 0, 1e9);
  settings["memory_mib_max"] = scaled(s.memory_mib_max, 1, 0, 1e9);
  return settings;
}

Status apply(const std::string& path, const std::string& prefix, const toml::table& table,
             const Settings& settings) {
  for (const auto& [key, node] : table) {
    std::string name(key.str());
    Settings::const_iterator found = settings.find(name);
    if (found == settings.end())
      return toml_error(path, node.source().begin.line, "unknown setting '" + prefix + name + "'");
    Status set = found->second(node);
    if (!set.ok())
      return toml_error(path, node.source().begin.line, prefix + name + " " + set.error().message);
  }
  return {};
}

Status check(const SupplierConfig& s) {
  auto lacks = [&](const char* what) {
    return Error{Code::kInvalid, fmt::format("supplier '{}' lacks '{}'", s.facts.name, what)};
  };
  if (s.facts.name.empty()) return Error{Code::kInvalid, "a supplier lacks 'name'"};
  if (!s.kind) return lacks("kind");
  switch (*s.kind) {
    case SupplierKind::kNode:
      if (s.node.address.empty()) return lacks("address");
      if (s.node.token.empty()) return lacks("token_file");
      return {};
    case SupplierKind::kEngine: return s.url.empty() ? lacks("url") : Status();
    case SupplierKind::kDevice: return s.backend.empty() ? lacks("backend") : Status();
  }
  return {};
}

Result<SupplierConfig> read_supplier(const std::string& path, const toml::table& table) {
  SupplierConfig supplier;
  std::string program;
  // A device of which nothing is known: measurements soon say more.
  supplier.facts.step = {.ns_per_step = 2e7, .ns_per_token = 1e5};
  CapabilityFiles files;
  TG_TRY(apply(path, "supplier.", table, supplier_settings(supplier, program, files)));
  TG_TRY(take_record(path, table.source().begin.line, files, supplier.facts));
  Status checked = check(supplier);
  if (!checked.ok()) return toml_error(path, table.source().begin.line, checked.error().message);
  if (program.empty()) return supplier;
  Result<std::vector<u8>> digest = from_hex(program);
  if (!digest.ok() || digest->size() != supplier.node.program.size())
    return toml_error(path, table.source().begin.line,
                      "supplier.program is no program id: " + program);
  std::copy(digest->begin(), digest->end(), supplier.node.program.begin());
  return supplier;
}

Settings pool_settings(FleetConfig& c) {
  constexpr f64 kNsPerMs = 1e6;
  Settings settings;
  settings["local"] = flag(c.has_local);
  settings["local_name"] = text(c.local.name);
  settings["local_zone"] = text(c.local.zone);
  settings["local_requests_max"] = scaled(c.local.requests_max, 1, 0, 100'000);
  settings["local_price_input"] = scaled(c.local.price.input, kPriceUnit, 0, kPriceMax);
  settings["local_price_cached"] = scaled(c.local.price.cached, kPriceUnit, 0, kPriceMax);
  settings["local_price_output"] = scaled(c.local.price.output, kPriceUnit, 0, kPriceMax);
  settings["local_watts"] = scaled(c.local.power.watts, 1, 0, 1e6);
  settings["policy"] = policy(c.pool.policy);
  settings["ttft_target_ms"] = scaled(c.pool.route.ttft_target_ns, kNsPerMs, 1, 3.6e6);
  settings["tpot_target_ms"] = scaled(c.pool.route.tpot_target_ns, kNsPerMs, 1, 3.6e6);
  settings["hold_ms"] = scaled(c.pool.route.hold_ns, kNsPerMs, 0, 3.6e6);
  settings["waiting_max"] = scaled(c.pool.waiting_max, 1, 1, 1e6);
  settings["attempts_max"] = scaled(c.pool.attempts_max, 1, 1, 100);
  settings["hedge_factor"] = scaled(c.pool.route.hedge_factor, 1, 0, 1'000);
  settings["hedge_share"] = scaled(c.pool.hedges_ppm_max, 1e6, 0, 1);
  settings["first_token_s_max"] = scaled(c.pool.first_token_ns_max, 1e9, 0.1, 86'400);
  settings["stall_s_max"] = scaled(c.pool.stall_ns_max, 1e9, 0.1, 86'400);
  settings["absence_s_max"] = scaled(c.pool.absence_ns_max, 1e9, 0, 86'400);
  settings["breaker_failures"] = scaled(c.pool.breaker.failures_max, 1, 1, 1'000);
  settings["breaker_s"] = scaled(c.pool.breaker.cooldown_ns, 1e9, 0.01, 86'400);
  settings["breaker_s_max"] = scaled(c.pool.breaker.cooldown_ns_max, 1e9, 0.01, 86'400);
  settings["nats"] = text(c.nats);
  settings["join_token_file"] = file_text(c.join_token);
  settings["tls_certificate"] = text(c.tls.certificate);
  settings["tls_key"] = text(c.tls.key);
  settings["tls_ca"] = text(c.tls.ca);
  return settings;
}

Set texts(std::vector<std::string>& target) {
  return [&target](const toml::node& node) -> Status {
    const toml::array* list = node.as_array();
    if (list == nullptr) return must("an array of strings");
    target.clear();
    for (const toml::node& one : *list) {
      if (!one.is_string()) return must("an array of strings");
      target.push_back(one.as_string()->get());
    }
    return {};
  };
}

constexpr f64 kReplicasMax = 1'000;

Settings autoscale_settings(AutoscaleConfig& c, CapabilityFiles& files) {
  constexpr f64 kNsPerSecond = 1e9;
  constexpr f64 kDay = 86'400;
  Settings settings;
  add_facts(settings, c.facts);
  settings["capability"] = text(files.record);
  settings["capability_key"] = text(files.key);
  // Each has a name of its own.
  settings.erase("name");
  settings["launch"] = flag(c.launches);
  settings["replicas_min"] = scaled(c.scale.replicas_min, 1, 0, kReplicasMax);
  settings["replicas_max"] = scaled(c.scale.replicas_max, 1, 1, kReplicasMax);
  settings["warm"] = scaled(c.replicas.warm, 1, 0, kReplicasMax);
  settings["utilisation"] = scaled(c.scale.utilisation, 1, 0.05, 1);
  settings["window_s"] = scaled(c.scale.window_s, 1, 2, dispatch::Autoscaler::kWindowSecondsMax);
  settings["panic_window_s"] =
      scaled(c.scale.panic_window_s, 1, 1, dispatch::Autoscaler::kWindowSecondsMax);
  settings["panic_ratio"] = scaled(c.scale.panic_ratio, 1, 1, 1'000);
  settings["drain_s"] = scaled(c.scale.drain_ns, kNsPerSecond, 0.1, kDay);
  settings["idle_s"] = scaled(c.scale.idle_ns, kNsPerSecond, 0, kDay);
  settings["cold_start_s"] = scaled(c.scale.cold_start_ns, kNsPerSecond, 0, kDay);
  settings["start_s_max"] = scaled(c.replicas.start_ns_max, kNsPerSecond, 0.1, kDay);
  settings["starting_max"] = scaled(c.replicas.starting_max, 1, 1, kReplicasMax);
  settings["retry_s"] = scaled(c.replicas.retry_ns, kNsPerSecond, 0.01, kDay);
  settings["retry_s_max"] = scaled(c.replicas.retry_ns_max, kNsPerSecond, 0.01, kDay);
  settings["wait_s_max"] = scaled(c.wait_ns, kNsPerSecond, 0, kDay);
  settings["requests_at_once"] = scaled(c.requests_at_once, 1, 0, 100'000);
  settings["wrapper"] = texts(c.wrapper);
  settings["arguments"] = texts(c.arguments);
  settings["backend"] = text(c.backend);
  settings["threads"] = scaled(c.threads, 1, 0, 1'024);
  settings["kv_tokens"] = scaled(c.kv_tokens, 1, 0, 1e9);
  settings["memory_mib_max"] = scaled(c.memory_mib_max, 1, 0, 1e9);
  settings["context"] = scaled(c.context, 1, 0, 16e6);
  settings["running_max"] = scaled(c.running_max, 1, 1, 4'096);
  settings["node_drain_s"] = scaled(c.node_drain_s, 1, 0, 3'600);
  return settings;
}

Status check(const AutoscaleConfig& c) {
  auto wrong = [](std::string what) { return Error{Code::kInvalid, "autoscale." + what}; };
  if (c.scale.replicas_min > c.scale.replicas_max)
    return wrong(fmt::format("replicas_min is {}, above replicas_max of {}", c.scale.replicas_min,
                             c.scale.replicas_max));
  if (2 * c.scale.panic_window_s > c.scale.window_s)
    return wrong(fmt::format("panic_window_s is {}, more than half of window_s of {}",
                             c.scale.panic_window_s, c.scale.window_s));
  if (c.replicas.retry_ns > c.replicas.retry_ns_max) return wrong("retry_s is above retry_s_max");
  return {};
}

Result<AutoscaleConfig> read_autoscale(const std::string& path, const toml::node& node,
                                       const FleetConfig& config) {
  if (!node.is_table())
    return toml_error(path, node.source().begin.line, "autoscale must be a table");
  AutoscaleConfig c;
  // Of a node of which nothing is known: measurements soon say more.
  c.facts.step = {.ns_per_step = 2e7, .ns_per_token = 1e5};
  CapabilityFiles files;
  TG_TRY(apply(path, "autoscale.", *node.as_table(), autoscale_settings(c, files)));
  TG_TRY(take_record(path, node.source().begin.line, files, c.facts));
  Status checked = check(c);
  if (!checked.ok()) return toml_error(path, node.source().begin.line, checked.error().message);
  if (!c.launches && config.nats.empty())
    return toml_error(
        path, node.source().begin.line,
        "autoscale.launch = false needs pool.nats, where replicas announce themselves");
  for (const SupplierConfig& s : config.suppliers) {
    if (!s.facts.name.starts_with("auto-")) continue;
    return toml_error(path, node.source().begin.line,
                      "supplier '" + s.facts.name + "' has a name that replicas are given");
  }
  return c;
}

Status read_suppliers(const std::string& path, const toml::node& node, FleetConfig& config) {
  const toml::array* list = node.as_array();
  if (list == nullptr || list->size() > kSuppliersMax)
    return toml_error(path, node.source().begin.line,
                      "suppliers are written as [[supplier]] tables");
  std::set<std::string> names;
  if (config.has_local) names.insert(config.local.name);
  for (const toml::node& one : *list) {
    const toml::table* table = one.as_table();
    if (table == nullptr)
      return toml_error(path, one.source().begin.line, "a supplier must be a table");
    TG_ASSIGN(SupplierConfig supplier, read_supplier(path, *table));
    if (!names.insert(supplier.facts.name).second)
      return toml_error(path, one.source().begin.line,
                        "there is another supplier '" + supplier.facts.name + "'");
    supplier.node.tls = config.tls;
    config.suppliers.push_back(std::move(supplier));
  }
  return {};
}

}  // namespace

Result<FleetConfig> read_fleet_config(const std::string& path) {
  TG_ASSIGN(std::string content, read_file(path, kConfigBytesMax));
  TG_ASSIGN(toml::table table, parse_table(content, path, kConfigBytesMax));
  FleetConfig config;
  if (const toml::node* pool = table.get("pool")) {
    if (!pool->is_table())
      return toml_error(path, pool->source().begin.line, "pool must be a table");
    TG_TRY(apply(path, "pool.", *pool->as_table(), pool_settings(config)));
    if (!config.nats.empty() && config.join_token.empty())
      return toml_error(path, pool->source().begin.line, "pool.nats needs pool.join_token_file");
  }
  if (const toml::node* suppliers = table.get("supplier"))
    TG_TRY(read_suppliers(path, *suppliers, config));
  if (const toml::node* autoscale = table.get("autoscale")) {
    TG_ASSIGN(config.autoscale, read_autoscale(path, *autoscale, config));
    // Whoever has nobody yet waits for a start.
    i64 wait_ns = config.autoscale->wait_ns;
    config.pool.absence_ns_max = std::max(config.pool.absence_ns_max, wait_ns);
    config.pool.route.waited_max_ns = std::max(config.pool.route.waited_max_ns, wait_ns);
  }
  if (!config.is_needed()) return config;
  bool has_any = config.has_local || !config.suppliers.empty() || !config.nats.empty() ||
                 config.autoscale.has_value();
  if (!has_any) return Error{Code::kInvalid, path + ": nobody is left to serve"};
  return config;
}

}  // namespace tg::apps
