// The subcommands of the binary. Each add_* declares one (or a group) on the command line and, when
// it is the one that was asked for, runs it and leaves the process' exit status in `exit_status`: 0
// done, 1 failed, 2 wrong usage.
#pragma once

#include <CLI/CLI.hpp>

#include "base/result.h"

namespace tg::apps {

void add_serve(CLI::App& root, int& exit_status);
void add_run(CLI::App& root, int& exit_status);
void add_estimate(CLI::App& root, int& exit_status);
void add_predict(CLI::App& root, int& exit_status);
void add_sim(CLI::App& root, int& exit_status);
// `sim fidelity`, below `sim`: it needs the engine.
void add_sim_fidelity(CLI::App& sim, int& exit_status);
void add_node(CLI::App& root, int& exit_status);
void add_calibrate(CLI::App& root, int& exit_status);
void add_model(CLI::App& root, int& exit_status);
void add_program(CLI::App& root, int& exit_status);
void add_conformance(CLI::App& root, int& exit_status);
void add_bench(CLI::App& root, int& exit_status);
void add_receipt(CLI::App& root, int& exit_status);
void add_key(CLI::App& root, int& exit_status);
void add_units(CLI::App& root, int& exit_status);
void add_account(CLI::App& root, int& exit_status);
void add_ledger(CLI::App& root, int& exit_status);

// Prints "tokengrid: <message>" on standard error if the status is an error; the exit status for
// it.
int report(const Status& status);

}  // namespace tg::apps
