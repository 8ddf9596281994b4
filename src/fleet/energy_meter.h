// Joules that a device has drawn, where something measures them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::fleet {

class EnergyMeter {
 public:
  virtual ~EnergyMeter() = default;
  // Since it was opened; ascends.
  virtual Result<f64> joules() = 0;
  virtual std::string name() const = 0;
};

// The sum of the packages that Linux' powercap knows ("intel-rapl:N", AMD's too) under `folder`,
// /sys/class/powercap on a machine. kNotFound if there is none, kIo if it may not be read.
Result<std::unique_ptr<EnergyMeter>> open_rapl(const std::string& folder);

// A GPU by NVIDIA's management library, which comes with its driver: its own count since the driver
// was loaded (Volta and later). kNotFound if there is no such library, kIo if it does not say.
Result<std::unique_ptr<EnergyMeter>> open_nvml(i64 device,
                                               const std::string& library = "libnvidia-ml.so.1");
// The number that a backend's name has for it: 1 of "cuda:1", 0 of "cuda"; none of other backends.
std::optional<i64> nvml_device_of(std::string_view backend);

}  // namespace tg::fleet
