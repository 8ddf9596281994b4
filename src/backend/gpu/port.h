// What is left to a kind of GPU once programs are launches: finding devices, memory, compiling
// units, enqueueing. table.h makes the C ABI of one of these. An error of code kIo is the loss of
// the device: nothing on it works from then on.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "backend/abi.h"
#include "backend/gpu/lower.h"
#include "base/result.h"

namespace tg::backend::gpu {

struct DeviceFacts {
  std::string name;
  u64 memory = 0;
  u32 units = 1;
  bool has_f64 = false;         // routing, filters and draws are exact
  bool divides_exactly = true;  // f32 quotients are correctly rounded: blocks of a cache
  Traits traits;
};

// Memory on the device; freed with its owner.
class Memory {
 public:
  virtual ~Memory() = default;
};

// Host memory that the device copies from and to.
class HostMemory {
 public:
  virtual ~HostMemory() = default;
  virtual u8* data() = 0;
};

// Everything bind() fixed; `params` and `output` are the host's sides.
struct Bound {
  const Lowered* program = nullptr;
  std::vector<Launch> launches;  // with addresses (resolve.h)
  Memory* weights = nullptr;
  Memory* kv = nullptr;
  Memory* activations = nullptr;
  Memory* workspace = nullptr;
  const u8* params = nullptr;
  u64 params_bytes = 0;
  u64 samples = 0, lists = 0;  // offsets in the block; 0 for functions without sampling parameters
  u8* output = nullptr;
  u64 output_bytes = 0;
};

struct RunRequest {
  u32 first = 0, count = 0;  // segments
  StepSizes sizes;
  u64 params = 0;  // offset of the step's block
};

// Bytes of the step's block that the device may read: lists of sampling parameters only as far as
// they are used.
u64 used_params(const Bound& bound, const RunRequest& request);

class Executable {
 public:
  virtual ~Executable() = default;
  // Enqueues: copies the step's block in before the first segment and the results out after the
  // last.
  virtual Status run(const RunRequest& request) = 0;
};

// An opened device with its one queue.
class Opened {
 public:
  virtual ~Opened() = default;
  virtual const DeviceFacts& facts() const = 0;
  // Zeroed. kUnavailable, with sizes, if the device has not that much.
  virtual Result<std::unique_ptr<Memory>> allocate(u64 bytes) = 0;
  virtual Result<std::unique_ptr<HostMemory>> allocate_host(u64 bytes) = 0;
  // Done on return; `from` may be used again.
  virtual Status write(Memory& to, u64 offset, std::span<const u8> from) = 0;
  // In order with what was enqueued.
  virtual Status copy(Memory& to, u64 to_offset, Memory& from, u64 from_offset, u64 bytes) = 0;
  virtual Status sync() = 0;
  // Compiles what the launches need; the slow part of planning.
  virtual Status prepare(const std::set<Variant>& variants) = 0;
  virtual Result<std::unique_ptr<Executable>> bind(Bound bound) = 0;
};

class Port {
 public:
  virtual ~Port() = default;
  // Devices in order; the reason if none can be used (no driver, no device).
  virtual Result<u32> count() = 0;
  virtual Result<std::unique_ptr<Opened>> open(u32 index) = 0;
};

}  // namespace tg::backend::gpu
