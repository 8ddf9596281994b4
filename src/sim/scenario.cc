#include "sim/scenario.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "base/toml_field.h"
#include "env/disk.h"
#include "fleet/capability.h"

namespace tg::sim {

namespace {

constexpr i64 kSuppliersMax = 100'000;
constexpr u64 kScenarioBytesMax = 16 << 20;
constexpr f64 kNs = 1e9;

// Reads a table's fields with defaults, and complains of those that nobody asked for.
class Fields {
 public:
  Fields(const toml::table& table, std::string where) : table_(table), where_(std::move(where)) {}

  f64 real(const char* key, f64 fallback, f64 least, f64 most) {
    known_[key] = true;
    const toml::node* node = table_.get(key);
    if (node == nullptr) return fallback;
    std::optional<f64> value = node->value<f64>();
    if (!value || !(*value >= least && *value <= most)) {
      fail(key,
           "must be a number between " + std::to_string(least) + " and " + std::to_string(most));
      return fallback;
    }
    return *value;
  }
  i64 count(const char* key, i64 fallback, i64 least, i64 most) {
    return static_cast<i64>(
        real(key, static_cast<f64>(fallback), static_cast<f64>(least), static_cast<f64>(most)));
  }
  i64 seconds(const char* key, i64 fallback_ns) {
    return static_cast<i64>(real(key, static_cast<f64>(fallback_ns) / kNs, 0, 1e7) * kNs);
  }
  std::string text(const char* key, std::string fallback) {
    known_[key] = true;
    const toml::node* node = table_.get(key);
    if (node == nullptr) return fallback;
    std::optional<std::string> value = node->value<std::string>();
    if (!value) fail(key, "must be a string");
    return value.value_or(fallback);
  }
  const toml::table* sub(const char* key) {
    known_[key] = true;
    const toml::node* node = table_.get(key);
    if (node != nullptr && !node->is_table()) fail(key, "must be a table");
    return node == nullptr ? nullptr : node->as_table();
  }
  const toml::array* list(const char* key) {
    known_[key] = true;
    const toml::node* node = table_.get(key);
    if (node != nullptr && !node->is_array()) fail(key, "must be an array of tables");
    return node == nullptr ? nullptr : node->as_array();
  }
  void fail(const std::string& key, const std::string& what) {
    if (error_.empty()) error_ = where_ + ": " + key + " " + what;
  }
  Status finish() {
    for (const auto& [key, node] : table_) {
      std::string name(key.str());
      if (!known_.contains(name)) fail(name, "is not a setting");
    }
    if (error_.empty()) return {};
    return Error{Code::kInvalid, error_};
  }

 private:
  const toml::table& table_;
  std::string where_;
  std::map<std::string, bool> known_;
  std::string error_;
};

// As it was measured; power at its fastest, if that is known.
void take(const fleet::Capability& capability, DeviceModel& d) {
  d.step = capability.step;
  d.noise = std::clamp(capability.step.error, 0.0, 0.3);
  f64 fastest = 0;
  for (const fleet::TierRate& tier : capability.tiers)
    fastest = std::max(fastest, tier.st_per_second);
  if (capability.joules_per_st > 0) d.watts_busy = capability.joules_per_st * fastest;
}

Result<DeviceModel> device_of(Fields& f) {
  DeviceModel d = reference_device(f.real("speed", 1, 1e-4, 1e4));
  std::string record = f.text("capability", "");
  if (!record.empty()) {
    TG_ASSIGN(std::string text, read_file(record, fleet::kCapabilityBytesMax));
    TG_ASSIGN(fleet::Capability capability, fleet::parse_capability(text));
    take(capability, d);
  }
  d.step.ns_per_step = f.real("ns_per_step", d.step.ns_per_step, 0, 1e12);
  d.step.ns_per_token = f.real("ns_per_token", d.step.ns_per_token, 0, 1e12);
  d.step.ns_per_row = f.real("ns_per_row", d.step.ns_per_row, 0, 1e12);
  d.step.ns_per_key = f.real("ns_per_key", d.step.ns_per_key, 0, 1e12);
  d.step.ns_per_pair = f.real("ns_per_pair", d.step.ns_per_pair, 0, 1e12);
  d.step_tokens_max = f.count("step_tokens_max", d.step_tokens_max, 1, 1 << 24);
  d.step_target_ns = f.seconds("step_target_s", d.step_target_ns);
  d.step_longest_ns = f.seconds("step_longest_s", d.step_longest_ns);
  d.running_max = f.count("running_max", d.running_max, 1, 1 << 20);
  d.keys_total = f.count("keys_total", d.keys_total, 1, i64{1} << 40);
  d.block_tokens = f.count("prefix_cache", 1, 0, 1) == 0 ? 0 : d.block_tokens;
  d.noise = f.real("noise", d.noise, 0, 2);
  d.watts_busy = f.real("watts_busy", d.watts_busy, 0, 1e7);
  d.watts_idle = f.real("watts_idle", d.watts_idle, 0, 1e7);
  d.price.input = f.real("price_input", d.price.input, 0, 1e12);
  d.price.cached = f.real("price_cached", d.price.cached, 0, 1e12);
  d.price.output = f.real("price_output", d.price.output, 0, 1e12);
  return d;
}

Status read_supplier(const toml::table& table, const std::string& where, Scenario& out) {
  Fields f(table, where);
  SupplierSpec spec;
  std::string name = f.text("name", "supplier");
  TG_ASSIGN(spec.device, device_of(f));
  spec.device.name = name;
  spec.zone = static_cast<u16>(f.count("zone", 0, 0, dispatch::kZonesMax - 1));
  spec.rtt_ns = f.seconds("rtt_s", spec.rtt_ns);
  spec.grams_per_joule = f.real("grams_per_kwh", 400, 0, 1e5) / 3.6e6;
  spec.price_per_joule = f.real("credits_per_kwh", 0.1, 0, 1e5) * 1e9 / 3.6e6;
  spec.pue = f.real("pue", spec.pue, 1, 10);
  spec.boast = f.real("boast", 1, 1, 1000);
  spec.overcount = f.real("overcount", 1, 1, 1000);
  i64 count = f.count("count", 1, 1, kSuppliersMax);
  TG_TRY(f.finish());
  for (i64 i = 0; i < count; ++i) {
    spec.name = name + "-" + std::to_string(out.suppliers.size());
    out.suppliers.push_back(spec);
  }
  if (static_cast<i64>(out.suppliers.size()) > kSuppliersMax) {
    return Error{Code::kLimit, where + ": more than 100000 suppliers"};
  }
  return {};
}

Status read_fault(const toml::table& table, const std::string& where, Scenario& out) {
  Fields f(table, where);
  Fault fault;
  std::string kind = f.text("kind", "crash");
  if (kind == "slow") {
    fault.kind = FaultKind::kSlow;
  } else if (kind == "partition") {
    fault.kind = FaultKind::kPartition;
  } else if (kind != "crash") {
    f.fail("kind", "'" + kind + "' is not crash, slow or partition");
  }
  i64 last = static_cast<i64>(out.suppliers.size()) - 1;
  fault.supplier = static_cast<u32>(f.count("supplier", 0, 0, last));
  fault.from_ns = f.seconds("from_s", 0);
  fault.until_ns = f.seconds("until_s", fault.from_ns);
  fault.factor = f.real("factor", 1, 0.01, 1e4);
  TG_TRY(f.finish());
  if (fault.until_ns < fault.from_ns) {
    return Error{Code::kInvalid, where + ": until_s is before from_s"};
  }
  out.faults.push_back(fault);
  return {};
}

Status read_elasticity(const toml::table& table, const std::string& where, Scenario& out) {
  Fields f(table, where);
  Elasticity& e = out.elasticity;
  e.is_on = true;
  i64 most = static_cast<i64>(out.suppliers.size());
  e.replicas = f.count("replicas", 1, 0, most);
  e.warm = f.count("warm", 0, 0, most);
  e.warm_start_ns = f.seconds("warm_start_s", e.warm_start_ns);
  e.cold_start_ns = f.seconds("cold_start_s", e.cold_start_ns);
  e.hop_ns = f.seconds("hop_s", 0);
  e.scale.cold_start_ns = e.cold_start_ns;
  e.scale.work_per_replica_s = f.real("requests_per_replica_s", 20, 1e-6, 1e9);
  e.scale.utilisation = f.real("utilisation", e.scale.utilisation, 0.01, 1);
  e.scale.drain_ns = f.seconds("drain_s", e.scale.drain_ns);
  e.scale.idle_ns = f.seconds("idle_s", e.scale.idle_ns);
  e.scale.replicas_min = f.count("replicas_min", 0, 0, most);
  e.scale.replicas_max = most;
  return f.finish();
}

template <typename Read>
Status read_all(const toml::array* tables, const std::string& where, Scenario& out, Read read) {
  for (std::size_t i = 0; tables != nullptr && i < tables->size(); ++i) {
    const toml::table* table = tables->get(i)->as_table();
    std::string place = where + " " + std::to_string(i + 1);
    if (table == nullptr) return Error{Code::kInvalid, place + ": must be a table"};
    TG_TRY(read(*table, place, out));
  }
  return {};
}

}  // namespace

Result<Scenario> parse_scenario(std::string_view text, std::string_view file) {
  TG_ASSIGN(toml::table table, parse_table(text, file, kScenarioBytesMax));
  Scenario out;
  std::string where(file);
  Fields f(table, where);
  out.name = f.text("name", "pool");
  out.seed = static_cast<u64>(f.count("seed", 1, 0, i64{1} << 50));
  out.report_interval_ns = f.seconds("report_interval_s", out.report_interval_ns);
  if (out.report_interval_ns <= 0) f.fail("report_interval_s", "must be above 0");
  out.estimate_error = f.real("estimate_error", out.estimate_error, 0, 3);
  out.ttft_target_ns = f.seconds("ttft_target_s", out.ttft_target_ns);
  out.tpot_target_ns = f.seconds("tpot_target_s", out.tpot_target_ns);
  out.router.settings.ttft_target_ns = out.ttft_target_ns;
  out.router.settings.tpot_target_ns = out.tpot_target_ns;
  out.router.settings.hold_ns = f.seconds("hold_s", out.router.settings.hold_ns);
  out.router.settings.waited_max_ns = f.seconds("waited_max_s", 0);
  out.router.line.waiting_max = f.count("waiting_max", 1'000'000, 1, 100'000'000);
  out.router.line.tenant_waiting_max = out.router.line.waiting_max;
  out.router.look = f.count("look", out.router.look, 1, 100'000);
  out.router.look_tenant = out.router.look;
  out.router.look_holds = std::min(out.router.look_holds, out.router.look);
  const toml::array* suppliers = f.list("supplier");
  const toml::array* faults = f.list("fault");
  const toml::table* elasticity = f.sub("elasticity");
  TG_TRY(f.finish());
  TG_TRY(read_all(suppliers, where + ": supplier", out, read_supplier));
  if (out.suppliers.empty()) return Error{Code::kInvalid, where + ": no [[supplier]]"};
  TG_TRY(read_all(faults, where + ": fault", out, read_fault));
  if (elasticity != nullptr) TG_TRY(read_elasticity(*elasticity, where + ": elasticity", out));
  return out;
}

Result<Scenario> read_scenario(const std::string& path) {
  std::ifstream in(path);
  if (!in) return Error{Code::kNotFound, path + ": cannot be opened"};
  std::ostringstream text;
  text << in.rdbuf();
  return parse_scenario(text.str(), path);
}

}  // namespace tg::sim
