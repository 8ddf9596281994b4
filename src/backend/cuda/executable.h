// A bound program on a CUDA stream. Arguments are built once. A step of few tokens replays a graph
// that was captured at bind: buckets of T, each with the sizes of its bound as launch sizes, while
// kernels read the step's own from device memory. Larger steps launch kernel by kernel.
#pragma once

#include <vector>

#include "backend/cuda/device.h"
#include "backend/gpu/resolve.h"

namespace tg::backend::cuda {

// Steps of up to so many tokens are replayed from graphs.
inline constexpr i64 kGraphTokensMax = 256;

class CudaExecutable final : public gpu::Executable {
 public:
  static Result<std::unique_ptr<gpu::Executable>> make(CudaOpened& device, gpu::Bound bound);
  ~CudaExecutable() override;
  Status run(const gpu::RunRequest& request) override;

 private:
  // An argument list as cuLaunchKernel wants it: pointers to the values.
  struct Call {
    FunctionRef function = nullptr;
    Geometry geometry;
    std::vector<u64> values;
    std::vector<void*> pointers;
  };
  struct Bucket {
    i64 tokens = 0, context = 0;  // bounds
    GraphRef graph = nullptr;
    GraphExecRef exec = nullptr;
  };

  CudaExecutable(CudaOpened& device, gpu::Bound bound)
      : device_(device), bound_(std::move(bound)) {}
  Status make_calls();
  Status make_buckets();
  Status capture(Bucket& bucket);
  Address arena(gpu::ArgKind kind) const;
  void add_argument(const gpu::Arg& arg, Call& call) const;
  Status start(const gpu::RunRequest& request);
  Status launch(std::size_t i, const gpu::StepSizes& sizes);
  Status launch_all(const gpu::StepSizes& sizes, u32 first, u32 end);
  Status finish(const gpu::StepSizes& sizes);
  Bucket* bucket_for(const gpu::StepSizes& sizes);

  CudaOpened& device_;
  gpu::Bound bound_;
  CudaBuffer step_, params_, output_, tables_;
  std::unique_ptr<gpu::HostMemory> steps_;  // a ring: what is being copied must not change
  u32 next_step_ = 0;
  std::vector<Call> calls_;  // by launch
  std::vector<Bucket> buckets_;
  i64 fresh_max_ = 0;  // new tokens of a sequence up to which steps are launched as graphs are
  std::vector<gpu::Range> ranges_;
};

}  // namespace tg::backend::cuda
