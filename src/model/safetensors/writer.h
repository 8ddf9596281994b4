// Writes small safetensors files, for tests and synthetic models: all tensors are held in memory.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "model/safetensors/format.h"

namespace tg::safetensors {

struct NewTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<i64> dims;  // outermost first
  std::vector<u8> data;   // REQUIRES: as many bytes as dtype and dims say
};

// The file's bytes: tensors in the order given, the header padded to 8 bytes. The same input gives
// the same bytes. REQUIRES: names are UTF-8.
std::vector<u8> encode(const std::vector<NewTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace tg::safetensors
