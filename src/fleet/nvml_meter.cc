// NVML is loaded when it is asked for: only machines with an NVIDIA driver have it.
#include <dlfcn.h>

#include <charconv>

#include "fleet/energy_meter.h"

namespace tg::fleet {
namespace {

// As nvml.h has them; 0 is success.
using Init = int (*)();
using Handle = int (*)(unsigned int index, void** device);
using Energy = int (*)(void* device, unsigned long long* millijoules);
using Shutdown = int (*)();

template <typename Function>
Function find(void* library, const char* name) {
  return reinterpret_cast<Function>(::dlsym(library, name));
}

Error failed(const char* what, int number) {
  return Error{Code::kIo, std::string("NVML: ") + what + " fails with " + std::to_string(number)};
}

class Nvml final : public EnergyMeter {
 public:
  explicit Nvml(void* library) : library_(library) {}
  ~Nvml() override {
    Shutdown shutdown = find<Shutdown>(library_, "nvmlShutdown");
    if (has_begun_ && shutdown != nullptr) shutdown();
    ::dlclose(library_);
  }
  Status begin(i64 number) {
    Init init = find<Init>(library_, "nvmlInit_v2");
    Handle handle = find<Handle>(library_, "nvmlDeviceGetHandleByIndex_v2");
    energy_ = find<Energy>(library_, "nvmlDeviceGetTotalEnergyConsumption");
    if (init == nullptr || handle == nullptr || energy_ == nullptr)
      return Error{Code::kIo, "NVML: too old to count energy"};
    int error = init();
    if (error != 0) return failed("nvmlInit", error);
    has_begun_ = true;
    error = handle(static_cast<unsigned int>(number), &device_);
    if (error != 0) return failed("nvmlDeviceGetHandleByIndex", error);
    TG_ASSIGN(first_, read());
    return {};
  }
  Result<f64> joules() override {
    TG_ASSIGN(unsigned long long now, read());
    constexpr f64 kMilli = 1e-3;
    return static_cast<f64>(now - first_) * kMilli;
  }
  std::string name() const override { return "nvml"; }

 private:
  Result<unsigned long long> read() {
    unsigned long long millijoules = 0;
    int error = energy_(device_, &millijoules);
    if (error != 0) return failed("nvmlDeviceGetTotalEnergyConsumption", error);
    return millijoules;
  }

  void* const library_;
  Energy energy_ = nullptr;
  void* device_ = nullptr;
  unsigned long long first_ = 0;
  bool has_begun_ = false;
};

}  // namespace

Result<std::unique_ptr<EnergyMeter>> open_nvml(i64 device, const std::string& library) {
  void* loaded = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) return Error{Code::kNotFound, library + " is not here"};
  std::unique_ptr<Nvml> meter = std::make_unique<Nvml>(loaded);
  TG_TRY(meter->begin(device));
  return std::unique_ptr<EnergyMeter>(std::move(meter));
}

std::optional<i64> nvml_device_of(std::string_view backend) {
  constexpr std::string_view kCuda = "cuda";
  if (!backend.starts_with(kCuda)) return std::nullopt;
  backend.remove_prefix(kCuda.size());
  if (backend.empty()) return 0;
  i64 number = 0;
  const char* end = backend.data() + backend.size();
  std::from_chars_result read = std::from_chars(backend.data() + 1, end, number);
  bool is_number = backend[0] == ':' && read.ec == std::errc() && read.ptr == end && number >= 0;
  return is_number ? std::optional<i64>(number) : std::nullopt;
}

}  // namespace tg::fleet
