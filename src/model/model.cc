// Opening is parse, import, then the pieces that can be left empty.
#include "model/model.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>

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

Result<std::unique_ptr<Model>> Model::open(const std::string& path, const ImportOptions& options) {
  TG_ASSIGN(MappedFile mapped, MappedFile::open(path));
  Result<gguf::File> file = gguf::File::parse(mapped.bytes());
  if (!file.ok()) return in_file(path, file.error());
  Result<Imported> imported = import_program(*file, options);
  if (!imported.ok()) return in_file(path, imported.error());
  // Moving the file keeps its vector of tensors in place, so the bindings stay good.
  std::unique_ptr<Model> model(
      new Model(path, std::move(mapped), std::move(*file), std::move(*imported)));
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
  TG_ASSIGN(std::optional<std::string_view> architecture, file_.text("general.architecture"));
  TG_ASSIGN(std::optional<std::string_view> name, file_.text("general.name"));
  architecture_ = architecture.value_or("");
  name_ = name.value_or("");
  if (name_.empty()) name_ = std::filesystem::path(path_).stem().string();
  return {};
}

// A file without a known tokenizer still runs on token ids; one whose tokenizer is broken is
// broken.
Status Model::read_vocabulary() {
  Result<Vocab> vocab = read_vocab(file_);
  if (!vocab.ok()) {
    bool is_absent =
        vocab.error().code == Code::kNotFound || vocab.error().code == Code::kUnsupported;
    if (!is_absent) return vocab.error();
    vocab_error_ = vocab.error();
    return {};
  }
  if (static_cast<i64>(vocab->tokens.size()) != imported_.vocabulary)
    return Error{Code::kCorrupt, fmt::format("gguf: the vocabulary has {} tokens, the model {}",
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
  for (ManifestEntry& entry : out) entry.sha256 = sha256(file_.find_tensor(entry.tensor)->data);
  return out;
}

std::vector<std::string> Model::unused_tensors() const {
  std::set<std::string_view> used = {"rope_freqs.weight"};  // folded into the program
  for (const Binding& binding : imported_.bindings)
    for (const gguf::Tensor* tensor : binding.tensors) used.insert(tensor->name);
  std::vector<std::string> out;
  for (const gguf::Tensor& tensor : file_.tensors())
    if (!used.contains(tensor.name)) out.emplace_back(tensor.name);
  return out;
}

}  // namespace tg::model
