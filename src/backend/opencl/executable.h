// A bound program on an OpenCL queue: a kernel object for every launch, its arguments set once.
#pragma once

#include <array>

#include "backend/gpu/resolve.h"
#include "backend/opencl/context.h"

namespace tg::backend::opencl {

struct ClMemory final : gpu::Memory {
  BufferHandle buffer;
};

class ClExecutable final : public gpu::Executable {
 public:
  // The context and the queue must outlive it.
  static Result<std::unique_ptr<gpu::Executable>> make(Context& context, cl_command_queue queue,
                                                       gpu::Bound bound);
  Status run(const gpu::RunRequest& request) override;

 private:
  ClExecutable(Context& context, cl_command_queue queue, gpu::Bound bound)
      : context_(context), queue_(queue), bound_(std::move(bound)) {}

  Result<BufferHandle> buffer(u64 bytes) const;
  Status make_kernels();
  Status set_arguments(cl_kernel kernel, const gpu::Launch& launch) const;
  cl_mem arena(gpu::ArgKind kind) const;
  Status warm_up();
  Status enqueue(std::size_t launch, const std::array<std::size_t, 3>& items);
  Status start(const gpu::RunRequest& request);
  Status launch(std::size_t i, const gpu::StepSizes& sizes);
  Status finish(const gpu::StepSizes& sizes);

  Context& context_;
  cl_command_queue queue_;
  gpu::Bound bound_;
  BufferHandle step_, params_, output_, tables_;
  std::vector<KernelHandle> kernels_;  // by launch
  std::vector<gpu::Range> ranges_;
};

}  // namespace tg::backend::opencl
