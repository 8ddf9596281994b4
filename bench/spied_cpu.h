// The CPU backend, telling where an executor has bound its memory: the same functions but for two,
// which no step calls.
#pragma once

#include "backend/abi.h"
#include "backend/cpu/backend.h"
#include "backend/device.h"
#include "bench/direct_llama.h"

namespace tg {

namespace spied {

inline BoundMemory* told = nullptr;

// All memory is the host's, so that it may be mapped.
inline tg_status mem_alloc(tg_dev device, uint64_t bytes, uint32_t, tg_buf* buf) {
  return backend::cpu::cpu_backend()->mem_alloc(device, bytes, TG_MEM_HOST, buf);
}

inline tg_status bind(tg_plan plan, const tg_bindings* b, tg_exec* exec) {
  const tg_backend& cpu = *backend::cpu::cpu_backend();
  void* weights = nullptr;
  void* kv = nullptr;
  cpu.mem_map(b->weights, &weights);
  cpu.mem_map(b->kv, &kv);
  told->weights = static_cast<const u8*>(weights);
  told->kv = static_cast<u8*>(kv);
  told->weight_places.assign(b->weight_places, b->weight_places + b->n_weights);
  told->kv_places.assign(b->kv_places, b->kv_places + b->n_kv);
  return cpu.bind(plan, b, exec);
}

}  // namespace spied

// `memory` is filled by the next bind and must live till then.
inline backend::Library spied_cpu(BoundMemory& memory) {
  static tg_backend table = *backend::cpu::cpu_backend();
  table.mem_alloc = spied::mem_alloc;
  table.bind = spied::bind;
  spied::told = &memory;
  return {.table = &table};
}

}  // namespace tg
