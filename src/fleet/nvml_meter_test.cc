#include <gtest/gtest.h>

#include "fleet/energy_meter.h"

namespace tg::fleet {
namespace {

TEST(NvmlMeter, CountsFromWhereItWasOpened) {
  Result<std::unique_ptr<EnergyMeter>> meter = open_nvml(0, FAKE_NVML);
  ASSERT_TRUE(meter.ok()) << meter.error().message;
  EXPECT_EQ((*meter)->name(), "nvml");
  EXPECT_NEAR((*meter)->joules().value(), 1.5, 1e-9);
  EXPECT_NEAR((*meter)->joules().value(), 3, 1e-9);
}

TEST(NvmlMeter, SaysWhatIsMissing) {
  EXPECT_EQ(open_nvml(0, "libno-such-thing.so.1").error().code, Code::kNotFound);
  EXPECT_NE(open_nvml(1, FAKE_NVML).error().message.find("fails with 3"), std::string::npos);
  EXPECT_NE(open_nvml(2, FAKE_NVML).error().message.find("ByIndex fails with 6"),
            std::string::npos);
}

TEST(NvmlMeter, DevicesOfBackends) {
  EXPECT_EQ(nvml_device_of("cuda"), 0);
  EXPECT_EQ(nvml_device_of("cuda:3"), 3);
  for (const char* other : {"cpu", "opencl", "cuda:", "cuda3", "cuda:x", "/lib/cuda.so"})
    EXPECT_EQ(nvml_device_of(other), std::nullopt) << other;
}

}  // namespace
}  // namespace tg::fleet
