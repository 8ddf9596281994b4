#include "backend/executor.h"

#include <charconv>

#include "backend/bound_executor.h"

namespace tg::backend {

Result<std::unique_ptr<Executor>> make_executor(const std::string& name,
                                                const isa::VerifiedProgram& program,
                                                const isa::WeightTable& weights,
                                                const ExecutorLimits& limits,
                                                const PackedFile& packed) {
  std::size_t colon = name.rfind(':');
  u32 device = 0;
  if (colon != std::string::npos) {
    const char* end = name.data() + name.size();
    std::from_chars_result number = std::from_chars(name.data() + colon + 1, end, device);
    // A path may have colons of its own.
    if (number.ec != std::errc{} || number.ptr != end) colon = std::string::npos;
  }
  TG_ASSIGN(Library library, load_library(name.substr(0, colon)));
  return bind_executor({.library = library, .device = device}, program, weights, limits, packed);
}

}  // namespace tg::backend
