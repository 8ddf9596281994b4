// How far predictions are from measurements: on one file of held-back rows, and on splits of a
// training set by device, model and configuration. Never on random rows, which repeat each other.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json_out.h"
#include "base/result.h"
#include "predict/predictor.h"

namespace tg::predict {

// Absolute errors as fractions of what was measured.
struct ErrorSums {
  std::vector<f64> tpot, ttft, request;
  i64 tpot_below_p90 = 0;
  i64 rows = 0;      // asked
  i64 answered = 0;  // predicted

  void add(const MeasuredCase& measured, const Prediction& prediction);
  f64 coverage() const;
};

f64 median(std::vector<f64> values);  // 0 if there are none
f64 mean(std::span<const f64> values);

struct Evaluation {
  ErrorSums overall;
  ErrorSums aggregated;      // prefill and decode on the same devices
  ErrorSums without_drafts;  // rows that surely decode one token a step
  std::map<std::string, ErrorSums> by_system;
  std::map<std::string, ErrorSums> by_model;
  std::map<std::string, i64> refused;  // reason, rows
};

// Learns from <train>/e2e_silicon/silicon.csv with <train>/specs and predicts `data`.
Result<Evaluation> evaluate_file(const std::string& train, const std::string& data,
                                 const PredictorOptions& options);

// Medians and means of errors (fractions) and coverage, as keys of the object being written.
void write_errors(const ErrorSums& sums, JsonWriter& json);
// One object: overall keys, then by_system, by_model and refused.
std::string to_json(const Evaluation& evaluation);

// One way of holding out, over all its folds.
struct ProtocolRow {
  std::string protocol;  // "device", "model", "configuration", "few_shot"
  std::string fold;      // what was held out; "all" for the sum
  Evaluation evaluation;
  std::vector<f64> roofline_tpot;   // errors of the plain roofline with one learned scale
  std::vector<f64> weights_tpot;    // ... of the learned weights without corrections
  std::vector<f64> device_seconds;  // errors of device-seconds per request
  std::vector<f64> token_units;     // ... of 1:4 token weights with one scale per device
};

struct ProtocolOptions {
  PredictorOptions predictor{.makes_intervals = false};
  i64 few_shot_rows = 30;
  u64 seed = 7;
  bool has_few_shot = true;
};

// Every protocol's folds and their sum. `cases` as made from the training table.
Result<std::vector<ProtocolRow>> run_protocols(std::span<const MeasuredCase> cases,
                                               const ProtocolOptions& options);

// Adds a predicted row to every group it belongs to.
void add_row(const MeasuredCase& measured, const Prediction& prediction, Evaluation& into);

// Ours (each row predicted by a fold that did not see its configuration) and the incumbent's errors
// on the rows of <train>/e2e_silicon/incumbent_predictions.csv.
struct IncumbentRow {
  i64 rows = 0;
  std::vector<f64> ours_tpot, theirs_tpot, ours_ttft, theirs_ttft, ours_request, theirs_request;
};
Result<IncumbentRow> compare_with_incumbent(const std::string& train,
                                            std::span<const MeasuredCase> cases,
                                            const PredictorOptions& options);

// The training rows with their devices and models looked up; rows that cannot be are counted in
// `refused`.
Result<std::vector<MeasuredCase>> load_cases(const std::string& file, Catalog& catalog,
                                             std::map<std::string, i64>& refused);

}  // namespace tg::predict
