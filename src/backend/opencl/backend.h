// The OpenCL backend: devices of all platforms of the ICD loader, in its order, GPUs and
// accelerators first. TG_OPENCL_LIBRARY names another loader or a vendor's library.
#pragma once

#include "backend/gpu/port.h"
#include "backend/opencl/api.h"
#include "backend/opencl/extensions.h"

namespace tg::backend::opencl {

// What the module exports.
const tg_backend* opencl_backend();

// A port over `api`, which must outlive it; `cache`: a folder for binaries, or empty.
std::unique_ptr<gpu::Port> make_port(const Api& api, std::string cache,
                                     ExtensionUse use = ExtensionUse::kDevice);

}  // namespace tg::backend::opencl
