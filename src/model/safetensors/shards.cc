// An index is read first and believed only as far as the files bear it out.
#include "model/safetensors/shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "model/gguf/format.h"
#include "model/safetensors/header.h"

namespace tg::safetensors {
namespace {

using gguf::quote;

constexpr std::size_t kFileNameBytesMax = 255;
constexpr std::string_view kSuffix = ".safetensors";

Error in_file(std::string_view file, const Error& error) {
  return Error{error.code, fmt::format("{}: {}", file, error.message)};
}

Error corrupt_index(std::string message) {
  return Error{Code::kCorrupt, fmt::format("{}: {}", kIndexFile, message)};
}

// A plain name: letters, digits and "._-", so that no separator, parent or device can be meant.
bool is_shard_name(std::string_view name) {
  auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return name.size() > kSuffix.size() && name.size() <= kFileNameBytesMax && name[0] != '.' &&
         name.ends_with(kSuffix) && std::all_of(name.begin(), name.end(), is_plain);
}

}  // namespace

Result<const File*> Shards::add(const std::string& directory, std::string_view file) {
  std::string path = (std::filesystem::path(directory) / file).string();
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return Error{Code::kNotFound, fmt::format("{} is missing", file)};
  Result<MappedFile> mapped = MappedFile::open(path);
  if (!mapped.ok()) return mapped.error();
  Result<File> parsed = File::parse(mapped->bytes());
  if (!parsed.ok()) return in_file(file, parsed.error());
  shards_.push_back(std::make_unique<Shard>(Shard{std::move(*mapped), std::move(*parsed)}));
  return &shards_.back()->file;
}

Status Shards::add_index(const std::string& directory) {
  std::string path = (std::filesystem::path(directory) / kIndexFile).string();
  TG_ASSIGN(std::string json, read_file(path, kIndexBytesMax));
  using Entry = std::pair<std::string, std::string>;
  TG_ASSIGN(std::vector<Entry> entries, read_index(json));
  std::map<std::string_view, const File*> files;
  for (const Entry& entry : entries) {
    if (!is_shard_name(entry.second))
      return corrupt_index(fmt::format("tensor {} is in {}, which is not a plain file name",
                                       quote(entry.first), quote(entry.second)));
    const File*& file = files[entry.second];
    if (file == nullptr && files.size() > kShardsMax)
      return Error{Code::kLimit, fmt::format("{}: more than {} files", kIndexFile, kShardsMax)};
    if (file == nullptr) {
      TG_ASSIGN(file, add(directory, entry.second));
    }
    const Tensor* tensor = file->find(entry.first);
    if (tensor == nullptr)
      return corrupt_index(fmt::format("tensor {} is not in {}", quote(entry.first), entry.second));
    if (!tensors_.emplace(tensor->name, tensor).second)
      return corrupt_index("tensor " + quote(entry.first) + " appears twice");
  }
  return {};
}

Result<Shards> Shards::open(const std::string& directory, std::string_view file) {
  Shards shards;
  std::error_code ignored;
  if (std::filesystem::exists(std::filesystem::path(directory) / kIndexFile, ignored)) {
    TG_TRY(shards.add_index(directory));
    return shards;
  }
  TG_ASSIGN(const File* only, shards.add(directory, file));
  for (const Tensor& tensor : only->tensors()) shards.tensors_.emplace(tensor.name, &tensor);
  return shards;
}

const Tensor* Shards::find(std::string_view name) const {
  std::map<std::string_view, const Tensor*>::const_iterator found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

}  // namespace tg::safetensors
