// A loaded backend and what it owns, as C++ values: every handle is freed when its owner goes.
#pragma once

#include <memory>
#include <string>
#include <type_traits>

#include "backend/abi.h"
#include "base/result.h"
#include "base/types.h"

namespace tg::backend {

// A backend's function table; a shared object stays loaded while any copy lives.
struct Library {
  const tg_backend* table = nullptr;
  std::shared_ptr<void> object;  // null if built in; shared: every Device of it keeps it loaded
};

// "cpu"; "opencl" or another word NAME for the libtg_backend_NAME.so beside this program; or a path
// with a '/' of a shared object that exports tg_backend_get. kUnsupported for another ABI major or
// a table without the functions of a minimal port.
Result<Library> load_library(const std::string& name);

// A device with its one stream. Move-only by pointer; outlives everything made on it.
class Device {
 public:
  static Result<std::unique_ptr<Device>> open(const Library& library, u32 index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const tg_backend& table() const { return *library_.table; }
  tg_dev handle() const { return device_; }
  tg_stream stream() const { return stream_; }
  const tg_props& props() const { return props_; }
  // The failed call's status as an Error with the backend's own line; ok for TG_OK.
  Status check(tg_status status, const char* call) const;

 private:
  explicit Device(const Library& library) : library_(library) {}

  Library library_;
  tg_dev device_ = nullptr;
  tg_stream stream_ = nullptr;
  tg_props props_{};
};

// Frees a tg_buf, tg_plan or tg_exec with its device's table.
template <typename Handle, void (*tg_backend::*kFree)(Handle)>
struct Freer {
  const tg_backend* table = nullptr;
  void operator()(Handle handle) const { (table->*kFree)(handle); }
};

template <typename Handle, void (*tg_backend::*kFree)(Handle)>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Freer<Handle, kFree>>;
using OwnedBuf = Owned<tg_buf, &tg_backend::mem_free>;
using OwnedPlan = Owned<tg_plan, &tg_backend::plan_free>;
using OwnedExec = Owned<tg_exec, &tg_backend::exec_free>;

// An arena; null for 0 bytes.
Result<OwnedBuf> allocate(const Device& device, u64 bytes, u32 kind);

}  // namespace tg::backend
