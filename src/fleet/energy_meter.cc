#include "fleet/energy_meter.h"

#include <charconv>

#include "env/disk.h"

namespace tg::fleet {
namespace {

constexpr u64 kFileBytesMax = 4'096;
constexpr int kPackagesMax = 64;
constexpr f64 kMicro = 1e-6;

Result<u64> read_count(const std::string& path) {
  TG_ASSIGN(std::string text, read_file(path, kFileBytesMax));
  u64 value = 0;
  std::from_chars_result read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec == std::errc()) return value;
  return Error{Code::kIo, path + " holds no number"};
}

struct Package {
  std::string path;  // of its energy_uj
  u64 range_uj = 0;  // the counter starts again past it
  u64 last_uj = 0;
};

class Rapl final : public EnergyMeter {
 public:
  explicit Rapl(std::vector<Package> packages) : packages_(std::move(packages)) {}
  Result<f64> joules() override {
    for (Package& package : packages_) {
      TG_ASSIGN(u64 now, read_count(package.path));
      u64 passed =
          now >= package.last_uj ? now - package.last_uj : now + package.range_uj - package.last_uj;
      package.last_uj = now;
      joules_ += static_cast<f64>(passed) * kMicro;
    }
    return joules_;
  }
  std::string name() const override { return "rapl"; }

 private:
  std::vector<Package> packages_;
  f64 joules_ = 0;
};

}  // namespace

Result<std::unique_ptr<EnergyMeter>> open_rapl(const std::string& folder) {
  std::vector<Package> packages;
  for (int i = 0; i < kPackagesMax; ++i) {
    std::string path = folder + "/intel-rapl:" + std::to_string(i);
    Package package{.path = path + "/energy_uj"};
    Result<u64> now = read_count(package.path);
    if (!now.ok() && now.error().code == Code::kNotFound) break;
    if (!now.ok()) return now.error();
    package.last_uj = *now;
    TG_ASSIGN(package.range_uj, read_count(path + "/max_energy_range_uj"));
    packages.push_back(std::move(package));
  }
  if (packages.empty()) return Error{Code::kNotFound, folder + " has no energy counters"};
  return std::unique_ptr<EnergyMeter>(std::make_unique<Rapl>(std::move(packages)));
}

}  // namespace tg::fleet
