// An ONNX model as it lies on disk, opened as if it were the GGUF file of its tensors, so that what
// serves the one serves the other: the program, the weights by name, and the folder that the
// tokenizer is in.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/gguf/reader.h"
#include "model/import.h"
#include "model/onnx/import.h"

namespace tg::onnx {

// True for *.onnx, genai_config.json and a directory with that file in it.
bool is_package(const std::string& path);

class Package {
 public:
  // Errors are one line without the path.
  static Result<Package> open(const std::string& path, const model::ImportOptions& options);

  // The tensors behind the program's weights, in its order, and general.architecture and .name.
  // Borrows this object, which must outlive it; moving this object keeps it good.
  const gguf::File& file() const { return file_; }
  const std::string& directory() const { return directory_; }
  // As OnnxModel's.
  const std::vector<std::string>& notes() const { return model_[0].notes; }
  // The program, its bindings tensors of file(). Made anew at each call.
  model::Imported imported() const;

 private:
  Status make_file(const std::string& architecture);

  std::string directory_;
  std::vector<model::OnnxModel> model_;  // one
  std::vector<u8> header_;               // metadata, encoded as GGUF
  std::deque<std::string> names_;        // of tensors, each once
  gguf::File file_;                      // borrows the above
};

}  // namespace tg::onnx
