// One OpenCL device of this process: its context, what it can do, and the units compiled for it.
// Opened devices of the same index share it, since compiling is what costs.
#pragma once

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "backend/gpu/port.h"
#include "backend/opencl/api.h"
#include "backend/opencl/extensions.h"

namespace tg::backend::opencl {

// Frees an OpenCL object with its API's function.
template <typename Object, auto kRelease>
class Handle {
 public:
  Handle() = default;
  Handle(const Api& api, Object object) : api_(&api), object_(object) {}
  Handle(Handle&& other) noexcept
      : api_(other.api_), object_(std::exchange(other.object_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(object_, other.object_);
    return *this;
  }
  ~Handle() {
    if (object_) (api_->*kRelease)(object_);
  }
  Object get() const { return object_; }

 private:
  const Api* api_ = nullptr;
  Object object_ = nullptr;
};
using ContextHandle = Handle<cl_context, &Api::ReleaseContext>;
using QueueHandle = Handle<cl_command_queue, &Api::ReleaseCommandQueue>;
using BufferHandle = Handle<cl_mem, &Api::ReleaseMemObject>;
using ProgramHandle = Handle<cl_program, &Api::ReleaseProgram>;
using KernelHandle = Handle<cl_kernel, &Api::ReleaseKernel>;

class Context {
 public:
  static Result<std::unique_ptr<Context>> make(const Api& api, cl_device_id device,
                                               std::string cache, ExtensionUse use);

  const Api& api() const { return api_; }
  cl_context get() const { return context_.get(); }
  cl_device_id device() const { return device_; }
  const gpu::DeviceFacts& facts() const { return facts_; }
  u64 allocation_max() const { return allocation_max_; }

  // Compiles the unit unless it was before; from the cache on disk if that has it.
  Status compile(const gpu::Variant& variant);
  // A kernel object of its own, so that its arguments stay set. REQUIRES: its variant is compiled.
  Result<KernelHandle> kernel(gpu::Kernel kernel, const gpu::Variant& variant) const;

  // Kernels the driver has seen run, which may be when it compiles them for good; true: on a grid
  // so wide that it may compile them anew.
  std::set<std::tuple<gpu::Variant, gpu::Kernel, bool>> warmed;
  bool is_lost = false;

 private:
  Context(const Api& api, cl_device_id device, std::string cache)
      : api_(api), device_(device), cache_(std::move(cache)) {}
  Status read_facts(ExtensionUse use);
  std::string text(cl_device_info what) const;
  template <typename T>
  T number(cl_device_info what) const;
  std::string options(const gpu::Variant& variant, const Extensions& extensions) const;
  Result<ProgramHandle> build(ProgramHandle program, const std::string& options) const;
  Result<ProgramHandle> from_source(const std::string& options, const std::string& source) const;
  Result<ProgramHandle> from_binary(const std::string& options, const std::string& file) const;
  Result<ProgramHandle> compiled(const std::string& options, const std::string& source) const;
  void keep_binary(cl_program program, const std::string& file) const;

  const Api& api_;
  cl_device_id device_;
  std::string cache_;  // folder; empty: none
  ContextHandle context_;
  gpu::DeviceFacts facts_;
  u64 allocation_max_ = 0;
  std::string identity_;  // of device and driver
  Reported reported_;
  Extensions extensions_;
  std::map<gpu::Variant, ProgramHandle> programs_;
};

}  // namespace tg::backend::opencl
