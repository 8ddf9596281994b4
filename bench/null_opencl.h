// An OpenCL driver whose every call succeeds at once and does nothing, under the OpenCL backend:
// what a step takes then is the host's and the backend's own work.
#pragma once

#include <cstring>

#include "backend/gpu/table.h"
#include "backend/opencl/backend.h"

namespace tg {

inline backend::opencl::Api null_opencl_api() {
  backend::opencl::Api api;
  // Handles are never looked into: any address will do.
  static char thing;
  constexpr auto kOk = [](auto...) -> cl_int { return CL_SUCCESS; };
  api.GetPlatformIDs = [](cl_uint, cl_platform_id* ids, cl_uint* n) -> cl_int {
    ids[0] = reinterpret_cast<cl_platform_id>(&thing);
    return *n = 1, CL_SUCCESS;
  };
  api.GetPlatformInfo = kOk;
  api.GetDeviceIDs = [](cl_platform_id, cl_device_type, cl_uint, cl_device_id* ids,
                        cl_uint* n) -> cl_int {
    ids[0] = reinterpret_cast<cl_device_id>(&thing);
    return *n = 1, CL_SUCCESS;
  };
  api.GetDeviceInfo = [](cl_device_id, cl_device_info, size_t bytes, void* value,
                         size_t*) -> cl_int {
    std::memset(value, bytes > 8 ? 0 : 0x7F, bytes);
    return CL_SUCCESS;
  };
  api.CreateContext = [](auto...) { return reinterpret_cast<cl_context>(&thing); };
  api.ReleaseContext = kOk;
  api.CreateCommandQueue = [](auto...) { return reinterpret_cast<cl_command_queue>(&thing); };
  api.ReleaseCommandQueue = kOk;
  api.CreateBuffer = [](auto...) { return reinterpret_cast<cl_mem>(&thing); };
  api.ReleaseMemObject = kOk;
  api.CreateProgramWithSource = [](auto...) { return reinterpret_cast<cl_program>(&thing); };
  api.CreateProgramWithBinary = [](auto...) { return reinterpret_cast<cl_program>(&thing); };
  api.BuildProgram = kOk;
  api.GetProgramInfo = kOk;
  api.GetProgramBuildInfo = kOk;
  api.ReleaseProgram = kOk;
  api.CreateKernel = [](auto...) { return reinterpret_cast<cl_kernel>(&thing); };
  api.ReleaseKernel = kOk;
  api.SetKernelArg = kOk;
  api.EnqueueNDRangeKernel = kOk;
  api.EnqueueWriteBuffer = kOk;
  api.EnqueueReadBuffer = kOk;
  api.EnqueueCopyBuffer = kOk;
  api.EnqueueFillBuffer = kOk;
  api.Flush = kOk;
  api.Finish = kOk;
  return api;
}

inline backend::gpu::Port& null_opencl_port() {
  static const backend::opencl::Api api = null_opencl_api();
  static std::unique_ptr<backend::gpu::Port> port = backend::opencl::make_port(api, "");
  return *port;
}

inline const tg_backend* null_opencl_backend() {
  static const tg_backend table = backend::gpu::make_table<null_opencl_port>("null opencl");
  return &table;
}

}  // namespace tg
