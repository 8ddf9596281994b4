// A kernel as a value: the one function behind it takes its arguments as bytes, so that a list of
// calls of all kinds runs with one jump each and the compiler still knows which arguments go where.
#pragma once

#include "base/types.h"

namespace tg::backend::cpu {

template <typename Args>
struct Kernel {
  // Reads the Args there and does share `part` of `parts`; null: no such kernel.
  void (*task)(const void* args, i32 part, i32 parts) = nullptr;

  // Inlined wherever it stands: of a copy in a file for one kind of CPU others could be given.
  [[gnu::always_inline]] void operator()(const Args& args, i32 part, i32 parts) const {
    task(&args, part, parts);
  }
};

// Of a void(const Args&, i32 part, i32 parts).
template <auto kFunction>
inline constexpr auto kernel = []<typename Args>(void (*)(const Args&, i32, i32)) {
  return Kernel<Args>{[](const void* args, i32 part, i32 parts) {
    kFunction(*static_cast<const Args*>(args), part, parts);
  }};
}(kFunction);

}  // namespace tg::backend::cpu
