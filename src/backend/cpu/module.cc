// The CPU backend as a shared object: the door every vendor's backend has.
#include "backend/abi.h"
#include "backend/cpu/backend.h"

const tg_backend* tg_backend_get(uint32_t host_abi_major, uint32_t) {
  return host_abi_major == TG_ABI_MAJOR ? tg::backend::cpu::cpu_backend() : nullptr;
}
