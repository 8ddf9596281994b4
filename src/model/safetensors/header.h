// The JSON of safetensors files, read as a stream of events against the one form it may have:
// nothing is built that the form does not name, so that a hostile header costs no more memory than
// its own length.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/safetensors/format.h"

namespace tg::safetensors {

// One entry of a file's header, as it stands there: only the form and single numbers are checked.
struct HeaderEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<i64> dims;  // outermost first; empty: a scalar
  u64 begin = 0;          // of the data section; begin <= end is not checked
  u64 end = 0;
};

struct Header {
  std::vector<HeaderEntry> tensors;                           // in the header's order
  std::vector<std::pair<std::string, std::string>> metadata;  // in the header's order
};

// {"name": {"dtype": .., "shape": [..], "data_offsets": [b, e]}, .., "__metadata__": {..}}
// kCorrupt naming the tensor or the byte, kLimit past a limit of format.h, kUnsupported for an
// element type that is not known. Names may repeat.
Result<Header> read_header(std::string_view json);

// model.safetensors.index.json: {"weight_map": {"name": "shard"}, ..}; other members are skipped.
// In the file's order; names may repeat. kCorrupt, kLimit; kNotFound without a weight_map.
Result<std::vector<std::pair<std::string, std::string>>> read_index(std::string_view json);

}  // namespace tg::safetensors
