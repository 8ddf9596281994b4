// Opening is parse, import, then the pieces that can be left empty.
#include "model/model.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include "model/huggingface/vocabulary.h"
#include "model/vocabulary.h"

namespace tg::model {
namespace {

Error in_file(const std::string& path, const Error& error) {
  return Error{error.code, path + ": " + error.message};
}

std::string manifest_line(const ManifestEntry& entry) {
  return fmt::format("{} {} {} {} {} {}\n", entry.symbol, entry.layer, isa::info(entry.codec).name,
                     gguf::dims_text(entry.dims), entry.bytes,
                     entry.sha256.has_value() ? to_hex(*entry.sha256) : "-");
}

}  // namespace

Digest manifest_digest(const std::vector<ManifestEntry>& manifest) {
  std::string text;
  for (const ManifestEntry& entry : manifest) text += manifest_line(entry);
  return sha256(text);
}

Result<Model::Source> Model::Source::open(const std::string& path, const ImportOptions& options) {
  Source out;
  if (onnx::is_package(path)) {
    Result<onnx::Package> package = onnx::Package::open(path, options);
    if (!package.ok()) return in_file(path, package.error());
    out.package_ = std::move(*package);
    return out;
  }
  if (checkpoint::is_checkpoint(path)) {
    Result<checkpoint::Checkpoint> checkpoint = checkpoint::Checkpoint::open(path);
    if (!checkpoint.ok()) return in_file(path, checkpoint.error());
    out.checkpoint_ = std::move(*checkpoint);
    return out;
  }
  TG_ASSIGN(out.mapped_, MappedFile::open(path));
  Result<gguf::File> file = gguf::File::parse(out.mapped_.bytes());
  if (!file.ok()) return in_file(path, file.error());
  out.file_ = std::move(*file);
  return out;
}

const gguf::File& Model::Source::file() const {
  if (package_) return package_->file();
  return checkpoint_ ? checkpoint_->file() : file_;
}

Result<Imported> Model::Source::read_program(const ImportOptions& options) const {
  if (package_) return package_->imported();
  return import_program(file(), options);
}

const std::string* Model::Source::directory() const {
  if (package_) return &package_->directory();
  return checkpoint_ ? &checkpoint_->directory() : nullptr;
}

Error Model::Source::explain(const Error& error) const {
  return checkpoint_ ? Error{error.code, checkpoint_->explain(error.message)} : error;
}

Result<std::unique_ptr<Model>> Model::open(const std::string& path, const ImportOptions& options) {
  TG_ASSIGN(Source source, Source::open(path, options));
  Result<Imported> imported = source.read_program(options);
  if (!imported.ok()) return in_file(path, source.explain(imported.error()));
  // Moving the file keeps its vector of tensors in place, so the bindings stay good.
  std::unique_ptr<Model> model(new Model(path, std::move(source), std::move(*imported)));
  model->fill_weights();
  if (Status status = model->read_identity(); !status.ok()) return in_file(path, status.error());
  if (Status status = model->read_vocabulary(); !status.ok()) return in_file(path, status.error());
  return model;
}

void Model::fill_weights() {
  if (!has_data()) return;
  for (const Binding& binding : imported_.bindings) {
    std::vector<std::span<const u8>>& layers = weights_.by_symbol.emplace_back();
    for (const gguf::Tensor* tensor : binding.tensors) layers.push_back(tensor->data);
  }
}

Status Model::read_identity() {
  const gguf::File& file = source_.file();
  TG_ASSIGN(std::optional<std::string_view> architecture, file.text("general.architecture"));
  TG_ASSIGN(std::optional<std::string_view> name, file.text("general.name"));
  architecture_ = architecture.value_or("");
  name_ = name.value_or("");
  if (name_.empty()) name_ = std::filesystem::path(path_).stem().string();
  return {};
}

Result<Vocab> Model::find_vocabulary() const {
  if (source_.directory() == nullptr) return read_vocab(source_.file());
  return checkpoint::read_vocabulary(*source_.directory(), imported_.vocabulary);
}

// A file without a known tokenizer still runs on token ids; one whose tokenizer is broken is
// broken.
Status Model::read_vocabulary() {
  Result<Vocab> vocab = find_vocabulary();
  if (!vocab.ok()) {
    bool is_absent =
        vocab.error().code == Code::kNotFound || vocab.error().code == Code::kUnsupported;
    if (!is_absent) return vocab.error();
    vocab_error_ = vocab.error();
    return {};
  }
  if (static_cast<i64>(vocab->tokens.size()) != imported_.vocabulary)
    return Error{Code::kCorrupt,
                 fmt::format("{}: the vocabulary has {} tokens, the model {}",
                             source_.directory() == nullptr ? "gguf" : "tokenizer.json",
                             vocab->tokens.size(), imported_.vocabulary)};
  vocab_ = std::move(*vocab);
  return {};
}

Status Model::check_runnable() const {
  if (has_data()) return {};
  return Error{Code::kUnavailable,
               fmt::format("{}: the file holds no tensor data ({}=true), so it can be costed but "
                           "not run",
                           path_, gguf::kNoDataKey)};
}

Status Model::check_vocab() const {
  if (!vocab_error_.has_value()) return {};
  return in_file(path_, *vocab_error_);
}

i64 Model::parameter_count() const {
  i64 count = 0;
  for (const ManifestEntry& entry : manifest()) {
    i64 elements = 1;
    for (i64 dim : entry.dims) elements *= dim;
    count += elements;
  }
  return count;
}

std::vector<ManifestEntry> Model::manifest() const {
  std::vector<ManifestEntry> out;
  for (const Binding& binding : imported_.bindings) {
    for (std::size_t i = 0; i < binding.tensors.size(); ++i) {
      const gguf::Tensor& tensor = *binding.tensors[i];
      out.push_back({.symbol = binding.symbol,
                     .layer = binding.is_layered ? static_cast<i32>(i) : -1,
                     .tensor = std::string(tensor.name),
                     .codec = tensor.codec,
                     .dims = tensor.dims,
                     .bytes = tensor.bytes});
    }
  }
  return out;
}

Result<std::vector<ManifestEntry>> Model::manifest_with_hashes() const {
  TG_TRY(check_runnable());
  std::vector<ManifestEntry> out = manifest();
  std::vector<ManifestEntry>::iterator entry = out.begin();
  for (const Binding& binding : imported_.bindings)
    for (const gguf::Tensor* tensor : binding.tensors) (entry++)->sha256 = sha256(tensor->data);
  return out;
}

std::vector<std::string> Model::unused_tensors() const {
  // Folded into the program.
  std::set<std::string_view> used = {"rope_freqs.weight", "rope_factors_short.weight",
                                     "rope_factors_long.weight"};
  for (const Binding& binding : imported_.bindings)
    for (const gguf::Tensor* tensor : binding.tensors) used.insert(tensor->name);
  std::vector<std::string> out;
  for (const gguf::Tensor& tensor : source_.file().tensors())
    if (!used.contains(tensor.name)) out.emplace_back(tensor.name);
  if (const checkpoint::Checkpoint* checkpoint = source_.checkpoint())
    out.insert(out.end(), checkpoint->unused().begin(), checkpoint->unused().end());
  return out;
}

}  // namespace tg::model
