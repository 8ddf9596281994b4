// What NVML would say of two devices, the second of which counts no energy. Not part of any library
// of ours, hence its ending.
namespace {
unsigned long long millijoules = 5'000;
int devices[2];
}  // namespace

extern "C" {
int nvmlInit_v2() {
  return 0;
}
int nvmlShutdown() {
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** device) {
  constexpr int kNotFound = 6;
  if (index > 1) return kNotFound;
  *device = &devices[index];
  return 0;
}
// 1.5 J more at each reading.
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* energy) {
  constexpr int kNotSupported = 3;
  if (device != &devices[0]) return kNotSupported;
  *energy = millijoules;
  millijoules += 1'500;
  return 0;
}
}
