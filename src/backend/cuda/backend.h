// The CUDA backend: devices of compute capability 8.0 and above, through NVIDIA's driver alone.
#pragma once

#include "backend/cuda/device.h"

namespace tg::backend::cuda {

// What the module exports.
const tg_backend* cuda_backend();

// A port over `api`, which must outlive it.
std::unique_ptr<gpu::Port> make_port(const Api& api, FindImage find);

}  // namespace tg::backend::cuda
