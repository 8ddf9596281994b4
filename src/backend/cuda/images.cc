#include "backend/cuda/images.h"

#include <string>

// TG_CUDA_IMAGES is the folder nvcc wrote to; undefined in a build without the toolkit.
#ifdef TG_CUDA_IMAGES
#define TG_IMAGES(X) \
  X(plain)           \
  X(exact)           \
  X(cache)           \
  X(attention_64)    \
  X(attention_128)   \
  X(attention_256)   \
  X(attention_576)   \
  X(attention_1024)  \
  X(linear)          \
  X(linear_codes)    \
  X(linear_9)        \
  X(linear_14)       \
  X(linear_18)       \
  X(linear_21)       \
  X(linear_23)       \
  X(linear_29)       \
  X(linear_30)
#define TG_EMBED(name)                                                                            \
  asm(".pushsection .rodata\n.balign 16\ntg_cuda_" #name ":\n.incbin \"" TG_CUDA_IMAGES "/" #name \
      ".fatbin\"\n.popsection\n");                                                                \
  extern "C" const char tg_cuda_##name[] __attribute__((visibility("hidden")));
TG_IMAGES(TG_EMBED)
#undef TG_EMBED
#else
#define TG_IMAGES(X)
#endif

namespace tg::backend::cuda {

namespace {

// kernels/linear_mma.cu, attention_mma.cu
constexpr i64 kMmaThreads = 128, kMmaColumns = 128, kMmaRows = 64;

Image named(std::string_view name) {
#define TG_FIND(image) \
  if (name == #image) return {.name = #image, .fatbin = tg_cuda_##image};
  TG_IMAGES(TG_FIND)
#undef TG_FIND
  return {.name = name.empty() ? "" : "none"};
}

}  // namespace

Image image_of(const gpu::Variant& variant) {
  switch (variant.unit) {
    case gpu::Unit::kPlain: return named("plain");
    case gpu::Unit::kExact: return named("exact");
    case gpu::Unit::kCache: return named("cache");
    case gpu::Unit::kAttention: return named("attention_" + std::to_string(variant.head));
    case gpu::Unit::kLinear: break;
  }
  if (variant.int_codes) return named("linear_codes");
  Image own = named("linear_" + std::to_string(variant.codec));
  own.is_mma = own.fatbin != nullptr;
  return own.fatbin ? own : named("linear");
}

bool has_images() {
  return named("plain").fatbin != nullptr;
}

Geometry geometry_of(const gpu::Launch& launch, const Image& image) {
  if (launch.kernel == gpu::Kernel::kAttentionTile) return {.threads = kMmaThreads};
  if (launch.kernel != gpu::Kernel::kLinearTile || !image.is_mma) return {};
  return {.threads = kMmaThreads, .each = {kMmaColumns, kMmaRows}};
}

}  // namespace tg::backend::cuda
