// Writes GGUF version 3: a header as a plain value that can be edited until it is encoded, and a
// stream for the tensors' bytes, so that files larger than memory can be made. The same header
// always gives the same bytes.
#pragma once

#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "isa/dtype.h"
#include "model/gguf/format.h"

namespace tg::gguf {

using WriteValue = std::variant<u32, i32, u64, f32, bool, std::string, std::vector<i32>,
                                std::vector<f32>, std::vector<std::string>>;

struct TensorDecl {
  std::string name;
  isa::DType codec = isa::DType::kF32;
  std::vector<i64> dims;  // outermost first
  friend bool operator==(const TensorDecl&, const TensorDecl&) = default;
};

struct Header {
  std::vector<std::pair<std::string, WriteValue>> metadata;  // in the file's order
  std::vector<TensorDecl> tensors;                           // in the order of their data

  // Replaces the key's value, or appends it.
  void set(std::string_view key, WriteValue value);
};

// Stored bytes of the tensor. kInvalid if the codec has no number in the container, a dimension is
// not positive or rows are not whole blocks.
Result<u64> tensor_bytes(const TensorDecl& tensor);

// Everything before the tensor data, padded to kAlignmentDefault; data of tensor i starts at the
// aligned end of tensor i-1. Errors as tensor_bytes.
Result<std::vector<u8>> encode_header(const Header& header);

// Streams a file to `path` through a temporary beside it. Without finish() nothing stays behind.
class Writer {
 public:
  // Writes the header. kIo if the file cannot be made; otherwise as encode_header.
  static Result<Writer> create(const std::string& path, const Header& header);
  Writer(Writer&&) noexcept = default;
  Writer& operator=(Writer&&) noexcept = default;
  ~Writer();

  // The next bytes of the current tensor, in any portions; padding between tensors is added.
  // REQUIRES: the bytes do not go past the current tensor's end.
  Status append(std::span<const u8> bytes);
  // Puts the file in place. REQUIRES: every tensor was written in full, or none (a file with
  // kNoDataKey).
  Status finish();

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  Writer() = default;
  Status write(std::span<const u8> bytes);

  std::string path_;
  std::string temporary_;
  std::unique_ptr<std::FILE, Closer> file_;
  std::vector<u64> tensor_bytes_;
  std::size_t tensor_ = 0;  // being written
  u64 written_ = 0;         // of it
};

}  // namespace tg::gguf
