#include "backend/cuda/backend.h"

#include "backend/gpu/table.h"

namespace tg::backend::cuda {

namespace {

class CudaPort final : public gpu::Port {
 public:
  CudaPort(const Api& api, FindImage find) : api_(api), find_(find) {}

  Result<u32> count() override {
    int n = 0;
    TG_TRY(check(api_, api_.DeviceGetCount(&n), "cuDeviceGetCount"));
    if (n == 0) return Error{Code::kNotFound, "the NVIDIA driver sees no device"};
    return static_cast<u32>(n);
  }

  Result<std::unique_ptr<gpu::Opened>> open(u32 index) override {
    TG_ASSIGN(std::unique_ptr<CudaOpened> opened,
              CudaOpened::make(api_, find_, static_cast<int>(index)));
    return std::unique_ptr<gpu::Opened>(std::move(opened));
  }

 private:
  const Api& api_;
  FindImage find_;
};

// Without a driver or without device code.
class AbsentPort final : public gpu::Port {
 public:
  explicit AbsentPort(Error why) : why_(std::move(why)) {}
  Result<u32> count() override { return why_; }
  Result<std::unique_ptr<gpu::Opened>> open(u32) override { return why_; }

 private:
  Error why_;
};

std::unique_ptr<gpu::Port> load_port() {
  if (!has_images()) {
    return std::make_unique<AbsentPort>(
        Error{Code::kUnsupported, "built without the CUDA toolkit: no device code"});
  }
  static Result<Api> api = load_api();
  if (!api) return std::make_unique<AbsentPort>(api.error());
  return make_port(*api, image_of);
}

// Never destroyed: the driver unloads in an order of its own.
gpu::Port& the_port() {
  static gpu::Port* port = load_port().release();
  return *port;
}

}  // namespace

std::unique_ptr<gpu::Port> make_port(const Api& api, FindImage find) {
  return std::make_unique<CudaPort>(api, find);
}

const tg_backend* cuda_backend() {
  static const tg_backend table = gpu::make_table<the_port>("cuda");
  return &table;
}

}  // namespace tg::backend::cuda
