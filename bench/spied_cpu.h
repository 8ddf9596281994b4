// The CPU backend, telling what an executor has planned and where it has bound its memory: the same
// functions but for three, which no step calls.
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

// The backend's own plan is out of sight; this one is made of the same and equals it.
inline tg_status plan(tg_dev device, const tg_host* host, void* handle, const tg_planopts* options,
                      tg_plan* out) {
  uint64_t bytes = 0;
  const u8* program = host->program(handle, &bytes);
  backend::cpu::PlanLimits limits{.tokens = options->max_tokens,
                                  .sequences = options->max_sequences,
                                  .rows = options->max_rows,
                                  .context = options->max_context,
                                  .threads = static_cast<i32>(options->threads)};
  Result<backend::cpu::Plan> made =
      backend::cpu::make_plan({program, bytes}, options->function, limits);
  if (made) told->plan = std::move(made).value();
  return backend::cpu::cpu_backend()->plan(device, host, handle, options, out);
}

inline u8* mapped(tg_buf buf) {
  void* host = nullptr;
  backend::cpu::cpu_backend()->mem_map(buf, &host);
  return static_cast<u8*>(host);
}

inline tg_status bind(tg_plan plan, const tg_bindings* b, tg_exec* exec) {
  told->weights = mapped(b->weights);
  told->kv = mapped(b->kv);
  told->activations = mapped(b->activations);
  told->workspace = mapped(b->workspace);
  told->output = mapped(b->output);
  told->weight_places.assign(b->weight_places, b->weight_places + b->n_weights);
  told->kv_places.assign(b->kv_places, b->kv_places + b->n_kv);
  return backend::cpu::cpu_backend()->bind(plan, b, exec);
}

}  // namespace spied

// `memory` is filled by the next plan and bind, with one thread or more asked for by number,
// and must live till then.
inline backend::Library spied_cpu(BoundMemory& memory) {
  static tg_backend table = *backend::cpu::cpu_backend();
  table.mem_alloc = spied::mem_alloc;
  table.plan = spied::plan;
  table.bind = spied::bind;
  spied::told = &memory;
  return {.table = &table};
}

}  // namespace tg
