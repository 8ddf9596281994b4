#include "backend/executor.h"

#include "backend/bound_executor.h"

namespace tg::backend {

Result<std::unique_ptr<Executor>> make_executor(const std::string& name,
                                                const isa::VerifiedProgram& program,
                                                const isa::WeightTable& weights,
                                                const ExecutorLimits& limits) {
  TG_ASSIGN(Library library, load_library(name));
  return bind_executor({.library = library, .device = 0}, program, weights, limits);
}

}  // namespace tg::backend
