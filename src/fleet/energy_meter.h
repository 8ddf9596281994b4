// Joules that a device has drawn, where something measures them.
#pragma once

#include <memory>
#include <string>
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

}  // namespace tg::fleet
