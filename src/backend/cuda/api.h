// The functions of NVIDIA's driver that this backend calls, as a table: filled from libcuda.so.1
// when devices are first asked for, so that neither the binary nor the module needs a driver to
// start; or by a test. The declarations are our own, of what the driver's ABI fixes (api_check.cc
// holds them against cuda.h where a toolkit is installed).
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::backend::cuda {

using DeviceId = int;
using Address = unsigned long long;  // CUdeviceptr
using ContextRef = struct CUctx_st*;
using StreamRef = struct CUstream_st*;
using ModuleRef = struct CUmod_st*;
using FunctionRef = struct CUfunc_st*;
using GraphRef = struct CUgraph_st*;
using GraphExecRef = struct CUgraphExec_st*;

enum : int {
  kSuccess = 0,
  kOutOfMemory = 2,
  kAttributeMultiprocessors = 16,
  kAttributeMajor = 75,
  kAttributeMinor = 76,
  kStreamNonBlocking = 1,
  kCaptureThreadLocal = 1,
};

// member, symbol, parameters
#define TG_CUDA_FUNCTIONS(X)                                                                       \
  X(Init, "cuInit", (unsigned))                                                                    \
  X(DeviceGetCount, "cuDeviceGetCount", (int*))                                                    \
  X(DeviceGet, "cuDeviceGet", (DeviceId*, int))                                                    \
  X(DeviceGetName, "cuDeviceGetName", (char*, int, DeviceId))                                      \
  X(DeviceGetAttribute, "cuDeviceGetAttribute", (int*, int, DeviceId))                             \
  X(DeviceTotalMem, "cuDeviceTotalMem_v2", (size_t*, DeviceId))                                    \
  X(ContextRetain, "cuDevicePrimaryCtxRetain", (ContextRef*, DeviceId))                            \
  X(ContextRelease, "cuDevicePrimaryCtxRelease_v2", (DeviceId))                                    \
  X(ContextSet, "cuCtxSetCurrent", (ContextRef))                                                   \
  X(MemAlloc, "cuMemAlloc_v2", (Address*, size_t))                                                 \
  X(MemFree, "cuMemFree_v2", (Address))                                                            \
  X(HostAlloc, "cuMemHostAlloc", (void**, size_t, unsigned))                                       \
  X(HostFree, "cuMemFreeHost", (void*))                                                            \
  X(MemsetAsync, "cuMemsetD8Async", (Address, unsigned char, size_t, StreamRef))                   \
  X(CopyIn, "cuMemcpyHtoDAsync_v2", (Address, const void*, size_t, StreamRef))                     \
  X(CopyOut, "cuMemcpyDtoHAsync_v2", (void*, Address, size_t, StreamRef))                          \
  X(CopyWithin, "cuMemcpyDtoDAsync_v2", (Address, Address, size_t, StreamRef))                     \
  X(StreamCreate, "cuStreamCreate", (StreamRef*, unsigned))                                        \
  X(StreamDestroy, "cuStreamDestroy_v2", (StreamRef))                                              \
  X(StreamSynchronize, "cuStreamSynchronize", (StreamRef))                                         \
  X(ModuleLoad, "cuModuleLoadData", (ModuleRef*, const void*))                                     \
  X(ModuleUnload, "cuModuleUnload", (ModuleRef))                                                   \
  X(ModuleGetFunction, "cuModuleGetFunction", (FunctionRef*, ModuleRef, const char*))              \
  X(Launch, "cuLaunchKernel",                                                                      \
    (FunctionRef, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, StreamRef, \
     void**, void**))                                                                              \
  X(CaptureBegin, "cuStreamBeginCapture_v2", (StreamRef, int))                                     \
  X(CaptureEnd, "cuStreamEndCapture", (StreamRef, GraphRef*))                                      \
  X(GraphInstantiate, "cuGraphInstantiateWithFlags",                                               \
    (GraphExecRef*, GraphRef, unsigned long long))                                                 \
  X(GraphLaunch, "cuGraphLaunch", (GraphExecRef, StreamRef))                                       \
  X(GraphExecDestroy, "cuGraphExecDestroy", (GraphExecRef))                                        \
  X(GraphDestroy, "cuGraphDestroy", (GraphRef))                                                    \
  X(GetErrorName, "cuGetErrorName", (int, const char**))

struct Api {
#define TG_CUDA_MEMBER(name, symbol, parameters) int(*name) parameters = nullptr;
  TG_CUDA_FUNCTIONS(TG_CUDA_MEMBER)
#undef TG_CUDA_MEMBER
};

// From libcuda.so.1, initialised. The object stays loaded.
Result<Api> load_api();

// kIo with the call and the error's name, kUnavailable if memory is short.
Status check(const Api& api, int error, const char* call);

}  // namespace tg::backend::cuda
