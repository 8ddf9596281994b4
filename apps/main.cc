// tokengrid: serve models, estimate, meter and settle requests. One list of subcommands, nothing
// else.
#include <cstdio>

#include "apps/commands.h"

namespace tg::apps {

int report(const Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "tokengrid: %s\n", status.error().message.c_str());
  return 1;
}

}  // namespace tg::apps

int main(int argc, char** argv) {
  constexpr int kUsage = 2;
  CLI::App app{"Tokengrid: any accelerator into standard tokens, any request into a receipt",
               "tokengrid"};
  app.set_version_flag("--version", TG_VERSION);
  app.require_subcommand(1);
  int exit_status = 0;
  tg::apps::add_serve(app, exit_status);
  tg::apps::add_run(app, exit_status);
  tg::apps::add_estimate(app, exit_status);
  tg::apps::add_predict(app, exit_status);
  tg::apps::add_sim(app, exit_status);
  tg::apps::add_node(app, exit_status);
  tg::apps::add_calibrate(app, exit_status);
  tg::apps::add_model(app, exit_status);
  tg::apps::add_program(app, exit_status);
  tg::apps::add_conformance(app, exit_status);
  tg::apps::add_bench(app, exit_status);
  tg::apps::add_receipt(app, exit_status);
  tg::apps::add_key(app, exit_status);
  tg::apps::add_units(app, exit_status);
  tg::apps::add_account(app, exit_status);
  tg::apps::add_ledger(app, exit_status);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return exit_status;
}
