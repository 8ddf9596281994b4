// The whole suite on one device, and the capability record that comes of it: what the market
// indexes (isa.md 9.5).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "conformance/models.h"
#include "conformance/trial.h"
#include "env/clock.h"

namespace tg::conformance {

struct SuiteOptions {
  std::string op;      // only cases of this op; empty: all
  std::string only;    // only families whose label holds this text; empty: all
  bool quick = false;  // a subset that takes under a minute
};

// One line of the capability record.
struct RecordKey {
  isa::Opcode op{};
  ErrorClass cls{};
  Signature signature;
  friend auto operator<=>(const RecordKey&, const RecordKey&) = default;
};
struct RecordRow {
  u8 claimed_error = 0, claimed_determinism = 0;  // of the covering row
  i64 cases = 0, failed = 0;
  i64 pools = 0;                     // of which judged by ratios; E4 is nothing else
  f64 used = 0, gamma = 0, rho = 0;  // the worst seen
  int determinism = -1;              // found by replays; -1: the op has none
};

struct Failure {
  std::string where;  // family, generator, shape
  std::string what;
};

struct ModelRow {
  std::string name;
  ModelOutcome outcome;
};

struct Report {
  Claims claims;
  bool quick = false;
  std::map<RecordKey, RecordRow> rows;
  std::vector<ModelRow> models;
  std::vector<Failure> failures;     // the first kFailuresMax
  std::vector<Failure> not_claimed;  // family and why
  i64 cases = 0, failed = 0;
  f64 seconds = 0;
};
inline constexpr i64 kFailuresMax = 200;

// Errors only if the tables are malformed or no case has that op and text.
Result<Report> run_suite(const Claims& claims, const SuiteOptions& options, Clock& clock);

// The record as JSON; its last key is "summary".
std::string to_json(const Report& report);
// The same for people.
std::string to_text(const Report& report);

}  // namespace tg::conformance
