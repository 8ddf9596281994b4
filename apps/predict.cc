// `tokengrid predict`: latencies of serving situations from public measurements and data sheets,
// and how far such predictions are off.
#include <fmt/format.h>

#include <memory>

#include "apps/commands.h"
#include "predict/evaluation.h"

namespace tg::apps {

namespace {

struct PredictOptions {
  std::string train;
  std::string data;
  bool json = false;
};

std::string in_percent(const std::vector<f64>& errors) {
  if (errors.empty()) return "       -";
  return fmt::format("{:6.1f} %", 100 * predict::median(errors));
}

void print_line(std::string_view name, const predict::ErrorSums& sums) {
  fmt::print("  {:<36} {:>6} rows  TPOT {}  TTFT {}  request {}  coverage {:.3f}\n", name,
             sums.rows, in_percent(sums.tpot), in_percent(sums.ttft), in_percent(sums.request),
             sums.coverage());
}

Status evaluate(const PredictOptions& o) {
  TG_ASSIGN(predict::Evaluation result, predict::evaluate_file(o.train, o.data, {}));
  if (o.json) {
    fmt::print("{}\n", predict::to_json(result));
    return {};
  }
  fmt::print("median absolute errors\n");
  print_line("all", result.overall);
  print_line("prefill and decode together", result.aggregated);
  for (const std::pair<const std::string, predict::ErrorSums>& group : result.by_system)
    print_line(group.first, group.second);
  for (const std::pair<const std::string, predict::ErrorSums>& group : result.by_model)
    print_line(group.first, group.second);
  for (const std::pair<const std::string, i64>& reason : result.refused)
    fmt::print("  refused {} rows: {}\n", reason.second, reason.first);
  return {};
}

void write_protocol(const predict::ProtocolRow& row, JsonWriter& json) {
  json.begin_object().key("protocol").string(row.protocol).key("fold").string(row.fold);
  predict::write_errors(row.evaluation.overall, json);
  json.key("aggregated").begin_object();
  predict::write_errors(row.evaluation.aggregated, json);
  json.end_object().key("without_likely_drafts").begin_object();
  predict::write_errors(row.evaluation.without_drafts, json);
  json.end_object();
  json.key("roofline_tpot_median_ape").real(predict::median(row.roofline_tpot));
  json.key("weights_tpot_median_ape").real(predict::median(row.weights_tpot));
  json.key("device_seconds_median_ape").real(predict::median(row.device_seconds));
  json.key("token_units_device_seconds_median_ape").real(predict::median(row.token_units));
  json.end_object();
}

void print_protocol(const predict::ProtocolRow& row) {
  const predict::Evaluation& e = row.evaluation;
  fmt::print(
      "{:<14} {:<32} {:>5} TPOT {} together {} no drafts {} | weights {} roofline {} | TTFT {} "
      "request {} | device s {} token units {}\n",
      row.protocol, row.fold, e.overall.rows, in_percent(e.overall.tpot),
      in_percent(e.aggregated.tpot), in_percent(e.without_drafts.tpot),
      in_percent(row.weights_tpot), in_percent(row.roofline_tpot), in_percent(e.overall.ttft),
      in_percent(e.overall.request), in_percent(row.device_seconds), in_percent(row.token_units));
}

// Rows that cannot be used are not silently missing.
void print_refused(const std::map<std::string, i64>& refused) {
  for (const std::pair<const std::string, i64>& reason : refused)
    fmt::print(stderr, "tokengrid: {} rows are left out: {}\n", reason.second, reason.first);
}

Status protocols(const PredictOptions& o) {
  TG_ASSIGN(predict::Catalog catalog, predict::Catalog::open(o.train));
  std::map<std::string, i64> refused;
  TG_ASSIGN(std::vector<predict::MeasuredCase> cases,
            predict::load_cases(o.train + "/e2e_silicon/silicon.csv", catalog, refused));
  print_refused(refused);
  TG_ASSIGN(std::vector<predict::ProtocolRow> rows, predict::run_protocols(cases, {}));
  TG_ASSIGN(predict::IncumbentRow incumbent,
            predict::compare_with_incumbent(o.train, cases, {.makes_intervals = false}));
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("ape_unit").string("fraction").key("folds").begin_array();
  for (const predict::ProtocolRow& row : rows) {
    if (!o.json) print_protocol(row);
    write_protocol(row, json);
  }
  json.end_array().key("incumbent").begin_object().key("rows").number(incumbent.rows);
  json.key("tpot_median_ape").real(predict::median(incumbent.ours_tpot));
  json.key("their_tpot_median_ape").real(predict::median(incumbent.theirs_tpot));
  json.key("ttft_median_ape").real(predict::median(incumbent.ours_ttft));
  json.key("their_ttft_median_ape").real(predict::median(incumbent.theirs_ttft));
  json.key("request_median_ape").real(predict::median(incumbent.ours_request));
  json.key("their_request_median_ape").real(predict::median(incumbent.theirs_request));
  json.end_object().end_object();
  if (o.json) {
    fmt::print("{}\n", out);
  } else {
    fmt::print(
        "incumbent's rows: {}; TPOT {} against {}, TTFT {} against {}, request {} against {}\n",
        incumbent.rows, in_percent(incumbent.ours_tpot), in_percent(incumbent.theirs_tpot),
        in_percent(incumbent.ours_ttft), in_percent(incumbent.theirs_ttft),
        in_percent(incumbent.ours_request), in_percent(incumbent.theirs_request));
  }
  return {};
}

}  // namespace

void add_predict(CLI::App& root, int& exit_status) {
  std::shared_ptr<PredictOptions> o = std::make_shared<PredictOptions>();
  CLI::App* group =
      root.add_subcommand("predict", "Latencies from measurements of others and data sheets");
  group->require_subcommand(1);
  CLI::App* eval = group->add_subcommand(
      "eval",
      "Learn from a folder of measurements, predict a file of others; errors are fractions");
  eval->add_option("--train", o->train,
                   "folder with e2e_silicon/silicon.csv, specs/systems and specs/model_configs")
      ->required();
  eval->add_option("--data", o->data, "file in the format of e2e_silicon/silicon.csv")->required();
  eval->add_flag("--json", o->json, "machine-readable output");
  eval->callback([o, &exit_status] { exit_status = report(evaluate(*o)); });
  CLI::App* split = group->add_subcommand(
      "protocols", "Errors on devices, models and configurations held out of a folder");
  split->add_option("--train", o->train, "as for eval")->required();
  split->add_flag("--json", o->json, "machine-readable output");
  split->callback([o, &exit_status] { exit_status = report(protocols(*o)); });
}

}  // namespace tg::apps
