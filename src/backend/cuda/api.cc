#include "backend/cuda/api.h"

#include <dlfcn.h>

namespace tg::backend::cuda {

Result<Api> load_api() {
  void* object = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) {
    return Error{Code::kNotFound, std::string("no NVIDIA driver: ") + dlerror()};
  }
  Api api;
#define TG_CUDA_LOAD(name, symbol, parameters)                                     \
  api.name = reinterpret_cast<decltype(api.name)>(dlsym(object, symbol));          \
  if (api.name == nullptr) {                                                       \
    return Error{Code::kUnsupported, "NVIDIA driver without " symbol ": too old"}; \
  }
  TG_CUDA_FUNCTIONS(TG_CUDA_LOAD)
#undef TG_CUDA_LOAD
  TG_TRY(check(api, api.Init(0), "cuInit"));
  return api;
}

Status check(const Api& api, int error, const char* call) {
  if (error == kSuccess) return {};
  const char* name = nullptr;
  api.GetErrorName(error, &name);
  return Error{
      error == kOutOfMemory ? Code::kUnavailable : Code::kIo,
      std::string(call) + ": " + (name ? name : "error") + " (" + std::to_string(error) + ")"};
}

}  // namespace tg::backend::cuda
