// genai_config.json, which onnxruntime-genai keeps beside a model: what of it an importer needs.
#pragma once

#include <string>

#include "base/result.h"
#include "base/types.h"

namespace tg::onnx {

inline constexpr std::string_view kGenaiConfigFile = "genai_config.json";

struct GenaiConfig {
  std::string architecture = "onnx";      // model.type
  std::string model_file = "model.onnx";  // model.decoder.filename, a name in the folder
  i64 context = 0;                        // model.context_length; 0: not stated
};

// The defaults above for what the folder's file does not state, or if there is no file. kCorrupt,
// kInvalid or kLimit in one line that names the file and key.
Result<GenaiConfig> read_genai_config(const std::string& folder);

}  // namespace tg::onnx
