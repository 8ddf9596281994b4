// The ways of holding out: a device, a model, configurations, and all but a few rows of a device.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "predict/evaluation.h"

namespace tg::predict {

namespace {

constexpr u64 kConfigurationFolds = 5;

u64 text_hash(std::string_view text) {
  u64 hash = 14695981039346656037ull;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return hash ^ (hash >> 29);
}

// Models of one shape are one, so that a rename is no second model.
std::string group_key(const Case& c) {
  Setting setting = c.setting;
  setting.model = c.model_key;
  return configuration_key(setting);
}

struct Fold {
  std::string protocol;
  std::string name;
  std::vector<u8> role;  // 0: learned from, 1: tested, 2: neither
};

f64 request_device_seconds(const MeasuredCase& m) {
  return m.c.devices * m.request_ms() / 1e3 / m.c.setting.concurrency;
}

// The scale that makes the median ratio 1.
f64 median_ratio(const std::vector<f64>& ratios) {
  return ratios.empty() ? 1 : median(ratios);
}

f64 token_weight(const Case& c) {
  constexpr f64 kOutputWeight = 4;
  return c.setting.prompt + kOutputWeight * c.setting.output;
}

// The comparison that favours token units: their scale is set on the tested rows themselves.
void add_token_units(std::span<const MeasuredCase> cases, const Fold& fold, ProtocolRow& out) {
  std::map<std::string, std::vector<f64>> ratios;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (fold.role[i] == 1)
      ratios[cases[i].c.setting.system].push_back(request_device_seconds(cases[i]) /
                                                  token_weight(cases[i].c));
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (fold.role[i] != 1) continue;
    f64 scale = median_ratio(ratios[cases[i].c.setting.system]);
    out.token_units.push_back(
        std::abs(scale * token_weight(cases[i].c) / request_device_seconds(cases[i]) - 1));
  }
}

Result<ProtocolRow> run_fold(std::span<const MeasuredCase> cases, const Fold& fold,
                             const PredictorOptions& options) {
  std::vector<MeasuredCase> known;
  std::vector<const Case*> pointers;
  std::vector<f64> tpot, scale;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (fold.role[i] != 0) continue;
    known.push_back(cases[i]);
    pointers.push_back(&cases[i].c);
    tpot.push_back(cases[i].tpot_ms);
    if (cases[i].tpot_ms > 0) scale.push_back(cases[i].tpot_ms / cases[i].c.nominal_ms);
  }
  TG_ASSIGN(Predictor predictor, Predictor::fit(known, options));
  LatencyModel plain = LatencyModel::fit(pointers, tpot, {.corrects = false});
  f64 roofline_scale = median_ratio(scale);
  ProtocolRow out{.protocol = fold.protocol, .fold = fold.name};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const MeasuredCase& m = cases[i];
    if (fold.role[i] != 1 || m.tpot_ms <= 0 || m.ttft_ms <= 0) continue;
    Prediction p = predictor.predict(m.c);
    add_row(m, p, out.evaluation);
    out.roofline_tpot.push_back(std::abs(roofline_scale * m.c.nominal_ms / m.tpot_ms - 1));
    out.weights_tpot.push_back(std::abs(plain.predict(m.c) / m.tpot_ms - 1));
    out.device_seconds.push_back(std::abs(p.device_seconds / request_device_seconds(m) - 1));
  }
  add_token_units(cases, fold, out);
  return out;
}

void append(const std::vector<f64>& from, std::vector<f64>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

void append(const ErrorSums& from, ErrorSums& to) {
  append(from.tpot, to.tpot);
  append(from.ttft, to.ttft);
  append(from.request, to.request);
  to.tpot_below_p90 += from.tpot_below_p90;
  to.rows += from.rows;
  to.answered += from.answered;
}

void append(const ProtocolRow& from, ProtocolRow& to) {
  append(from.evaluation.overall, to.evaluation.overall);
  append(from.evaluation.aggregated, to.evaluation.aggregated);
  append(from.evaluation.without_drafts, to.evaluation.without_drafts);
  append(from.roofline_tpot, to.roofline_tpot);
  append(from.weights_tpot, to.weights_tpot);
  append(from.device_seconds, to.device_seconds);
  append(from.token_units, to.token_units);
}

// The shown rows are chosen by their settings alone, as a calibration would; rows of the same
// configurations are neither shown nor tested.
Fold few_shot_fold(std::span<const MeasuredCase> cases, const std::string& system,
                   const ProtocolOptions& options) {
  Fold fold{"few_shot", system, std::vector<u8>(cases.size(), 0)};
  std::vector<std::size_t> own;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].c.setting.system == system) own.push_back(i);
  }
  std::vector<const Case*> candidates;
  for (std::size_t i : own) candidates.push_back(&cases[i].c);
  std::set<std::string> shown;
  std::vector<u8> is_shown(own.size(), 0);
  for (std::size_t i : choose_calibration_cases(candidates, options.few_shot_rows)) {
    is_shown[i] = 1;
    shown.insert(group_key(*candidates[i]));
  }
  for (std::size_t i = 0; i < own.size(); ++i) {
    bool is_twin = is_shown[i] == 0 && shown.contains(group_key(*candidates[i]));
    fold.role[own[i]] = is_shown[i] != 0 ? 0 : (is_twin ? 2 : 1);
  }
  return fold;
}

std::vector<Fold> make_folds(std::span<const MeasuredCase> cases, const ProtocolOptions& options) {
  std::set<std::string> systems, models;
  for (const MeasuredCase& m : cases) {
    systems.insert(m.c.setting.system);
    models.insert(m.c.model_key);
  }
  std::vector<Fold> out;
  auto hold_out = [&](std::string protocol, std::string name, auto is_held) {
    Fold fold{std::move(protocol), std::move(name), std::vector<u8>(cases.size(), 0)};
    for (std::size_t i = 0; i < cases.size(); ++i) fold.role[i] = is_held(cases[i].c) ? 1 : 0;
    out.push_back(std::move(fold));
  };
  for (const std::string& system : systems)
    hold_out("device", system, [&](const Case& c) { return c.setting.system == system; });
  for (const std::string& model : models) {
    std::string name;
    for (const MeasuredCase& m : cases) {
      if (m.c.model_key == model && (name.empty() || m.c.setting.model < name))
        name = m.c.setting.model;
    }
    hold_out("model", name, [&](const Case& c) { return c.model_key == model; });
  }
  for (u64 fold = 0; fold < kConfigurationFolds; ++fold)
    hold_out(
        "configuration", fmt::format("{} of {}", fold + 1, kConfigurationFolds),
        [fold](const Case& c) { return text_hash(group_key(c)) % kConfigurationFolds == fold; });
  if (options.has_few_shot) {
    for (const std::string& system : systems) out.push_back(few_shot_fold(cases, system, options));
  }
  return out;
}

}  // namespace

Result<std::vector<ProtocolRow>> run_protocols(std::span<const MeasuredCase> cases,
                                               const ProtocolOptions& options) {
  std::vector<ProtocolRow> out;
  std::map<std::string, ProtocolRow> sums;
  for (const Fold& fold : make_folds(cases, options)) {
    TG_ASSIGN(ProtocolRow row, run_fold(cases, fold, options.predictor));
    ProtocolRow& sum = sums[fold.protocol];
    sum.protocol = fold.protocol;
    sum.fold = "all";
    append(row, sum);
    out.push_back(std::move(row));
  }
  for (const std::pair<const std::string, ProtocolRow>& sum : sums) out.push_back(sum.second);
  return out;
}

Result<IncumbentRow> compare_with_incumbent(const std::string& train,
                                            std::span<const MeasuredCase> cases,
                                            const PredictorOptions& options) {
  TG_ASSIGN(Table theirs, Table::read(train + "/e2e_silicon/incumbent_predictions.csv"));
  // An id may stand for several runs: the measured times tell which.
  std::map<std::string, std::size_t> rows;
  auto key = [](std::string_view id, f64 tpot) { return fmt::format("{}|{:.6f}", id, tpot); };
  for (std::size_t i = 0; i < theirs.row_count(); ++i) {
    TG_ASSIGN(f64 tpot, theirs.number(i, "silicon_tpot_ms"));
    rows.emplace(key(theirs.text(i, "id"), tpot), i);
  }
  IncumbentRow out;
  for (u64 part = 0; part < kConfigurationFolds; ++part) {
    std::vector<MeasuredCase> known;
    for (const MeasuredCase& m : cases) {
      if (text_hash(group_key(m.c)) % kConfigurationFolds != part) known.push_back(m);
    }
    TG_ASSIGN(Predictor predictor, Predictor::fit(known, options));
    for (const MeasuredCase& m : cases) {
      std::map<std::string, std::size_t>::const_iterator row =
          rows.find(key(m.c.setting.id, m.tpot_ms));
      if (text_hash(group_key(m.c)) % kConfigurationFolds != part || row == rows.end()) continue;
      TG_ASSIGN(f64 their_tpot, theirs.number(row->second, "aic_predicted_tpot_ms"));
      TG_ASSIGN(f64 their_ttft, theirs.number(row->second, "aic_predicted_ttft_ms"));
      Prediction ours = predictor.predict(m.c);
      f64 their_request = their_ttft + (m.c.setting.output - 1) * their_tpot;
      ++out.rows;
      out.ours_tpot.push_back(std::abs(ours.tpot_ms.p50 / m.tpot_ms - 1));
      out.theirs_tpot.push_back(std::abs(their_tpot / m.tpot_ms - 1));
      out.ours_ttft.push_back(std::abs(ours.ttft_ms.p50 / m.ttft_ms - 1));
      out.theirs_ttft.push_back(std::abs(their_ttft / m.ttft_ms - 1));
      out.ours_request.push_back(std::abs(ours.request_ms.p50 / m.request_ms() - 1));
      out.theirs_request.push_back(std::abs(their_request / m.request_ms() - 1));
    }
  }
  return out;
}

}  // namespace tg::predict
