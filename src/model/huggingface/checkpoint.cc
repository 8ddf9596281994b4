// config.json decides the family, the family's tables do the rest.
#include "model/huggingface/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/bytes.h"
#include "model/huggingface/config.h"
#include "model/huggingface/metadata.h"
#include "model/huggingface/names.h"
#include "model/huggingface/numbers.h"
#include "model/huggingface/outline.h"
#include "model/huggingface/translate.h"

namespace tg::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTensorSuffix = ".safetensors";
constexpr std::string_view kPoolingFile = "1_Pooling/config.json";

// The modes that the template has, by the numbers of GGUF's pooling_type.
constexpr std::pair<std::string_view, u32> kPoolingModes[] = {
    {"pooling_mode_mean_tokens", 1},
    {"pooling_mode_cls_token", 2},
    {"pooling_mode_lasttoken", 3},
};

struct Location {
  fs::path directory;
  bool is_config = false;  // config.json itself was named
  std::string file = std::string(safetensors::kSingleFile);
};

Location locate(const std::string& path) {
  std::error_code ignored;
  fs::path given(path);
  if (fs::is_directory(given, ignored)) return {.directory = given};
  Location out{.directory = given.has_parent_path() ? given.parent_path() : fs::path(".")};
  if (path.ends_with(kTensorSuffix)) out.file = given.filename().string();
  out.is_config = given.filename() == kConfigFile;
  return out;
}

// The directory's own name; in a cache of downloads, whose directories are named for revisions,
// the model's: models--<owner>--<model>/snapshots/<revision>.
std::string model_name(const fs::path& directory) {
  std::error_code ignored;
  fs::path full = fs::canonical(directory, ignored);
  if (full.parent_path().filename() != "snapshots") return full.filename().string();
  std::string cached = full.parent_path().parent_path().filename().string();
  std::size_t mark = cached.rfind("--");
  return mark == std::string::npos ? cached : cached.substr(mark + 2);
}

std::optional<u32> pooling_number(std::string_view mode) {
  for (const std::pair<std::string_view, u32>& entry : kPoolingModes)
    if (entry.first == mode) return entry.second;
  return std::nullopt;
}

// How an encoder's vectors become one is said beside the model; where nothing is said it is their
// mean.
Status write_pooling(const fs::path& directory, const Family& family, gguf::Header& out) {
  std::error_code ignored;
  if (!family.is_encoder || !fs::exists(directory / kPoolingFile, ignored)) return {};
  TG_ASSIGN(Json json, read_object_file(directory.string(), kPoolingFile));
  Config config(json, kPoolingFile);
  std::optional<u32> found;
  for (const JsonMember& member : json.members) {
    if (!member.name.starts_with("pooling_mode_")) continue;
    TG_ASSIGN(bool is_set, config.boolean(member.name));
    if (!is_set) continue;
    std::optional<u32> number = pooling_number(member.name);
    if (!number.has_value() || found.has_value()) return config.unsupported(member.name);
    found = number;
  }
  if (!found.has_value()) return config.unsupported("pooling_mode");
  out.set(fmt::format("{}.pooling_type", family.gguf), *found);
  return {};
}

NamedTensor table_tensor(const std::pair<std::string, std::vector<f32>>& table) {
  NamedTensor out{.name = table.first};
  out.stored.dims = {static_cast<i64>(table.second.size())};
  out.stored.owned.resize(4 * table.second.size());
  for (std::size_t i = 0; i < table.second.size(); ++i)
    put_float(out.stored.owned.data() + 4 * i, table.second[i]);
  return out;
}

bool has_tensors(const fs::path& directory) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored))
    if (entry.path().string().ends_with(kTensorSuffix)) return true;
  return false;
}

// A configuration without its weights: everything but the data.
Result<std::vector<NamedTensor>> outline_tensors(const Config& config, const Family& family,
                                                 Metadata& metadata) {
  TG_ASSIGN(std::vector<gguf::TensorDecl> decls, outline(config, family, metadata));
  metadata.header.set(gguf::kNoDataKey, true);
  std::vector<NamedTensor> out;
  for (gguf::TensorDecl& decl : decls)
    out.push_back({.name = std::move(decl.name),
                   .stored = {.codec = decl.codec, .dims = std::move(decl.dims)}});
  return out;
}

}  // namespace

bool is_checkpoint(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) || path.ends_with(kTensorSuffix) ||
         fs::path(path).filename() == kConfigFile;
}

Result<Checkpoint> Checkpoint::open(const std::string& path) {
  Checkpoint out;
  Location location = locate(path);
  out.directory_ = location.directory.string();
  TG_ASSIGN(Json json, read_object_file(out.directory_, kConfigFile));
  Config config(json, kConfigFile);
  TG_ASSIGN(out.family_, find_family(config));
  const Family& family = *out.family_;
  TG_ASSIGN(Metadata metadata, write_metadata(config, family, model_name(location.directory)));
  TG_TRY(write_pooling(location.directory, family, metadata.header));
  Translation translation;
  if (location.is_config && !has_tensors(location.directory)) {
    TG_ASSIGN(translation.tensors, outline_tensors(config, family, metadata));
  } else {
    TG_ASSIGN(out.shards_, safetensors::Shards::open(out.directory_, location.file));
    TG_ASSIGN(translation, translate(config, family, out.shards_.tensors()));
  }
  for (const std::pair<std::string, std::vector<f32>>& table : metadata.tables)
    translation.tensors.push_back(table_tensor(table));
  std::vector<gguf::Tensor> tensors;
  for (NamedTensor& tensor : translation.tensors) {
    std::span<const u8> bytes = tensor.stored.bytes;
    if (!tensor.stored.owned.empty())
      bytes = out.derived_.emplace_back(std::move(tensor.stored.owned));
    tensors.push_back({.name = out.names_.emplace_back(std::move(tensor.name)),
                       .codec = tensor.stored.codec,
                       .dims = std::move(tensor.stored.dims),
                       .data = bytes});
  }
  TG_ASSIGN(out.header_, gguf::encode_header(metadata.header));
  TG_ASSIGN(gguf::File keys, gguf::File::parse(out.header_));
  TG_ASSIGN(out.file_, gguf::File::with_tensors(std::move(keys), std::move(tensors)));
  out.unused_ = std::move(translation.unused);
  std::sort(out.unused_.begin(), out.unused_.end());
  return out;
}

std::string Checkpoint::explain(const std::string& message) const {
  TG_ASSERT(family_ != nullptr);
  std::size_t open = message.find('\'');
  std::size_t close = message.find('\'', open + 1);
  if (open == std::string::npos || close == std::string::npos) return message;
  std::string stored = stored_name(*family_, message.substr(open + 1, close - open - 1));
  return stored.empty() ? message : fmt::format("{} (stored as {})", message, stored);
}

}  // namespace tg::checkpoint
