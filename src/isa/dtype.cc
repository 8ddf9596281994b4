#include "isa/dtype.h"

#include <array>

#include "base/assert.h"

namespace tg::isa {

static constexpr std::array<DTypeInfo, static_cast<std::size_t>(DType::kCount)> kTypes = {{
#define TG_DTYPE_INFO(id, name, elements, bytes) {name, elements, bytes},
    TG_DTYPES(TG_DTYPE_INFO)
#undef TG_DTYPE_INFO
}};

const DTypeInfo& info(DType type) {
  TG_ASSERT(type < DType::kCount);
  return kTypes[static_cast<std::size_t>(type)];
}

std::optional<DType> dtype_by_name(std::string_view name) {
  for (std::size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

i64 row_bytes(DType type, i64 columns) {
  const DTypeInfo& t = info(type);
  TG_ASSERT(columns >= 0 && columns % t.block_elements == 0);
  return columns / t.block_elements * t.block_bytes;
}

}  // namespace tg::isa
