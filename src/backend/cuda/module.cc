// The CUDA backend as a shared object.
#include "backend/cuda/backend.h"

const tg_backend* tg_backend_get(uint32_t host_abi_major, uint32_t) {
  return host_abi_major == TG_ABI_MAJOR ? tg::backend::cuda::cuda_backend() : nullptr;
}
