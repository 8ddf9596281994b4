// Reads safetensors: named tensors of plain element types, over bytes that somebody else has
// mapped. Every count, length and offset of the file is checked before it is used; the data section
// must be exactly the tensors, without overlaps or holes.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "model/safetensors/format.h"

namespace tg::safetensors {

struct Tensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<i64> dims;     // outermost first; empty: a scalar; sizes may be 0
  std::span<const u8> data;  // row-major, little-endian; at any alignment
};

// A parsed file. Borrows the bytes given to parse() for the tensors' data.
class File {
 public:
  // kCorrupt with one line naming the tensor, kLimit past a limit of format.h, kUnsupported for an
  // element type that is not known.
  static Result<File> parse(std::span<const u8> bytes);

  // In the header's order.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  // nullptr if there is none of that name.
  const Tensor* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::vector<Tensor> tensors_;
  std::map<std::string_view, std::size_t> by_name_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace tg::safetensors
