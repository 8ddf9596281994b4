// Any bytes as a data sheet or a configuration; what is accepted must be usable for a prediction.
#include <cmath>

#include "base/assert.h"
#include "predict/case.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)tg::predict::parse_device_spec(text, "fuzz", "fuzz");
  tg::Result<tg::predict::ModelShape> shape = tg::predict::parse_model_shape(text, "fuzz");
  if (!shape.ok()) return 0;
  tg::predict::DeviceSpec device = {.name = "d",
                                    .memory_bandwidth = 1e12,
                                    .memory_capacity = 1e11,
                                    .bf16_flops = 1e15,
                                    .fp8_flops = 1e15,
                                    .fp4_flops = 1e15,
                                    .int8_flops = 1e15,
                                    .near_bandwidth = 1e11,
                                    .far_bandwidth = 1e10};
  tg::predict::Setting setting;
  setting.prompt = 100;
  setting.output = 10;
  tg::predict::Case made = tg::predict::make_case(setting, *shape, device);
  for (tg::f64 term : made.basis.tpot) TG_ASSERT(std::isfinite(term) && term >= 0);
  return 0;
}
