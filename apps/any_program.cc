#include "apps/any_program.h"

#include <filesystem>
#include <memory>

#include "base/bytes.h"
#include "env/disk.h"
#include "isa/assemble.h"
#include "model/model.h"

namespace tg::apps {

static bool is_model(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return true;
  for (const char* ending : {".gguf", ".safetensors", ".onnx", "config.json"}) {
    if (path.ends_with(ending)) return true;
  }
  return false;
}

static Result<isa::VerifiedProgram> parse(const std::string& bytes) {
  if (bytes.starts_with("TGP1")) return isa::load(as_bytes(bytes));
  TG_ASSIGN(isa::Program program, isa::assemble(bytes));
  return isa::verify(std::move(program));
}

Result<isa::VerifiedProgram> load_any_program(const std::string& path,
                                              const model::ImportOptions& options) {
  if (is_model(path)) {
    TG_ASSIGN(std::unique_ptr<model::Model> model, model::Model::open(path, options));
    return model->program();
  }
  TG_ASSIGN(std::string bytes, read_file(path, kProgramFileBytesMax));
  Result<isa::VerifiedProgram> program = parse(bytes);
  if (!program.ok())
    return Error{program.error().code, path + ": " + std::string(program.error().message)};
  return program;
}

}  // namespace tg::apps
