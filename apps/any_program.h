// A program from whatever a person points at: what every command that prices or shows one takes.
#pragma once

#include <string>

#include "base/result.h"
#include "isa/program.h"
#include "model/architecture/blueprint.h"

namespace tg::apps {

inline constexpr u64 kProgramFileBytesMax = 16 * 1024 * 1024;

// A .tgp file, assembly text, a model file (GGUF, safetensors, ONNX) or a model directory. Weights
// are not read. Errors name the path.
// `options` decide about programs made from models; one that is a program already stays as it is.
Result<isa::VerifiedProgram> load_any_program(const std::string& path,
                                              const model::ImportOptions& options = {});

}  // namespace tg::apps
