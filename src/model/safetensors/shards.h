// The tensors of a model directory, whether they are in one safetensors file or, by an index, in
// many. Each file is mapped once; nothing is copied.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "env/disk.h"
#include "model/safetensors/reader.h"

namespace tg::safetensors {

inline constexpr std::string_view kSingleFile = "model.safetensors";
inline constexpr std::string_view kIndexFile = "model.safetensors.index.json";

class Shards {
 public:
  // What the directory's index names, all of which must be there; without an index every tensor of
  // `file`. An index must name files of this directory by their plain names. Errors name the file,
  // not the directory: kNotFound, kCorrupt, kLimit, kIo.
  static Result<Shards> open(const std::string& directory, std::string_view file = kSingleFile);

  // By name. The tensors live as long as this object, also when it is moved.
  const std::map<std::string_view, const Tensor*>& tensors() const { return tensors_; }
  const Tensor* find(std::string_view name) const;
  std::size_t file_count() const { return shards_.size(); }

 private:
  struct Shard {
    MappedFile mapped;
    File file;  // borrows mapped
  };

  Result<const File*> add(const std::string& directory, std::string_view file);
  Status add_index(const std::string& directory);

  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string_view, const Tensor*> tensors_;
};

}  // namespace tg::safetensors
