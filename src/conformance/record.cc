// The capability record as JSON and as a table.
#include <fmt/format.h>

#include "base/json_out.h"
#include "conformance/allocation_watch.h"
#include "conformance/suite.h"

namespace tg::conformance {

namespace {

std::string dtype_text(u8 type) {
  if (type >= static_cast<u8>(isa::DType::kCount)) return "-";
  return std::string(isa::info(static_cast<isa::DType>(type)).name);
}

std::string determinism_text(int found) {
  return found < 0 ? "-" : fmt::format("D{}", found);
}

std::string achieved(const RecordKey& key, const RecordRow& row) {
  if (row.failed > 0) return "none";
  bool judged = key.cls != ErrorClass::kE4 || row.pools > 0;
  return judged ? std::string(name(key.cls)) : "unjudged";
}

void add_row(JsonWriter& json, const RecordKey& key, const RecordRow& row) {
  const Signature& s = key.signature;
  json.begin_object().key("op").string(isa::name(key.op)).key("version").number(s.version);
  json.key("x").string(dtype_text(s.x)).key("w").string(dtype_text(s.w));
  json.key("acc").string(dtype_text(s.acc)).key("y").string(dtype_text(s.y));
  json.key("kv").string(dtype_text(s.kv)).key("class").string(name(key.cls));
  json.key("claimed").string(fmt::format("E{}", row.claimed_error));
  json.key("achieved").string(achieved(key, row)).key("bound_used").real(row.used);
  json.key("gamma").real(row.gamma).key("rho").real(row.rho);
  json.key("determinism_claimed").string(fmt::format("D{}", row.claimed_determinism));
  json.key("determinism").string(determinism_text(row.determinism));
  json.key("cases").number(row.cases).key("failed").number(row.failed).end_object();
}

void add_model(JsonWriter& json, const ModelRow& model) {
  const ModelOutcome& o = model.outcome;
  json.begin_object().key("name").string(model.name).key("achieved").string(o.pass ? "E5" : "none");
  json.key("kl").real(o.kl).key("kl_same_type").real(o.naive_kl);
  json.key("clear_rows").number(o.clear_rows).key("same_top").number(o.same_top);
  json.key("determinism").string(fmt::format("D{}", o.determinism)).end_object();
}

void add_failures(JsonWriter& json, const char* key, const std::vector<Failure>& failures) {
  json.key(key).begin_array();
  for (const Failure& f : failures) {
    json.begin_object().key("case").string(f.where).key("why").string(f.what).end_object();
  }
  json.end_array();
}

}  // namespace

std::string to_json(const Report& report) {
  std::string out;
  JsonWriter json(out);
  const Claims& c = report.claims;
  json.begin_object().key("record").string("tokengrid capability").key("isa").string("1.0");
  json.key("suite").string(kSuiteVersion).key("quick").boolean(report.quick);
  json.key("vendor").string(c.vendor).key("backend").string(c.backend);
  json.key("driver").string(c.version).key("device").string(c.device).key("rows").begin_array();
  for (const auto& [key, row] : report.rows) add_row(json, key, row);
  json.end_array().key("models").begin_array();
  for (const ModelRow& model : report.models) add_model(json, model);
  json.end_array();
  add_failures(json, "failures", report.failures);
  add_failures(json, "not_claimed", report.not_claimed);
  json.key("summary").begin_object().key("cases").number(report.cases);
  json.key("failed").number(report.failed);
  json.key("not_claimed").number(static_cast<i64>(report.not_claimed.size()));
  json.key("allocations_watched").boolean(can_watch_allocations());
  json.key("driver_allocations").number(driver_calls_in_all());
  json.key("seconds").real(report.seconds).end_object().end_object();
  return out;
}

std::string to_text(const Report& report) {
  const Claims& c = report.claims;
  std::string out = fmt::format("{} {} {} on {}, suite {}{}\n", c.vendor, c.backend, c.version,
                                c.device, kSuiteVersion, report.quick ? " (quick)" : "");
  out += fmt::format(
      "{:<11} {:>5} {:>9} {:>4} {:>5} {:>5}  {:<8} {:<8} {:>6} {:>7} {:>5}  {:<7} {:>6} {:>6}\n",
      "op", "x", "w", "acc", "y", "kv", "claimed", "achieved", "bound", "gamma", "rho", "det",
      "cases", "failed");
  for (const auto& [key, row] : report.rows) {
    const Signature& s = key.signature;
    out += fmt::format(
        "{:<11} {:>5} {:>9} {:>4} {:>5} {:>5}  {:<8} {:<8} {:>6.2f} {:>7.3g} {:>5.2f}  D{} {:<2}   "
        "{:>6} {:>6}\n",
        isa::name(key.op), dtype_text(s.x), dtype_text(s.w), dtype_text(s.acc), dtype_text(s.y),
        dtype_text(s.kv), fmt::format("E{}", row.claimed_error), achieved(key, row), row.used,
        row.gamma, row.rho, row.claimed_determinism, determinism_text(row.determinism), row.cases,
        row.failed);
  }
  for (const ModelRow& m : report.models) {
    out += fmt::format("{:<28} {:<5} KL {:.2e} (same type {:.2e})  top {}/{}  D{}\n", m.name,
                       m.outcome.pass ? "E5" : "none", m.outcome.kl, m.outcome.naive_kl,
                       m.outcome.same_top, m.outcome.clear_rows, m.outcome.determinism);
  }
  for (const Failure& f : report.failures) out += fmt::format("FAILED {}: {}\n", f.where, f.what);
  for (const Failure& f : report.not_claimed) {
    out += fmt::format("not claimed {}: {}\n", f.where, f.what);
  }
  out += fmt::format("{} cases, {} failed, {} families not claimed, {:.1f} s{}\n", report.cases,
                     report.failed, report.not_claimed.size(), report.seconds,
                     can_watch_allocations()
                         ? fmt::format(", {} allocator calls by the driver", driver_calls_in_all())
                         : ", allocations not watched");
  return out;
}

}  // namespace tg::conformance
