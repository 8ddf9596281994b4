// One table; every translation goes through it.
#include "model/safetensors/format.h"

#include <array>

#include "base/assert.h"

namespace tg::safetensors {
namespace {

struct DTypeInfo {
  std::string_view name;
  u64 bytes;
};

constexpr std::array<DTypeInfo, static_cast<std::size_t>(DType::kCount)> kTypes = {{
#define TG_SAFETENSORS_INFO(id, name, bytes) {name, bytes},
    TG_SAFETENSORS_DTYPES(TG_SAFETENSORS_INFO)
#undef TG_SAFETENSORS_INFO
}};

const DTypeInfo& info(DType type) {
  TG_ASSERT(type < DType::kCount);
  return kTypes[static_cast<std::size_t>(type)];
}

}  // namespace

std::string_view name(DType type) {
  return info(type).name;
}

u64 element_bytes(DType type) {
  return info(type).bytes;
}

std::optional<DType> dtype_by_name(std::string_view name) {
  for (std::size_t i = 0; i < kTypes.size(); ++i)
    if (kTypes[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

}  // namespace tg::safetensors
