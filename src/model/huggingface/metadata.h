// config.json turned into GGUF metadata: the tables of families.h applied, then rope scaling, which
// every family states the same way.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/gguf/writer.h"
#include "model/huggingface/config.h"
#include "model/huggingface/families.h"

namespace tg::checkpoint {

struct Metadata {
  gguf::Header header;  // keys only
  // Tensors that a GGUF file holds and a checkpoint states as lists: name, values.
  std::vector<std::pair<std::string, std::vector<f32>>> tables;
};

// kNotFound, kInvalid or kUnsupported naming the key of config.json. `name` becomes general.name.
Result<Metadata> write_metadata(const Config& config, const Family& family, std::string_view name);

}  // namespace tg::checkpoint
