#include "backend/opencl/backend.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "backend/gpu/table.h"
#include "backend/opencl/binary_cache.h"
#include "backend/opencl/executable.h"

namespace tg::backend::opencl {

namespace {

constexpr cl_uint kDevicesMax = 64;

class PageMemory final : public gpu::HostMemory {
 public:
  explicit PageMemory(u64 bytes) : words_((bytes + 7) / 8) {}
  u8* data() override { return reinterpret_cast<u8*>(words_.data()); }

 private:
  std::vector<u64> words_;
};

class ClOpened final : public gpu::Opened {
 public:
  // shared: all opened devices of one index compile once.
  ClOpened(std::shared_ptr<Context> context, QueueHandle queue)
      : context_(std::move(context)), queue_(std::move(queue)) {}

  const gpu::DeviceFacts& facts() const override { return context_->facts(); }

  Result<std::unique_ptr<gpu::Memory>> allocate(u64 bytes) override {
    if (bytes > context_->allocation_max()) {
      return Error{Code::kUnavailable, std::to_string(bytes) + " bytes in one buffer, " +
                                           facts().name + " allows " +
                                           std::to_string(context_->allocation_max())};
    }
    cl_int error = CL_SUCCESS;
    u64 size = (std::max<u64>(bytes, 4) + 3) / 4 * 4;
    cl_mem made = api().CreateBuffer(context_->get(), CL_MEM_READ_WRITE, size, nullptr, &error);
    TG_TRY(memory_check(error, "clCreateBuffer", bytes));
    std::unique_ptr<ClMemory> memory = std::make_unique<ClMemory>();
    memory->buffer = BufferHandle(api(), made);
    u32 zero = 0;
    error = api().EnqueueFillBuffer(queue_.get(), made, &zero, sizeof(zero), 0, size, 0, nullptr,
                                    nullptr);
    TG_TRY(memory_check(error, "clEnqueueFillBuffer", bytes));
    // Memory is found missing where it is first touched: that should be here.
    TG_TRY(memory_check(api().Finish(queue_.get()), "clFinish", bytes));
    return std::unique_ptr<gpu::Memory>(std::move(memory));
  }

  Result<std::unique_ptr<gpu::HostMemory>> allocate_host(u64 bytes) override {
    return std::unique_ptr<gpu::HostMemory>(std::make_unique<PageMemory>(bytes));
  }

  Status write(gpu::Memory& to, u64 offset, std::span<const u8> from) override {
    if (from.empty()) return {};
    return watch(check(api().EnqueueWriteBuffer(queue_.get(), mem(to), CL_TRUE, offset, from.size(),
                                                from.data(), 0, nullptr, nullptr),
                       "clEnqueueWriteBuffer"));
  }

  Status copy(gpu::Memory& to, u64 to_offset, gpu::Memory& from, u64 from_offset,
              u64 bytes) override {
    if (bytes == 0) return {};
    return watch(check(api().EnqueueCopyBuffer(queue_.get(), mem(from), mem(to), from_offset,
                                               to_offset, bytes, 0, nullptr, nullptr),
                       "clEnqueueCopyBuffer"));
  }

  Status sync() override { return watch(check(api().Finish(queue_.get()), "clFinish")); }

  Status prepare(const std::set<gpu::Variant>& variants) override {
    for (const gpu::Variant& variant : variants) TG_TRY(context_->compile(variant));
    return {};
  }

  Result<std::unique_ptr<gpu::Executable>> bind(gpu::Bound bound) override {
    return ClExecutable::make(*context_, queue_.get(), std::move(bound));
  }

 private:
  const Api& api() const { return context_->api(); }
  static cl_mem mem(gpu::Memory& memory) { return static_cast<ClMemory&>(memory).buffer.get(); }

  Status memory_check(cl_int error, const char* call, u64 bytes) {
    Status status = check(error, call);
    // Many drivers say "out of resources" for memory.
    if (error != CL_OUT_OF_RESOURCES && (status.ok() || status.error().code == Code::kIo)) {
      return watch(std::move(status));
    }
    return Error{Code::kUnavailable,
                 status.error().message + " for " + std::to_string(bytes) + " bytes"};
  }

  // A lost device's context is of no use to the next who opens it.
  Status watch(Status status) {
    if (!status.ok() && status.error().code == Code::kIo) context_->is_lost = true;
    return status;
  }

  std::shared_ptr<Context> context_;
  QueueHandle queue_;
};

class ClPort final : public gpu::Port {
 public:
  ClPort(const Api& api, std::string cache, ExtensionUse use)
      : api_(api), cache_(std::move(cache)), use_(use) {}

  Result<u32> count() override {
    TG_TRY(find_devices());
    return static_cast<u32>(devices_.size());
  }

  Result<std::unique_ptr<gpu::Opened>> open(u32 index) override {
    TG_TRY(find_devices());
    if (index >= devices_.size()) {
      return Error{Code::kNotFound, "OpenCL device " + std::to_string(index) + " of " +
                                        std::to_string(devices_.size())};
    }
    std::shared_ptr<Context>& context = contexts_[index];
    if (!context || context->is_lost) {
      TG_ASSIGN(context, Context::make(api_, devices_[index], cache_, use_));
    }
    cl_int error = CL_SUCCESS;
    cl_command_queue queue = api_.CreateCommandQueue(context->get(), devices_[index], 0, &error);
    TG_TRY(check(error, "clCreateCommandQueue"));
    return std::unique_ptr<gpu::Opened>(
        std::make_unique<ClOpened>(context, QueueHandle(api_, queue)));
  }

 private:
  Status find_devices() {
    if (!devices_.empty()) return {};
    cl_platform_id platforms[kDevicesMax];
    cl_uint n = 0;
    cl_int error = api_.GetPlatformIDs(kDevicesMax, platforms, &n);
    if (error != CL_SUCCESS || n == 0) {
      return Error{Code::kNotFound,
                   "the OpenCL loader knows no platform: no vendor's ICD is installed"};
    }
    for (cl_device_type type :
         {CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_ACCELERATOR, CL_DEVICE_TYPE_CPU}) {
      for (cl_uint p = 0; p < std::min(n, kDevicesMax); ++p) {
        cl_device_id found[kDevicesMax];
        cl_uint count = 0;
        if (api_.GetDeviceIDs(platforms[p], type, kDevicesMax, found, &count) != CL_SUCCESS)
          continue;
        devices_.insert(devices_.end(), found, found + std::min(count, kDevicesMax));
      }
    }
    if (devices_.empty()) return Error{Code::kNotFound, "no OpenCL platform has a device"};
    return {};
  }

  const Api& api_;
  std::string cache_;
  ExtensionUse use_;
  std::vector<cl_device_id> devices_;
  std::map<u32, std::shared_ptr<Context>> contexts_;
};

// Before an ICD is loaded, and if none can be.
class AbsentPort final : public gpu::Port {
 public:
  explicit AbsentPort(Error why) : why_(std::move(why)) {}
  Result<u32> count() override { return why_; }
  Result<std::unique_ptr<gpu::Opened>> open(u32) override { return why_; }

 private:
  Error why_;
};

std::unique_ptr<gpu::Port> load_port() {
  const char* library = std::getenv("TG_OPENCL_LIBRARY");
  static Result<Api> api = load_api(library ? library : "");
  if (!api) return std::make_unique<AbsentPort>(api.error());
  return make_port(*api, cache_folder(), extension_use());
}

// Never destroyed: drivers unload in an order of their own.
gpu::Port& the_port() {
  static gpu::Port* port = load_port().release();
  return *port;
}

}  // namespace

std::unique_ptr<gpu::Port> make_port(const Api& api, std::string cache, ExtensionUse use) {
  return std::make_unique<ClPort>(api, std::move(cache), use);
}

const tg_backend* opencl_backend() {
  static const tg_backend table = gpu::make_table<the_port>("opencl");
  return &table;
}

}  // namespace tg::backend::opencl
