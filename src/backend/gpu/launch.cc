#include "backend/gpu/launch.h"

#include "base/assert.h"

namespace tg::backend::gpu {

const char* name(Kernel kernel) {
  switch (kernel) {
#define TG_GPU_KERNEL_NAME(id, text, unit) \
  case Kernel::id: return text;
    TG_GPU_KERNELS(TG_GPU_KERNEL_NAME)
#undef TG_GPU_KERNEL_NAME
    case Kernel::kCount: break;
  }
  TG_ASSERT(false);
}

Unit unit(Kernel kernel) {
  switch (kernel) {
#define TG_GPU_KERNEL_UNIT(id, text, unit) \
  case Kernel::id: return Unit::unit;
    TG_GPU_KERNELS(TG_GPU_KERNEL_UNIT)
#undef TG_GPU_KERNEL_UNIT
    case Kernel::kCount: break;
  }
  TG_ASSERT(false);
}

std::string definitions(const Variant& v) {
  switch (v.unit) {
    case Unit::kPlain:
    case Unit::kExact: return "";
    case Unit::kLinear:
      return "-DCODEC=" + std::to_string(v.codec) + (v.int_codes ? " -DINT_CODES" : "");
    case Unit::kCache: return "-DKV_FORMAT=" + std::to_string(v.format);
    case Unit::kAttention:
      return "-DKV_FORMAT=" + std::to_string(v.format) + " -DHEAD_MAX=" + std::to_string(v.head);
  }
  TG_ASSERT(false);
}

}  // namespace tg::backend::gpu
