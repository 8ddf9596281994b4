#include "backend/cuda/device.h"

#include "backend/cuda/executable.h"
#include "base/assert.h"

namespace tg::backend::cuda {

namespace {

constexpr int kMajorMin = 8;  // bf16 in tensor cores

// Page-locked, so that copies need no stop on the way.
class PinnedMemory final : public gpu::HostMemory {
 public:
  PinnedMemory(const Api& api, void* at) : api_(api), at_(at) {}
  ~PinnedMemory() override { api_.HostFree(at_); }
  u8* data() override { return static_cast<u8*>(at_); }

 private:
  const Api& api_;
  void* at_;
};

Address at(gpu::Memory& memory) {
  return static_cast<CudaMemory&>(memory).buffer.at();
}

}  // namespace

Result<std::unique_ptr<CudaOpened>> CudaOpened::make(const Api& api, FindImage find, int index) {
  std::unique_ptr<CudaOpened> made(new CudaOpened(api, find));
  TG_TRY(made->open(index));
  return made;
}

Status CudaOpened::open(int index) {
  TG_TRY(check(api_, api_.DeviceGet(&device_, index), "cuDeviceGet"));
  char name[200] = {};
  TG_TRY(check(api_, api_.DeviceGetName(name, sizeof(name) - 1, device_), "cuDeviceGetName"));
  int major = 0, minor = 0, units = 0;
  size_t memory = 0;
  TG_TRY(check(api_, api_.DeviceGetAttribute(&major, kAttributeMajor, device_),
               "cuDeviceGetAttribute"));
  TG_TRY(check(api_, api_.DeviceGetAttribute(&minor, kAttributeMinor, device_),
               "cuDeviceGetAttribute"));
  TG_TRY(check(api_, api_.DeviceGetAttribute(&units, kAttributeMultiprocessors, device_),
               "cuDeviceGetAttribute"));
  TG_TRY(check(api_, api_.DeviceTotalMem(&memory, device_), "cuDeviceTotalMem"));
  if (major < kMajorMin) {
    return Error{Code::kUnsupported, std::string(name) + " has compute capability " +
                                         std::to_string(major) + "." + std::to_string(minor) +
                                         ", at least " + std::to_string(kMajorMin) +
                                         ".0 is needed"};
  }
  facts_ = {.name = std::string("cuda ") + name,
            .memory = memory,
            .units = static_cast<u32>(units),
            .has_f64 = true,
            .divides_exactly = true,
            .traits = {.attention_tiles = true}};
  TG_TRY(check(api_, api_.ContextRetain(&context_, device_), "cuDevicePrimaryCtxRetain"));
  TG_TRY(enter());
  return check(api_, api_.StreamCreate(&stream_, kStreamNonBlocking), "cuStreamCreate");
}

CudaOpened::~CudaOpened() {
  if (context_ == nullptr) return;
  api_.ContextSet(context_);
  for (const auto& [image, module] : modules_) api_.ModuleUnload(module);
  if (stream_ != nullptr) api_.StreamDestroy(stream_);
  api_.ContextRelease(device_);
}

Result<CudaBuffer> CudaOpened::buffer(u64 bytes) const {
  TG_TRY(enter());
  Address address = 0;
  u64 size = bytes > 0 ? bytes : 16;
  Status made = check(api_, api_.MemAlloc(&address, size), "cuMemAlloc");
  if (!made.ok()) {
    return Error{made.error().code,
                 made.error().message + " for " + std::to_string(bytes) + " bytes"};
  }
  CudaBuffer owned(api_, address);
  TG_TRY(check(api_, api_.MemsetAsync(address, 0, size, stream_), "cuMemsetD8Async"));
  return owned;
}

Result<std::unique_ptr<gpu::Memory>> CudaOpened::allocate(u64 bytes) {
  std::unique_ptr<CudaMemory> memory = std::make_unique<CudaMemory>();
  TG_ASSIGN(memory->buffer, buffer(bytes));
  return std::unique_ptr<gpu::Memory>(std::move(memory));
}

Result<std::unique_ptr<gpu::HostMemory>> CudaOpened::allocate_host(u64 bytes) {
  TG_TRY(enter());
  void* made = nullptr;
  TG_TRY(check(api_, api_.HostAlloc(&made, bytes, 0), "cuMemHostAlloc"));
  return std::unique_ptr<gpu::HostMemory>(std::make_unique<PinnedMemory>(api_, made));
}

Status CudaOpened::write(gpu::Memory& to, u64 offset, std::span<const u8> from) {
  if (from.empty()) return {};
  TG_TRY(enter());
  TG_TRY(check(api_, api_.CopyIn(at(to) + offset, from.data(), from.size(), stream_),
               "cuMemcpyHtoDAsync"));
  return sync();
}

Status CudaOpened::copy(gpu::Memory& to, u64 to_offset, gpu::Memory& from, u64 from_offset,
                        u64 bytes) {
  if (bytes == 0) return {};
  TG_TRY(enter());
  return check(api_, api_.CopyWithin(at(to) + to_offset, at(from) + from_offset, bytes, stream_),
               "cuMemcpyDtoDAsync");
}

Status CudaOpened::sync() {
  TG_TRY(enter());
  return check(api_, api_.StreamSynchronize(stream_), "cuStreamSynchronize");
}

Status CudaOpened::prepare(const std::set<gpu::Variant>& variants) {
  TG_TRY(enter());
  for (const gpu::Variant& variant : variants) {
    Image image = find_(variant);
    if (image.fatbin == nullptr) {
      return Error{Code::kUnsupported,
                   "this build has no CUDA code for " + gpu::definitions(variant)};
    }
    if (modules_.contains(image.fatbin)) continue;
    ModuleRef module = nullptr;
    Status loaded = check(api_, api_.ModuleLoad(&module, image.fatbin), "cuModuleLoadData");
    // An image the device cannot run is no lost device.
    if (!loaded.ok()) {
      return Error{Code::kUnsupported,
                   loaded.error().message + " of image " + std::string(image.name)};
    }
    modules_.emplace(image.fatbin, module);
  }
  return {};
}

Result<FunctionRef> CudaOpened::function(gpu::Kernel kernel, const gpu::Variant& variant) const {
  std::map<const void*, ModuleRef>::const_iterator module = modules_.find(find_(variant).fatbin);
  TG_ASSERT(module != modules_.end());
  FunctionRef function = nullptr;
  TG_TRY(check(api_, api_.ModuleGetFunction(&function, module->second, gpu::name(kernel)),
               gpu::name(kernel)));
  return function;
}

Result<std::unique_ptr<gpu::Executable>> CudaOpened::bind(gpu::Bound bound) {
  return CudaExecutable::make(*this, std::move(bound));
}

}  // namespace tg::backend::cuda
