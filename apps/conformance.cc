// `tokengrid conformance`: is a backend right, how right, and does it stay so in any batch.
#include <fmt/format.h>

#include <memory>

#include "apps/commands.h"
#include "conformance/suite.h"

namespace tg::apps {

namespace {

struct ConformanceOptions {
  std::string backend = "cpu";
  u32 device = 0;
  std::string op, only;
  bool quick = false;
  bool json = false;
};

Status run_conformance(const ConformanceOptions& o) {
  TG_ASSIGN(backend::Library library, backend::load_library(o.backend));
  TG_ASSIGN(conformance::Claims claims,
            conformance::read_claims({.library = library, .device = o.device}));
  SystemClock clock;
  TG_ASSIGN(conformance::Report report,
            conformance::run_suite(claims, {.op = o.op, .only = o.only, .quick = o.quick}, clock));
  if (o.json) {
    fmt::print("{}\n", conformance::to_json(report));
  } else {
    fmt::print("{}", conformance::to_text(report));
  }
  if (report.failed == 0) return {};
  return Error{Code::kInvalid, fmt::format("conformance: {} of {} cases failed on {}",
                                           report.failed, report.cases, claims.device)};
}

}  // namespace

void add_conformance(CLI::App& root, int& exit_status) {
  std::shared_ptr<ConformanceOptions> o = std::make_shared<ConformanceOptions>();
  CLI::App* command =
      root.add_subcommand("conformance", "test a backend against the reference, class by class");
  command->add_option("--backend", o->backend, "cpu, or the path of a shared object")
      ->capture_default_str();
  command->add_option("--device", o->device, "device of the backend")->capture_default_str();
  command->add_option("--op", o->op, "only cases of this op");
  command->add_option("--case", o->only, "only families whose label holds this text");
  command->add_flag("--quick", o->quick, "a subset that takes less than a minute");
  command->add_flag("--json", o->json, "the capability record");
  command->callback([o, &exit_status] { exit_status = report(run_conformance(*o)); });
}

}  // namespace tg::apps
