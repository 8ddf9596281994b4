// A CUDA driver whose every call succeeds at once and does nothing, under the CUDA backend: what a
// step takes then is the host's and the backend's own work.
#pragma once

#include <cstdlib>

#include "backend/cuda/backend.h"
#include "backend/gpu/table.h"

namespace tg::backend::cuda {

inline Api silent_api() {
  Api api;
  // Handles are never looked into: any address will do.
  static char thing;
  constexpr auto kOk = [](auto...) -> int { return kSuccess; };
  constexpr auto kMade = [](auto* made, auto...) -> int {
    *made = reinterpret_cast<std::remove_pointer_t<decltype(made)>>(&thing);
    return kSuccess;
  };
#define TG_SILENT(name, symbol, parameters) api.name = kOk;
  TG_CUDA_FUNCTIONS(TG_SILENT)
#undef TG_SILENT
  api.DeviceGetCount = [](int* n) { return *n = 1, 0; };
  api.DeviceGetAttribute = [](int* value, int, DeviceId) { return *value = 9, 0; };
  api.DeviceTotalMem = [](size_t* bytes, DeviceId) { return *bytes = size_t{1} << 36, 0; };
  api.ContextRetain = kMade;
  api.MemAlloc = kMade;
  api.StreamCreate = kMade;
  api.ModuleLoad = kMade;
  api.ModuleGetFunction = kMade;
  api.CaptureEnd = [](StreamRef, GraphRef* made) {
    return *made = reinterpret_cast<GraphRef>(&thing), 0;
  };
  api.GraphInstantiate = kMade;
  // What the host maps it also writes to.
  api.HostAlloc = [](void** made, size_t bytes, unsigned) {
    *made = std::calloc(bytes, 1);
    return *made ? 0 : static_cast<int>(kOutOfMemory);
  };
  api.HostFree = [](void* at) { return std::free(at), 0; };
  return api;
}

inline gpu::Port& silent_port() {
  static const Api api = silent_api();
  static std::unique_ptr<gpu::Port> port = make_port(api, [](const gpu::Variant& variant) -> Image {
    static const char images[16] = {};
    return {.name = "none", .fatbin = images + static_cast<int>(variant.unit)};
  });
  return *port;
}

inline const tg_backend* silent_backend() {
  static const tg_backend table = gpu::make_table<silent_port>("silent cuda");
  return &table;
}

}  // namespace tg::backend::cuda
