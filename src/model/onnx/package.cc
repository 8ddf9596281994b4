#include "model/onnx/package.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "model/gguf/writer.h"
#include "model/onnx/genai_config.h"

namespace tg::onnx {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".onnx";

bool is_directory(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

fs::path folder_of(const std::string& path) {
  fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

// The folder's own name: the file is nearly always called model.onnx.
std::string name_of(const fs::path& folder) {
  std::error_code ignored;
  fs::path full = fs::canonical(folder, ignored);
  return full.filename().empty() ? "onnx" : full.filename().string();
}

}  // namespace

bool is_package(const std::string& path) {
  if (path.ends_with(kSuffix)) return !is_directory(path);
  std::error_code ignored;
  if (is_directory(path)) return fs::exists(fs::path(path) / kGenaiConfigFile, ignored);
  return fs::path(path).filename() == kGenaiConfigFile;
}

Result<Package> Package::open(const std::string& path, const model::ImportOptions& options) {
  Package out;
  out.directory_ = is_directory(path) ? path : folder_of(path).string();
  TG_ASSIGN(GenaiConfig config, read_genai_config(out.directory_));
  std::string file = path;
  if (!path.ends_with(kSuffix)) file = (fs::path(out.directory_) / config.model_file).string();
  TG_ASSIGN(model::OnnxModel model, model::open_onnx(file, config.context, options));
  out.model_.push_back(std::move(model));
  TG_TRY(out.make_file(config.architecture));
  return out;
}

// An initializer that is held in two forms has two names.
Status Package::make_file(const std::string& architecture) {
  gguf::Header header;
  header.set("general.architecture", architecture);
  header.set("general.name", name_of(directory_));
  TG_ASSIGN(header_, gguf::encode_header(header));
  TG_ASSIGN(gguf::File keys, gguf::File::parse(header_));
  std::set<std::string> taken;
  std::vector<gguf::Tensor> tensors;
  for (const model::OnnxBinding& binding : model_[0].bindings) {
    for (const model::OnnxTensor& tensor : binding.tensors) {
      std::string name = tensor.name;
      for (i64 n = 2; !taken.insert(name).second; ++n)
        name = fmt::format("{} ({})", tensor.name, n);
      names_.push_back(std::move(name));
      tensors.push_back({.name = names_.back(),
                         .codec = tensor.codec,
                         .dims = tensor.dims,
                         .bytes = tensor.bytes.size(),
                         .data = tensor.bytes});
    }
  }
  TG_ASSIGN(file_, gguf::File::with_tensors(std::move(keys), std::move(tensors)));
  return {};
}

model::Imported Package::imported() const {
  const model::OnnxModel& model = model_[0];
  model::Imported out{.program = model.program,
                      .text = model.text,
                      .bindings = {},
                      .vocabulary = model.vocabulary,
                      .context = model.context};
  const gguf::Tensor* next = file_.tensors().data();
  for (const model::OnnxBinding& binding : model.bindings) {
    model::Binding& bound = out.bindings.emplace_back();
    bound.symbol = binding.symbol;
    bound.is_layered = binding.is_layered;
    for (std::size_t i = 0; i < binding.tensors.size(); ++i) bound.tensors.push_back(next++);
  }
  return out;
}

}  // namespace tg::onnx
