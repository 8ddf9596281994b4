// A Hugging Face model directory (config.json, model.safetensors or shards) opened as if it were
// the GGUF file of the same model, so that one program template per architecture serves both.
// Weights stay where they are mapped wherever their bytes are the canonical ones.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/gguf/reader.h"
#include "model/huggingface/families.h"
#include "model/safetensors/shards.h"

namespace tg::checkpoint {

// True for a directory, a file named config.json and any *.safetensors file.
bool is_checkpoint(const std::string& path);

class Checkpoint {
 public:
  // `path` is the directory or a file in it; a *.safetensors file that no index names is read
  // alone. A config.json that is named itself and has no weights beside it describes them
  // (outline.h): the file then has no data. Errors are one line without the path: kNotFound,
  // kInvalid, kCorrupt, kLimit, kUnsupported, kIo.
  static Result<Checkpoint> open(const std::string& path);

  // Borrows this object, which must outlive it; moving this object keeps it good.
  const gguf::File& file() const { return file_; }
  const std::string& directory() const { return directory_; }
  // The message with a stored tensor's or key's own name behind the GGUF name that it quotes, as
  // far as the family's tables tell.
  std::string explain(const std::string& message) const;
  // Names of stored tensors that the family does not know, sorted.
  const std::vector<std::string>& unused() const { return unused_; }

 private:
  std::string directory_;
  const Family* family_ = nullptr;
  safetensors::Shards shards_;
  std::vector<u8> header_;               // metadata, encoded as GGUF
  std::deque<std::string> names_;        // of tensors
  std::deque<std::vector<u8>> derived_;  // tensors' bytes that are nowhere in a file
  gguf::File file_;
  std::vector<std::string> unused_;
};

}  // namespace tg::checkpoint
