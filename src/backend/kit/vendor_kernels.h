/* The one thing a port of the skeleton changes first: which kernel runs an op. */
#ifndef TG_KIT_VENDOR_KERNELS_H
#define TG_KIT_VENDOR_KERNELS_H

#include "backend/kit/reference_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Yours for this opcode, or NULL to keep the reference's. */
tgk_kernel vendor_kernel(uint32_t opcode);

#ifdef __cplusplus
}
#endif

#endif
