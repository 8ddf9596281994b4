// An opened CUDA device: its context, its stream, its memory and the functions of its images.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "backend/cuda/api.h"
#include "backend/cuda/images.h"
#include "backend/gpu/port.h"

namespace tg::backend::cuda {

// Device memory; freed with its owner.
class CudaBuffer {
 public:
  CudaBuffer() = default;
  CudaBuffer(const Api& api, Address at) : api_(&api), at_(at) {}
  CudaBuffer(CudaBuffer&& other) noexcept
      : api_(other.api_), at_(std::exchange(other.at_, Address{0})) {}
  CudaBuffer& operator=(CudaBuffer&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(at_, other.at_);
    return *this;
  }
  ~CudaBuffer() {
    if (at_ != 0) api_->MemFree(at_);
  }
  Address at() const { return at_; }

 private:
  const Api* api_ = nullptr;
  Address at_ = 0;
};

struct CudaMemory final : gpu::Memory {
  CudaBuffer buffer;
};

// Where images come from: this build's, or a test's.
using FindImage = Image (*)(const gpu::Variant&);

class CudaOpened final : public gpu::Opened {
 public:
  static Result<std::unique_ptr<CudaOpened>> make(const Api& api, FindImage find, int index);
  ~CudaOpened() override;

  const gpu::DeviceFacts& facts() const override { return facts_; }
  Result<std::unique_ptr<gpu::Memory>> allocate(u64 bytes) override;
  Result<std::unique_ptr<gpu::HostMemory>> allocate_host(u64 bytes) override;
  Status write(gpu::Memory& to, u64 offset, std::span<const u8> from) override;
  Status copy(gpu::Memory& to, u64 to_offset, gpu::Memory& from, u64 from_offset,
              u64 bytes) override;
  Status sync() override;
  Status prepare(const std::set<gpu::Variant>& variants) override;
  Result<std::unique_ptr<gpu::Executable>> bind(gpu::Bound bound) override;

  const Api& api() const { return api_; }
  StreamRef stream() const { return stream_; }
  // The driver's context belongs to threads, an opened device to whoever calls.
  Status enter() const { return check(api_, api_.ContextSet(context_), "cuCtxSetCurrent"); }
  Result<CudaBuffer> buffer(u64 bytes) const;
  Image image(const gpu::Variant& variant) const { return find_(variant); }
  // REQUIRES: its variant was prepared.
  Result<FunctionRef> function(gpu::Kernel kernel, const gpu::Variant& variant) const;

 private:
  CudaOpened(const Api& api, FindImage find) : api_(api), find_(find) {}
  Status open(int index);

  const Api& api_;
  FindImage find_;
  DeviceId device_ = 0;
  ContextRef context_ = nullptr;
  StreamRef stream_ = nullptr;
  gpu::DeviceFacts facts_;
  std::map<const void*, ModuleRef> modules_;  // by image
};

}  // namespace tg::backend::cuda
