// Reads GGUF (versions 2 and 3): typed metadata and the places of tensors, over bytes that somebody
// else has mapped. Nothing is copied but small tables; every count, length and offset of the file
// is checked before it is used, so that no input crashes or over-allocates.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "isa/dtype.h"
#include "model/gguf/format.h"

namespace tg::gguf {

// One metadata value. Text and arrays borrow the file's bytes.
struct Value {
  ValueType type = ValueType::kU8;
  u64 bits = 0;                             // scalars: the stored bits, sign-extended for i8..i64
  std::string_view text;                    // kString
  ValueType element_type = ValueType::kU8;  // kArray
  u64 count = 0;                            // kArray: elements
  std::span<const u8> elements;             // kArray: their bytes, already walked and in bounds
};

struct Tensor {
  std::string_view name;
  isa::DType codec = isa::DType::kF32;
  std::vector<i64> dims;  // outermost first, the last contiguous: [rows, columns] of a matrix
  u64 bytes = 0;
  u64 offset = 0;            // from the start of the data section
  std::span<const u8> data;  // empty if the file holds no data
};

// A parsed file. Borrows the bytes given to parse(), which must outlive it.
class File {
 public:
  // kCorrupt or kInvalid with one line naming the place, kLimit past a limit of format.h,
  // kUnsupported for a version or tensor type that is not read.
  static Result<File> parse(std::span<const u8> bytes);
  // A file that is nowhere in one piece: the metadata of `keys` and these tensors, whose `bytes`
  // and `offset` are not looked at and whose names and data must outlive it. kInvalid naming a
  // tensor of unfit dimensions, of data that is not as long as they say, or of a name used twice;
  // kLimit.
  static Result<File> with_tensors(File keys, std::vector<Tensor> tensors);

  u32 version() const { return version_; }
  u32 alignment() const { return alignment_; }
  // False if the file only describes its tensors (kNoDataKey).
  bool has_data() const { return has_data_; }
  // Bytes of everything before the tensor data, padding included.
  u64 header_bytes() const { return header_bytes_; }

  // In the file's order.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  // nullptr if there is none of that name.
  const Tensor* find_tensor(std::string_view name) const;

  const std::map<std::string_view, Value>& metadata() const { return metadata_; }
  const Value* find(std::string_view key) const;

  // Typed access. A key that is absent gives nullopt; one of another type is a kInvalid error that
  // names both types. Integers of any width are read as long as the value is not negative.
  Result<std::optional<u64>> integer(std::string_view key) const;
  Result<std::optional<f64>> real(std::string_view key) const;
  Result<std::optional<bool>> boolean(std::string_view key) const;
  Result<std::optional<std::string_view>> text(std::string_view key) const;
  Result<std::optional<std::vector<std::string_view>>> texts(std::string_view key) const;
  Result<std::optional<std::vector<f32>>> reals(std::string_view key) const;
  Result<std::optional<std::vector<i64>>> integers(std::string_view key) const;

 private:
  friend class Parser;

  u32 version_ = 0;
  u32 alignment_ = kAlignmentDefault;
  bool has_data_ = true;
  u64 header_bytes_ = 0;
  std::map<std::string_view, Value> metadata_;
  std::vector<Tensor> tensors_;
  std::map<std::string_view, std::size_t> tensor_by_name_;
};

}  // namespace tg::gguf
