// How an Exec spreads one op over its pool.
#pragma once

#include "backend/cpu/exec.h"

namespace tg::backend::cpu {

// Element operations below which a region costs more to fork than it saves.
inline constexpr i64 kForkWork = 131'072;

template <typename Body>
void Exec::fork(i64 work, const Body& body) {
  pool_.run(body, work < kForkWork ? 1 : pool_.threads());
}

template <typename Args>
void Exec::call(void (*kernel)(const Args&, i32, i32), const Args& args, i64 work) {
  fork(work, [kernel, &args](i32 part, i32 parts) { kernel(args, part, parts); });
}

}  // namespace tg::backend::cpu
