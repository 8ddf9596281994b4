#include "backend/opencl/api.h"

#include <dlfcn.h>

namespace tg::backend::opencl {

Result<Api> load_api(const std::string& library) {
  const char* name = library.empty() ? "libOpenCL.so.1" : library.c_str();
  void* object = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) {
    return Error{Code::kNotFound,
                 std::string("no OpenCL loader: ") + dlerror() +
                     " (install ocl-icd-libopencl1 and a vendor's ICD, or set TG_OPENCL_LIBRARY)"};
  }
  Api api;
#define TG_OPENCL_LOAD(name)                                                             \
  api.name = reinterpret_cast<decltype(api.name)>(dlsym(object, "cl" #name));            \
  if (api.name == nullptr) {                                                             \
    return Error{Code::kUnsupported, "OpenCL library without cl" #name ", before 1.2?"}; \
  }
  TG_OPENCL_FUNCTIONS(TG_OPENCL_LOAD)
#undef TG_OPENCL_LOAD
  return api;
}

static const char* error_name(cl_int error) {
  switch (error) {
    case CL_DEVICE_NOT_FOUND: return "device not found";
    case CL_DEVICE_NOT_AVAILABLE: return "device not available";
    case CL_COMPILER_NOT_AVAILABLE: return "compiler not available";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE: return "memory object allocation failure";
    case CL_OUT_OF_RESOURCES: return "out of resources";
    case CL_OUT_OF_HOST_MEMORY: return "out of host memory";
    case CL_BUILD_PROGRAM_FAILURE: return "build failure";
    case CL_INVALID_VALUE: return "invalid value";
    case CL_INVALID_BUFFER_SIZE: return "invalid buffer size";
    case CL_INVALID_KERNEL_ARGS: return "invalid kernel arguments";
    case CL_INVALID_WORK_GROUP_SIZE: return "invalid work-group size";
    case CL_INVALID_BINARY: return "invalid binary";
    case -1001: return "no platform";
    default: return "error";
  }
}

Status check(cl_int error, const char* call) {
  if (error == CL_SUCCESS) return {};
  bool is_memory = error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_HOST_MEMORY ||
                   error == CL_INVALID_BUFFER_SIZE;
  return Error{is_memory ? Code::kUnavailable : Code::kIo,
               std::string(call) + ": " + error_name(error) + " (" + std::to_string(error) + ")"};
}

}  // namespace tg::backend::opencl
