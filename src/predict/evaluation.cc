// A fold's model is fitted without every row of the group, so that no twin of a tested row is seen.
#include "predict/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/assert.h"

namespace tg::predict {

namespace {

constexpr std::string_view kRows = "/e2e_silicon/silicon.csv";

f64 relative_error(f64 predicted, f64 measured) {
  return std::abs(predicted / measured - 1);
}

void write_group(std::string_view name, const std::map<std::string, ErrorSums>& groups,
                 JsonWriter& json) {
  json.key(name).begin_object();
  for (const std::pair<const std::string, ErrorSums>& group : groups) {
    json.key(group.first).begin_object();
    write_errors(group.second, json);
    json.end_object();
  }
  json.end_object();
}

}  // namespace

f64 median(std::vector<f64> values) {
  if (values.empty()) return 0;
  std::size_t half = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(half),
                   values.end());
  f64 upper = values[half];
  if (values.size() % 2 == 1) return upper;
  return (upper +
          *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(half))) /
         2;
}

f64 mean(std::span<const f64> values) {
  f64 sum = 0;
  for (f64 value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<f64>(values.size());
}

void ErrorSums::add(const MeasuredCase& m, const Prediction& p) {
  ++rows;
  ++answered;
  if (m.tpot_ms > 0) {
    tpot.push_back(relative_error(p.tpot_ms.p50, m.tpot_ms));
    tpot_below_p90 += m.tpot_ms <= p.tpot_ms.p90;
  }
  if (m.ttft_ms > 0) ttft.push_back(relative_error(p.ttft_ms.p50, m.ttft_ms));
  if (m.tpot_ms > 0 && m.ttft_ms > 0)
    request.push_back(relative_error(p.request_ms.p50, m.request_ms()));
}

f64 ErrorSums::coverage() const {
  return rows == 0 ? 0 : static_cast<f64>(answered) / static_cast<f64>(rows);
}

void add_row(const MeasuredCase& m, const Prediction& p, Evaluation& into) {
  into.overall.add(m, p);
  if (!m.c.setting.is_split) into.aggregated.add(m, p);
  if (!m.c.basis.is_draft_likely) into.without_drafts.add(m, p);
  into.by_system[m.c.setting.system].add(m, p);
  into.by_model[m.c.setting.model].add(m, p);
}

Result<std::vector<MeasuredCase>> load_cases(const std::string& file, Catalog& catalog,
                                             std::map<std::string, i64>& refused) {
  TG_ASSIGN(std::vector<Observation> rows, read_observations(file));
  std::vector<MeasuredCase> out;
  for (const Observation& row : rows) {
    Result<Case> made = make_case(row.setting, catalog);
    if (!made.ok()) {
      ++refused[made.error().message];
      continue;
    }
    out.push_back({std::move(*made), row.ttft_ms, row.tpot_ms});
  }
  return out;
}

Result<Evaluation> evaluate_file(const std::string& train, const std::string& data,
                                 const PredictorOptions& options) {
  TG_ASSIGN(Catalog catalog, Catalog::open(train));
  std::map<std::string, i64> ignored;
  TG_ASSIGN(std::vector<MeasuredCase> known,
            load_cases(train + std::string(kRows), catalog, ignored));
  TG_ASSIGN(Predictor predictor, Predictor::fit(known, options));
  TG_ASSIGN(std::vector<Observation> asked, read_observations(data));
  Evaluation out;
  for (const Observation& row : asked) {
    Result<Case> made = make_case(row.setting, catalog);
    if (made.ok()) {
      MeasuredCase measured{std::move(*made), row.ttft_ms, row.tpot_ms};
      add_row(measured, predictor.predict(measured.c), out);
      continue;
    }
    ++out.refused[made.error().message];
    ++out.overall.rows;
    ++out.by_system[row.setting.system].rows;
    ++out.by_model[row.setting.model].rows;
  }
  return out;
}

void write_errors(const ErrorSums& sums, JsonWriter& json) {
  json.key("rows").number(sums.rows).key("coverage").real(sums.coverage());
  // Nothing answered is not an error of 0.
  auto write = [&json](std::string_view name, const std::vector<f64>& errors) {
    f64 unknown = std::numeric_limits<f64>::quiet_NaN();
    std::string key(name);
    json.key(key + "_median_ape").real(errors.empty() ? unknown : median(errors));
    json.key(key + "_mean_ape").real(errors.empty() ? unknown : mean(errors));
  };
  write("tpot", sums.tpot);
  write("ttft", sums.ttft);
  write("request", sums.request);
  f64 known = static_cast<f64>(std::max<std::size_t>(sums.tpot.size(), 1));
  json.key("tpot_p90_coverage").real(static_cast<f64>(sums.tpot_below_p90) / known);
}

std::string to_json(const Evaluation& evaluation) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.key("ape_unit").string("fraction");
  write_errors(evaluation.overall, json);
  json.key("aggregated").begin_object();
  write_errors(evaluation.aggregated, json);
  json.end_object().key("without_likely_drafts").begin_object();
  write_errors(evaluation.without_drafts, json);
  json.end_object();
  write_group("by_system", evaluation.by_system, json);
  write_group("by_model", evaluation.by_model, json);
  json.key("refused").begin_object();
  for (const std::pair<const std::string, i64>& reason : evaluation.refused)
    json.key(reason.first).number(reason.second);
  json.end_object().end_object();
  return out;
}

}  // namespace tg::predict
