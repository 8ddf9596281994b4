// A reader for the few shapes that spec files use: "section:" lines and "key: number # remark".
#include "predict/device_spec.h"

#include <fmt/format.h>

#include <array>

#include "env/disk.h"
#include "predict/table.h"

namespace tg::predict {

namespace {

struct SpecKey {
  std::string_view key;
  f64 DeviceSpec::*field;
};

constexpr std::array<SpecKey, 10> kKeys = {{{"mem_bw", &DeviceSpec::memory_bandwidth},
                                            {"mem_capacity", &DeviceSpec::memory_capacity},
                                            {"bfloat16_tc_flops", &DeviceSpec::bf16_flops},
                                            {"fp8_tc_flops", &DeviceSpec::fp8_flops},
                                            {"fp4_tc_flops", &DeviceSpec::fp4_flops},
                                            {"int8_tc_flops", &DeviceSpec::int8_flops},
                                            {"intra_node_bw", &DeviceSpec::near_bandwidth},
                                            {"inter_node_bw", &DeviceSpec::far_bandwidth},
                                            {"num_gpus_per_node", &DeviceSpec::near_devices},
                                            {"power", &DeviceSpec::power}}};

// Links of a rack count as near links where a spec has them.
constexpr std::string_view kRackKey = "num_gpus_per_rack";
constexpr std::string_view kGenerationKey = "sm_version";

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

struct SpecLine {
  std::string_view key;
  std::string_view value;
};

SpecLine split_line(std::string_view line) {
  line = trimmed(line.substr(0, line.find('#')));
  std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return {};
  return {trimmed(line.substr(0, colon)), trimmed(line.substr(colon + 1))};
}

class SpecReader {
 public:
  SpecReader(std::string_view file, DeviceSpec& out) : file_(file), out_(out) {}

  Status take(std::string_view text, i64 line) {
    SpecLine entry = split_line(text);
    if (entry.key.empty() || entry.value.empty()) return {};
    for (const SpecKey& known : kKeys) {
      if (entry.key == known.key) return set(entry, line, out_.*known.field);
    }
    if (entry.key == kRackKey) return set(entry, line, rack_devices_);
    if (entry.key == kGenerationKey) return set(entry, line, generation_);
    return {};
  }

  // What later keys and missing keys decide.
  Status finish() {
    if (rack_devices_ > 0) out_.near_devices = rack_devices_;
    out_.generation = static_cast<i64>(generation_);
    if (out_.memory_bandwidth <= 0) return missing("mem_bw");
    if (out_.bf16_flops <= 0) return missing("bfloat16_tc_flops");
    if (out_.fp8_flops <= 0) out_.fp8_flops = out_.bf16_flops;
    if (out_.fp4_flops <= 0) out_.fp4_flops = out_.fp8_flops;
    if (out_.int8_flops <= 0) out_.int8_flops = out_.bf16_flops;
    if (out_.near_devices < 1) out_.near_devices = 1;
    if (out_.far_bandwidth <= 0) out_.far_bandwidth = kUnstatedLink;
    if (out_.near_bandwidth <= 0) out_.near_bandwidth = out_.far_bandwidth;
    return {};
  }

 private:
  static constexpr f64 kUnstatedLink = 25e9;  // bytes/s, a common 200 Gbit/s port
  static constexpr f64 kValueMax = 1e21;

  Status set(const SpecLine& entry, i64 line, f64& field) {
    Result<f64> value = parse_number(entry.value);
    if (!value.ok() || *value < 0 || *value > kValueMax)
      return Error{Code::kInvalid, fmt::format("{}:{}: key '{}' is '{}', expected a number from 0",
                                               file_, line, entry.key, entry.value.substr(0, 40))};
    field = *value;
    return {};
  }

  Error missing(std::string_view key) const {
    return Error{Code::kInvalid, fmt::format("{}: key '{}' is absent or 0", file_, key)};
  }

  std::string_view file_;
  DeviceSpec& out_;
  f64 rack_devices_ = 0;
  f64 generation_ = 0;
};

}  // namespace

f64 DeviceSpec::flops(Math math) const {
  switch (math) {
    case Math::kBf16: return bf16_flops;
    case Math::kFp8: return fp8_flops;
    case Math::kFp4: return fp4_flops;
    case Math::kInt8: return int8_flops;
  }
  return bf16_flops;
}

Result<DeviceSpec> parse_device_spec(std::string_view text, std::string_view file,
                                     std::string name) {
  DeviceSpec spec;
  spec.name = std::move(name);
  SpecReader reader(file, spec);
  for (i64 line = 1; !text.empty(); ++line) {
    std::size_t end = text.find('\n');
    TG_TRY(reader.take(text.substr(0, end), line));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  TG_TRY(reader.finish());
  return spec;
}

Result<DeviceSpec> read_device_spec(const std::string& path, std::string name) {
  TG_ASSIGN(std::string text, read_file(path, kSpecBytesMax));
  return parse_device_spec(text, path, std::move(name));
}

}  // namespace tg::predict
