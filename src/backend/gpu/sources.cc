#include "backend/gpu/sources.h"

// TG_KERNELS is the folder; the build makes this file depend on what is in it.
#define TG_EMBED(symbol, file)                                             \
  asm(".pushsection .rodata\n" #symbol ":\n.incbin \"" TG_KERNELS "/" file \
      "\"\n.byte 0\n"                                                      \
      ".popsection\n");                                                    \
  extern "C" const char symbol[] __attribute__((visibility("hidden")));

TG_EMBED(tg_gpu_dialect, "dialect.cl")
TG_EMBED(tg_gpu_codecs, "codecs.cl")
TG_EMBED(tg_gpu_plain, "plain.cl")
TG_EMBED(tg_gpu_exact, "exact.cl")
TG_EMBED(tg_gpu_linear, "linear.cl")
TG_EMBED(tg_gpu_attention, "attention.cl")

namespace tg::backend::gpu {

std::string source_of(Unit unit) {
  std::string text = tg_gpu_dialect;
  switch (unit) {
    case Unit::kPlain: text.append(tg_gpu_codecs).append(tg_gpu_plain); break;
    case Unit::kExact: text.append(tg_gpu_exact); break;
    case Unit::kLinear: text.append(tg_gpu_codecs).append(tg_gpu_linear); break;
    case Unit::kCache:
    case Unit::kAttention: text.append(tg_gpu_attention); break;
  }
  return text;
}

}  // namespace tg::backend::gpu
