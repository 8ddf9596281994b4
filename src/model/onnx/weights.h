// From initializers to weights of a program. ONNX keeps a matrix as the right operand of MatMul,
// [K,N]; the ISA keeps the rows of outputs, [N,K]. Matrices are transposed and block-quantised ones
// repacked into a buffer of the store, once each; what already lies right stays where it is.
#pragma once

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "isa/dtype.h"
#include "model/onnx/graph.h"

namespace tg::onnx {

// Kernels read words where they lie.
inline constexpr u64 kWeightAlignment = 8;
// Derived bytes, at most, per byte of the model's files: 4-bit codes that become f32 grow
// eightfold. Without a limit many small initializers over one large external range would fill the
// memory.
inline constexpr u64 kDerivedPerByteMax = 8;
inline constexpr u64 kDerivedBytesFloor = u64{1} << 24;

struct Weight {
  std::string source;  // name of the initializer
  isa::DType codec = isa::DType::kF32;
  std::vector<i64> dims;
  std::span<const u8> bytes;  // rows x row_bytes; of a file, or of the store
};

// A matrix [rows, columns] of 4- or 8-bit codes in blocks along the columns, as MatMulNBits has it:
// w = (code - zero) * scale. Codes of 4 bits lie two to a byte, the first in the low half; a row is
// padded to whole blocks.
struct BlockMatrix {
  const Tensor* codes = nullptr;
  const Tensor* scales = nullptr;  // [rows * blocks]
  const Tensor* zeros = nullptr;   // packed like codes, or reals; nullptr: 2^(bits-1)
  i64 rows = 0;
  i64 columns = 0;
  i64 bits = 4;
  i64 block = 32;
  friend auto operator<=>(const BlockMatrix&, const BlockMatrix&) = default;
};

class WeightStore {
 public:
  // `file_bytes`: of all files of the model together.
  explicit WeightStore(u64 file_bytes)
      : derived_left_(file_bytes * kDerivedPerByteMax + kDerivedBytesFloor) {}

  // Each gives an index into all(), the same for the same request. kUnsupported for element types
  // that are not float, kLimit past the limit above.
  // REQUIRES: data is attached; the product of dims is the tensor's.
  Result<i32> plain(const Tensor& tensor, std::vector<i64> dims);
  // REQUIRES: rank 2; [K,N] becomes [N,K].
  Result<i32> transposed(const Tensor& tensor);
  // int4_g128, int4_g32 or q8_0 if they hold the same numbers, f32 otherwise (noted). kInvalid if
  // codes, scales or zeros have not the size that the matrix needs.
  Result<i32> blocks(const BlockMatrix& matrix);

  const std::vector<Weight>& all() const { return weights_; }
  // One line for each matrix that is held in another form than the file's.
  const std::vector<std::string>& notes() const { return notes_; }
  // Hands over what the weights' bytes point to; they stay where they are.
  std::vector<std::vector<u8>> take_buffers() { return std::move(buffers_); }

 private:
  Result<std::span<u8>> allocate(const Tensor& source, u64 bytes);
  Result<i32> add(Weight weight);
  Result<i32> repack(const BlockMatrix& matrix);

  u64 derived_left_;
  std::vector<Weight> weights_;
  std::vector<std::string> notes_;
  std::vector<std::vector<u8>> buffers_;
  std::map<std::pair<const Tensor*, std::vector<i64>>, i32> plain_;
  std::map<const Tensor*, i32> transposed_;
  std::map<BlockMatrix, i32> blocks_;
};

// The i-th element of a float, float16 or bfloat16 tensor. REQUIRES: is_real(type), i in range.
f32 real_at(const Tensor& tensor, i64 i);
// The i-th element of an int32 or int64 tensor. REQUIRES: is_integer(type), i in range.
i64 integer_at(const Tensor& tensor, i64 i);

}  // namespace tg::onnx
