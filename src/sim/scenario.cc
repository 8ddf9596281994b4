#include "sim/scenario.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "base/toml_field.h"
#include "env/disk.h"
#include "env/random.h"
#include "fleet/capability.h"
#include "sim/perf_device.h"

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

// Learnt from once each, however many suppliers name it.
using PerfShelf = std::map<std::string, std::unique_ptr<PerfData>>;

Result<DeviceModel> measured_device(Fields& f, const std::string& directory, DeviceModel like,
                                    PerfShelf& shelf) {
  PerfAsk ask{.system = f.text("system", ""),
              .model = f.text("model", ""),
              .engine = f.text("measured_engine", "vllm"),
              .precision = f.text("precision", ""),
              .devices = f.count("devices", 1, 1, 1024)};
  if (ask.system.empty() || ask.model.empty()) {
    f.fail("perf", "needs the names of a system and a model");
    return like;
  }
  std::unique_ptr<PerfData>& data = shelf[directory];
  if (data == nullptr) {
    TG_ASSIGN(data, PerfData::open(directory));
  }
  return data->device(ask, std::move(like));
}

Result<DeviceModel> device_of(Fields& f, PerfShelf& shelf) {
  DeviceModel d = reference_device(f.real("speed", 1, 1e-4, 1e4));
  std::string record = f.text("capability", "");
  if (!record.empty()) {
    TG_ASSIGN(std::string text, read_file(record, fleet::kCapabilityBytesMax));
    TG_ASSIGN(fleet::Capability capability, fleet::parse_capability(text));
    take(capability, d);
  }
  std::string perf = f.text("perf", "");
  if (!perf.empty()) {
    TG_ASSIGN(d, measured_device(f, perf, std::move(d), shelf));
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
  d.page_tokens = f.count("page_tokens", d.page_tokens, 1, 1 << 16);
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

Status read_supplier(const toml::table& table, const std::string& where, Scenario& out,
                     PerfShelf& shelf) {
  Fields f(table, where);
  SupplierSpec spec;
  std::string name = f.text("name", "supplier");
  TG_ASSIGN(spec.device, device_of(f, shelf));
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

// Prices are standard tokens for a million tokens, or for a million of nominal work.
Status read_money(const toml::table& table, const std::string& where, Scenario& out) {
  Fields f(table, where);
  MoneyTerms& m = out.money;
  out.money_mode = f.count("on", 1, 0, 1) == 1 ? MoneyMode::kOn : MoneyMode::kOff;
  m.bundle_st = f.count("bundle_st", m.bundle_st, 0, 1'000'000'000'000);
  m.budget_st = f.count("budget_st", m.budget_st, 0, 1'000'000'000'000);
  m.max_tokens = f.count("max_tokens", m.max_tokens, 1, 1 << 24);
  m.fee_ppm = f.count("fee_ppm", m.fee_ppm, 0, 1'000'000);
  m.tick_ns = f.seconds("tick_s", m.tick_ns);
  m.latency_ns = f.seconds("latency_s", m.latency_ns);
  if (m.tick_ns <= 0) f.fail("tick_s", "must be above 0");
  std::string mode = f.text("mode", "sliced");
  std::optional<market::HoldMode> named = market::hold_mode_by_name(mode);
  if (!named) f.fail("mode", "'" + mode + "' is not sliced, guaranteed or best_effort");
  m.mode = named.value_or(m.mode);
  auto price = [&](const char* key, market::RatedClass rated, f64 fallback) {
    m.prices[rated] = std::llround(kNs * f.real(key, fallback, 0, 1e8));
  };
  price("price_work", market::RatedClass::kWork, 1e6);
  price("price_input", market::RatedClass::kUncachedInput, 0);
  price("price_cached", market::RatedClass::kCachedInput, 0);
  price("price_output", market::RatedClass::kOutput, 0);
  return f.finish();
}

// Weights in 1e-9 credit per second, as in dispatch/choose.h.
Status read_router(const toml::table& table, const std::string& where, Scenario& out) {
  Fields f(table, where);
  dispatch::RouteSettings& s = out.router.settings;
  constexpr f64 kMost = 1e12;
  s.first_weight = f.real("first_weight", s.first_weight, 0, kMost);
  s.token_weight = f.real("token_weight", s.token_weight, 0, kMost);
  s.late_weight = f.real("late_weight", s.late_weight, 0, kMost);
  s.line_weight = f.real("line_weight", s.line_weight, 0, kMost);
  s.copy_weight = f.real("copy_weight", s.copy_weight, 0, kMost);
  s.crowd_weight = f.real("crowd_weight", s.crowd_weight, 0, kMost);
  out.router.slack_ns_per_token =
      f.real("slack_us_per_token", out.router.slack_ns_per_token / 1e3, 0, 1e9) * 1e3;
  out.knows_lengths = f.count("knows_lengths", 0, 0, 1) == 1;
  return f.finish();
}

Status read_classes(const toml::table& table, const std::string& where, Scenario& out) {
  Fields f(table, where);
  out.classes.interactive = f.real("interactive", 0, 0, 1);
  out.classes.batch = f.real("batch", 0, 0, 1);
  if (out.classes.interactive + out.classes.batch > 1) {
    f.fail("batch", "and interactive are more than all requests");
  }
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

fleet::ServiceClass ClassMix::of(u32 request, u64 seed) const {
  if (!is_mixed()) return fleet::ServiceClass::kStandard;
  f64 drawn = SeededRandom(seed << 32 ^ request).uniform();
  if (drawn < interactive) return fleet::ServiceClass::kInteractive;
  return drawn < interactive + batch ? fleet::ServiceClass::kBatch : fleet::ServiceClass::kStandard;
}

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
  const toml::table* money = f.sub("money");
  const toml::table* router = f.sub("router");
  const toml::table* classes = f.sub("classes");
  std::string engine = f.text("engine", "shipped");
  std::optional<EngineKind> kind = engine_kind_by_name(engine);
  if (!kind) f.fail("engine", "'" + engine + "' is not shipped or quick");
  out.engine = kind.value_or(out.engine);
  TG_TRY(f.finish());
  PerfShelf shelf;
  TG_TRY(read_all(suppliers, where + ": supplier", out,
                  [&](const toml::table& supplier, const std::string& place, Scenario& into) {
                    return read_supplier(supplier, place, into, shelf);
                  }));
  if (out.suppliers.empty()) return Error{Code::kInvalid, where + ": no [[supplier]]"};
  TG_TRY(read_all(faults, where + ": fault", out, read_fault));
  if (router != nullptr) TG_TRY(read_router(*router, where + ": router", out));
  if (classes != nullptr) TG_TRY(read_classes(*classes, where + ": classes", out));
  if (money != nullptr) TG_TRY(read_money(*money, where + ": money", out));
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
