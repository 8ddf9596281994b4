// Big blocks of zeroed memory straight from the kernel, in huge pages where it has them: weights
// are read front to back every step, and 4 KiB pages cost a quarter of the bandwidth.
#pragma once

#include "base/result.h"
#include "base/types.h"

namespace tg::backend::cpu {

class Block {
 public:
  // kUnavailable if the kernel has not that much.
  static Result<Block> allocate(u64 bytes);
  // Someone else's memory; not freed.
  static Block borrow(u8* data, u64 bytes) { return Block(data, bytes, 0); }

  Block(Block&& other) noexcept;
  Block& operator=(Block&&) = delete;
  ~Block();

  u8* data() const { return data_; }
  u64 bytes() const { return bytes_; }

 private:
  Block(u8* data, u64 bytes, u64 mapped) : data_(data), bytes_(bytes), mapped_(mapped) {}

  u8* data_;
  u64 bytes_;
  u64 mapped_;  // bytes to unmap; 0: borrowed
};

}  // namespace tg::backend::cpu
