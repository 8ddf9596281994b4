// A CUDA driver for tests: device memory is the host's, launches are noted and not run, and any
// call can be made to fail from its n-th time on.
#pragma once

#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "backend/cuda/api.h"

namespace tg::backend::cuda {

struct NotedLaunch {
  std::string kernel;
  unsigned grid[3];
  unsigned threads;
  std::vector<u64> first_values;  // base and sizes of the first arguments: step, rows c, t, s, r
};

// One at a time: the driver's functions have no state but this.
struct FakeDriver {
  int major = 9;
  std::map<std::string, int> fails_after;  // call -> how often it still succeeds
  int failure = 719;                       // CUDA_ERROR_LAUNCH_FAILED
  std::map<std::string, int> calls;
  std::map<Address, size_t> memory;
  size_t memory_taken = 0, memory_max = size_t{1} << 32;
  int contexts = 0, streams = 0, modules = 0, graphs = 0, execs = 0, pinned = 0;
  bool capturing = false;
  std::vector<NotedLaunch> launches, captured;
  std::vector<std::vector<NotedLaunch>> graph_launches;  // by graph
  std::vector<std::size_t> replayed;                     // graphs, in order
  std::set<std::string> functions;

  static FakeDriver& the() {
    static FakeDriver driver;
    return driver;
  }
  // Counts the call; nonzero if it is to fail.
  int enter(const char* call) {
    ++calls[call];
    std::map<std::string, int>::iterator left = fails_after.find(call);
    if (left == fails_after.end()) return 0;
    return left->second-- > 0 ? 0 : failure;
  }
};

inline void fake_devices(Api& api) {
  api.Init = [](unsigned) { return FakeDriver::the().enter("Init"); };
  api.DeviceGetCount = [](int* n) { return *n = 2, FakeDriver::the().enter("DeviceGetCount"); };
  api.DeviceGet = [](DeviceId* id, int index) { return *id = index, 0; };
  api.DeviceGetName = [](char* to, int, DeviceId) { return std::strcpy(to, "Fake GPU"), 0; };
  api.DeviceGetAttribute = [](int* value, int attribute, DeviceId) {
    *value = attribute == kAttributeMajor ? FakeDriver::the().major : 0;
    if (attribute == kAttributeMultiprocessors) *value = 132;
    return 0;
  };
  api.DeviceTotalMem = [](size_t* bytes, DeviceId) {
    return *bytes = FakeDriver::the().memory_max, 0;
  };
  api.ContextRetain = [](ContextRef* made, DeviceId) {
    ++FakeDriver::the().contexts;
    *made = reinterpret_cast<ContextRef>(1);
    return 0;
  };
  api.ContextRelease = [](DeviceId) { return --FakeDriver::the().contexts, 0; };
  api.ContextSet = [](ContextRef) { return 0; };
  api.GetErrorName = [](int error, const char** name) {
    *name = error == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
    return 0;
  };
}

inline void fake_memory(Api& api) {
  api.MemAlloc = [](Address* made, size_t bytes) {
    FakeDriver& d = FakeDriver::the();
    int failed = d.enter("MemAlloc");
    if (failed) return failed;
    if (d.memory_taken + bytes > d.memory_max) return static_cast<int>(kOutOfMemory);
    *made = reinterpret_cast<Address>(std::malloc(bytes));
    d.memory[*made] = bytes;
    d.memory_taken += bytes;
    return 0;
  };
  api.MemFree = [](Address at) {
    FakeDriver& d = FakeDriver::the();
    d.memory_taken -= d.memory.at(at);
    d.memory.erase(at);
    std::free(reinterpret_cast<void*>(at));
    return 0;
  };
  api.HostAlloc = [](void** made, size_t bytes, unsigned) {
    int failed = FakeDriver::the().enter("HostAlloc");
    if (failed) return failed;
    ++FakeDriver::the().pinned;
    *made = std::calloc(bytes, 1);
    return 0;
  };
  api.HostFree = [](void* at) {
    --FakeDriver::the().pinned;
    std::free(at);
    return 0;
  };
  api.MemsetAsync = [](Address at, unsigned char value, size_t bytes, StreamRef) {
    std::memset(reinterpret_cast<void*>(at), value, bytes);
    return FakeDriver::the().enter("MemsetAsync");
  };
  api.CopyIn = [](Address to, const void* from, size_t bytes, StreamRef) {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return FakeDriver::the().enter("CopyIn");
  };
  api.CopyOut = [](void* to, Address from, size_t bytes, StreamRef) {
    std::memcpy(to, reinterpret_cast<void*>(from), bytes);
    return FakeDriver::the().enter("CopyOut");
  };
  api.CopyWithin = [](Address to, Address from, size_t bytes, StreamRef) {
    std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return FakeDriver::the().enter("CopyWithin");
  };
}

inline void fake_streams_and_modules(Api& api) {
  api.StreamCreate = [](StreamRef* made, unsigned) {
    ++FakeDriver::the().streams;
    *made = reinterpret_cast<StreamRef>(2);
    return 0;
  };
  api.StreamDestroy = [](StreamRef) { return --FakeDriver::the().streams, 0; };
  api.StreamSynchronize = [](StreamRef) { return FakeDriver::the().enter("StreamSynchronize"); };
  api.ModuleLoad = [](ModuleRef* made, const void* image) {
    int failed = FakeDriver::the().enter("ModuleLoad");
    if (failed) return failed;
    ++FakeDriver::the().modules;
    *made = reinterpret_cast<ModuleRef>(const_cast<void*>(image));
    return 0;
  };
  api.ModuleUnload = [](ModuleRef) { return --FakeDriver::the().modules, 0; };
  api.ModuleGetFunction = [](FunctionRef* made, ModuleRef, const char* name) {
    const std::string& kept = *FakeDriver::the().functions.insert(name).first;
    *made = reinterpret_cast<FunctionRef>(const_cast<std::string*>(&kept));
    return 0;
  };
}

inline void fake_launches_and_graphs(Api& api) {
  api.Launch = [](FunctionRef function, unsigned x, unsigned y, unsigned z, unsigned threads,
                  unsigned, unsigned, unsigned, StreamRef, void** arguments, void**) {
    FakeDriver& d = FakeDriver::the();
    int failed = d.enter("Launch");
    if (failed) return failed;
    NotedLaunch noted{*reinterpret_cast<std::string*>(function), {x, y, z}, threads, {}};
    for (int i = 0; i < 5; ++i) {
      u64 value = 0;
      std::memcpy(&value, arguments[i], i == 0 ? 8 : 4);
      noted.first_values.push_back(value);
    }
    (d.capturing ? d.captured : d.launches).push_back(std::move(noted));
    return 0;
  };
  api.CaptureBegin = [](StreamRef, int) {
    int failed = FakeDriver::the().enter("CaptureBegin");
    if (failed) return failed;
    FakeDriver::the().capturing = true;
    FakeDriver::the().captured.clear();
    return 0;
  };
  api.CaptureEnd = [](StreamRef, GraphRef* made) {
    FakeDriver& d = FakeDriver::the();
    d.capturing = false;
    d.graph_launches.push_back(d.captured);
    ++d.graphs;
    *made = reinterpret_cast<GraphRef>(d.graph_launches.size());
    return 0;
  };
  api.GraphInstantiate = [](GraphExecRef* made, GraphRef graph, unsigned long long) {
    ++FakeDriver::the().execs;
    *made = reinterpret_cast<GraphExecRef>(graph);
    return 0;
  };
  api.GraphLaunch = [](GraphExecRef exec, StreamRef) {
    FakeDriver::the().replayed.push_back(reinterpret_cast<std::size_t>(exec) - 1);
    return FakeDriver::the().enter("GraphLaunch");
  };
  api.GraphExecDestroy = [](GraphExecRef) { return --FakeDriver::the().execs, 0; };
  api.GraphDestroy = [](GraphRef) { return --FakeDriver::the().graphs, 0; };
}

inline Api fake_api() {
  Api api;
  fake_devices(api);
  fake_memory(api);
  fake_streams_and_modules(api);
  fake_launches_and_graphs(api);
  return api;
}

}  // namespace tg::backend::cuda
