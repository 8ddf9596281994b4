// A program from whatever a person points at: what every command that prices or shows one takes.
#pragma once

#include <string>

#include "base/result.h"
#include "isa/program.h"

namespace tg::apps {

inline constexpr u64 kProgramFileBytesMax = 16 * 1024 * 1024;

// A .tgp file, assembly text, a model file (GGUF, safetensors, ONNX) or a model directory. Weights
// are not read. Errors name the path.
Result<isa::VerifiedProgram> load_any_program(const std::string& path);

}  // namespace tg::apps
