#include "sim/device.h"

#include "sim/engine_device.h"
#include "sim/fcfs_device.h"

namespace tg::sim {

std::unique_ptr<Device> make_device(EngineKind kind, const DeviceModel& model, u64 seed) {
  if (kind == EngineKind::kQuick) return std::make_unique<FcfsDevice>(model, seed);
  return std::make_unique<EngineDevice>(model, seed);
}

}  // namespace tg::sim
