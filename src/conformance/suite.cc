#include "conformance/suite.h"

#include <fmt/format.h>

#include <algorithm>

namespace tg::conformance {

namespace {

constexpr Generator kQuickGenerators[] = {Generator::kNormal, Generator::kWide};
constexpr const char* kQuickShapes[] = {"t17", "mixed", "window", "hole", "batch"};
// Run besides where those have too few numbers for the class's ratios.
constexpr const char* kQuickRest = "t257";
constexpr std::size_t kQuickModels = 5;

class Suite {
 public:
  Suite(const Claims& claims, const SuiteOptions& options) : options_(options) {
    report_.claims = claims;
    report_.quick = options.quick;
  }

  Status run_family(const Family& family) {
    for (u8 g = 0; g < static_cast<u8>(Generator::kCount); ++g) {
      Generator generator = static_cast<Generator>(g);
      if (options_.quick && !is_quick(generator)) continue;
      TG_ASSIGN(std::unique_ptr<Trial> trial, Trial::make(report_.claims, family, generator));
      if (!trial->claim()) {
        report_.not_claimed.push_back({family.label, trial->not_claimed()});
        return {};
      }
      RecordRow& row = row_of(family, *trial);
      run_shapes(family, generator, *trial, row);
      if (generator == Generator::kNormal) run_replays(family, *trial, row);
    }
    return {};
  }

  Status run_model(const ModelCase& model) {
    TG_ASSIGN(ModelOutcome outcome, conformance::run_model(report_.claims, model));
    if (!outcome.claimed) {
      report_.not_claimed.push_back({model.name, outcome.not_claimed});
      return {};
    }
    ++report_.cases;
    if (!outcome.pass) fail(model.name, outcome.failure);
    report_.models.push_back({model.name, std::move(outcome)});
    return {};
  }

  Report take() { return std::move(report_); }

 private:
  static bool is_quick(Generator generator) {
    return std::find(std::begin(kQuickGenerators), std::end(kQuickGenerators), generator) !=
           std::end(kQuickGenerators);
  }
  static bool is_quick(const std::string& shape) {
    return std::find(std::begin(kQuickShapes), std::end(kQuickShapes), shape) !=
           std::end(kQuickShapes);
  }

  RecordRow& row_of(const Family& family, const Trial& trial) {
    RecordRow& row = report_.rows[{family.op, family.cls, trial.signature()}];
    row.claimed_error = trial.claim()->err_class;
    row.claimed_determinism = trial.claim()->det_class;
    return row;
  }

  void fail(std::string where, std::string what) {
    ++report_.failed;
    if (std::ssize(report_.failures) < kFailuresMax) {
      report_.failures.push_back({std::move(where), std::move(what)});
    }
  }

  void count(RecordRow& row, const std::string& where, const Outcome& outcome) {
    ++report_.cases;
    ++row.cases;
    row.used = std::max(row.used, outcome.used);
    row.gamma = std::max(row.gamma, outcome.gamma);
    if (outcome.pass) return;
    ++row.failed;
    fail(where, outcome.failure);
  }

  void run_shapes(const Family& family, Generator generator, Trial& trial, RecordRow& row) {
    std::string label = family.label + " / " + std::string(name(generator)) + " / ";
    auto run = [&](const std::string& shape) {
      count(row, label + shape, trial.run(*find_shape(shape)));
    };
    for (const std::string& shape : family.shapes) {
      if (!options_.quick || is_quick(shape)) run(shape);
    }
    bool has_rest =
        std::find(family.shapes.begin(), family.shapes.end(), kQuickRest) != family.shapes.end();
    if (options_.quick && has_rest && has_ratios(family.cls) && !trial.pool().judged) {
      run(kQuickRest);
    }
    PoolVerdict pool = trial.pool();
    if (!pool.judged) return;
    ++row.pools;
    row.rho = std::max(row.rho, pool.rho);
    count(row, label + "all shapes", {.pass = pool.pass, .failure = pool.failure});
  }

  // A replay is a case of its own; it fails if the device claimed more than it shows. Attention
  // within a step sees other keys in another chunking, and what comes by sequence has no rows.
  void run_replays(const Family& family, Trial& trial, RecordRow& row) {
    if (family.by_sequence || family.op == isa::Opcode::kAttnDense) return;
    if (row.determinism < 0) row.determinism = 2;
    for (u8 r = 0; r < static_cast<u8>(Replay::kCount); ++r) {
      Replay replay = static_cast<Replay>(r);
      if (replay == Replay::kFork && !family.has_cache) continue;
      if (replay == Replay::kOneByOne && family.keeps_chunks) continue;
      Outcome outcome = trial.replay(replay);
      int found = replay == Replay::kAgain ? 0 : 1;
      if (!outcome.pass) row.determinism = std::min(row.determinism, found);
      if (!outcome.pass && row.claimed_determinism <= found) outcome = Outcome{};
      count(row, family.label + " / " + std::string(name(replay)), outcome);
    }
  }

  SuiteOptions options_;
  Report report_;
};

}  // namespace

Result<Report> run_suite(const Claims& claims, const SuiteOptions& options, Clock& clock) {
  i64 start = clock.monotonic_ns();
  TG_ASSIGN(std::vector<Family> families, all_families());
  Suite suite(claims, options);
  bool found = false;
  for (const Family& family : families) {
    if (!options.op.empty() && isa::name(family.op) != options.op) continue;
    if (family.label.find(options.only) == std::string::npos) continue;
    found = true;
    TG_TRY(suite.run_family(family));
  }
  if (!found) {
    return Error{Code::kNotFound,
                 "conformance: no case of op \"" + options.op + "\" with \"" + options.only + "\""};
  }
  std::vector<ModelCase> models = all_models();
  if (options.quick) models.resize(std::min(models.size(), kQuickModels));
  if (!options.op.empty() || !options.only.empty()) models.clear();
  for (const ModelCase& model : models) TG_TRY(suite.run_model(model));
  Report report = suite.take();
  report.seconds = static_cast<f64>(clock.monotonic_ns() - start) * 1e-9;
  return report;
}

}  // namespace tg::conformance
