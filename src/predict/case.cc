// Features are logarithms and shares: residuals of a roofline vary smoothly with those.
#include "predict/case.h"

#include <algorithm>
#include <cmath>

namespace tg::predict {

namespace {

std::string_view digits_of(std::string_view text) {
  return text.substr(0, std::min(text.size(), text.find_first_not_of("0123456789")));
}

// The number behind `word`, -1 if it does not occur.
f64 number_behind(std::string_view text, std::string_view word) {
  std::size_t at = text.find(word);
  if (at == std::string_view::npos) return -1;
  Result<f64> value = parse_number(digits_of(text.substr(at + word.size())));
  return value.ok() ? *value : 0;
}

f64 math_code(const WeightFormat& format) {
  return static_cast<f64>(format.dense_math) + 4 * static_cast<f64>(format.expert_math);
}

void fill_portable(const Setting& s, const Basis& b, f64 math, std::array<f64, kFeatures>& out) {
  std::size_t at = 0;
  for (f64 value :
       {std::log(s.concurrency), std::log(b.batch), std::log(s.decode.devices),
        std::log(s.decode.data_parallel), s.decode.splits_experts ? 1.0 : 0.0, std::log(s.prompt),
        std::log(s.output), b.shares[0], b.shares[1], b.shares[2], b.shares[3], b.shares[4],
        b.shares[5], std::log(b.decode_total), b.is_pool ? 1.0 : 0.0, b.is_draft_likely ? 1.0 : 0.0,
        b.overflow, math, std::log(s.decode_instances)}) {
    out[at++] = value;
  }
}

void fill_rest(const Setting& s, const ModelShape& model, const DeviceSpec& device,
               std::array<f64, kFeatures>& out) {
  std::size_t at = kPortableFeatures;
  constexpr f64 kUnstatedMonth = -9;
  for (f64 value :
       {s.month > 0 ? s.month : kUnstatedMonth, static_cast<f64>(s.campaign),
        version_number(s.version), std::log(model.active_parameters()),
        std::log(model.parameters()), model.is_latent ? 1.0 : 0.0,
        std::log(device.memory_bandwidth), static_cast<f64>(device.generation), s.prefill.devices,
        std::log(s.prefill_instances), std::log(s.prefill.data_parallel),
        std::log(device.near_bandwidth), s.states_instances ? 1.0 : 0.0}) {
    out[at++] = value;
  }
}

}  // namespace

f64 version_number(std::string_view version) {
  std::array<f64, 3> parts = {0, 0, 0};
  std::string_view rest = version;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::string_view digits = digits_of(rest);
    Result<f64> value = parse_number(digits);
    if (!value.ok()) return -1;
    parts[i] = *value;
    rest.remove_prefix(digits.size());
    if (i + 1 < parts.size()) {
      if (rest.empty() || rest[0] != '.') return -1;
      rest.remove_prefix(1);
    }
  }
  f64 candidate = number_behind(rest, "rc"), post = number_behind(rest, "post");
  constexpr f64 kFinal = 50;  // behind every release candidate
  return parts[0] * 1e4 + parts[1] * 100 + parts[2] + (candidate >= 0 ? candidate : kFinal) * 0.01 +
         std::max(post, 0.0) * 0.001;
}

Case make_case(const Setting& setting, const ModelShape& model, const DeviceSpec& device) {
  Case out;
  out.setting = setting;
  out.model_key = model.key();
  out.basis = make_basis(setting, model, device);
  fill_portable(setting, out.basis, math_code(weight_format(setting, model)), out.features);
  fill_rest(setting, model, device, out.features);
  for (std::size_t i = 0; i < kTpotTerms; ++i) {
    bool is_physics = i <= kAttention || i == kLinkBytes || i == kExpertExchange ||
                      (i >= kPromptGemm && i <= kPromptLink);
    if (is_physics) out.nominal_ms += out.basis.tpot[i] * 1e3;
  }
  out.devices = setting.decode.devices * setting.decode_instances;
  if (setting.is_split) out.devices += setting.prefill.devices * setting.prefill_instances;
  return out;
}

Result<Case> make_case(const Setting& setting, Catalog& catalog) {
  TG_ASSIGN(const DeviceSpec* device, catalog.device(setting.system));
  TG_ASSIGN(const ModelEntry* model, catalog.model(setting.model));
  return make_case(setting, model->shape, *device);
}

}  // namespace tg::predict
