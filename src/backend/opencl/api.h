// The OpenCL 1.2 functions this backend calls, as a table: filled from an ICD that is loaded when
// it is first asked for, so that neither the binary nor the module needs one to start; or by a
// test.
#pragma once

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::backend::opencl {

#define TG_OPENCL_FUNCTIONS(X) \
  X(GetPlatformIDs)            \
  X(GetPlatformInfo)           \
  X(GetDeviceIDs)              \
  X(GetDeviceInfo)             \
  X(CreateContext)             \
  X(ReleaseContext)            \
  X(CreateCommandQueue)        \
  X(ReleaseCommandQueue)       \
  X(CreateBuffer)              \
  X(ReleaseMemObject)          \
  X(CreateProgramWithSource)   \
  X(CreateProgramWithBinary)   \
  X(BuildProgram)              \
  X(GetProgramInfo)            \
  X(GetProgramBuildInfo)       \
  X(ReleaseProgram)            \
  X(CreateKernel)              \
  X(ReleaseKernel)             \
  X(SetKernelArg)              \
  X(EnqueueNDRangeKernel)      \
  X(EnqueueWriteBuffer)        \
  X(EnqueueReadBuffer)         \
  X(EnqueueCopyBuffer)         \
  X(EnqueueFillBuffer)         \
  X(Flush)                     \
  X(Finish)

struct Api {
#define TG_OPENCL_MEMBER(name) decltype(&cl##name) name = nullptr;
  TG_OPENCL_FUNCTIONS(TG_OPENCL_MEMBER)
#undef TG_OPENCL_MEMBER
};

// From `library`, or if that is empty from libOpenCL.so.1 (the ICD loader). The object stays
// loaded.
Result<Api> load_api(const std::string& library);

// kIo with the call and the error's name; ok for CL_SUCCESS. What says that memory is short is
// kUnavailable.
Status check(cl_int error, const char* call);

}  // namespace tg::backend::opencl
