// Places are logarithms: residuals of a roofline vary smoothly with those.
#include "predict/case.h"

#include <algorithm>
#include <cmath>

namespace tg::predict {

Case make_case(const Setting& setting, const ModelShape& model, const DeviceSpec& device) {
  Case out;
  out.setting = setting;
  out.model_key = model.key();
  out.basis = make_basis(setting, model, device);
  out.situation = {std::log(setting.concurrency),
                   std::log(out.basis.batch),
                   std::log(setting.decode.devices),
                   std::log(setting.decode.data_parallel),
                   setting.decode.splits_experts ? 1.0 : 0.0,
                   std::log(setting.prompt),
                   std::log(setting.output)};
  out.log_bandwidth = std::log(device.memory_bandwidth);
  out.generation = device.generation;
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
