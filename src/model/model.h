// Model: one model file, opened. What the rest of the system takes from it is a verified program, a
// table of weights (mapped, never copied) and a vocabulary; nobody above knows the file format.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "env/disk.h"
#include "isa/program.h"
#include "isa/weights.h"
#include "model/import.h"
#include "text/vocab.h"

namespace tg::model {

// One tensor of the program's weights.
struct ManifestEntry {
  std::string symbol;  // without the '$'
  i32 layer = -1;      // -1: the symbol has no layers
  std::string tensor;  // its name in the file
  isa::DType codec = isa::DType::kF32;
  std::vector<i64> dims;  // outermost first
  u64 bytes = 0;
  std::optional<Digest> sha256;  // of the canonical bytes; only when asked for
};

// SHA-256 of the manifest's text, one line per entry (symbol, layer, codec, dims, bytes, sha256 or
// '-'). With hashes it names the weights; without, their shapes.
Digest manifest_digest(const std::vector<ManifestEntry>& manifest);

class Model {
 public:
  // Maps and imports the file. Errors begin with the path and are one line.
  static Result<std::unique_ptr<Model>> open(const std::string& path, const ImportOptions& options);

  const isa::VerifiedProgram& program() const { return imported_.program; }
  // Spans of the mapped file, in the order of program().program().weights. Empty if !has_data().
  const isa::WeightTable& weights() const { return weights_; }
  // False if the file only describes its tensors: the program can be costed, not run.
  bool has_data() const { return file_.has_data(); }
  // kUnavailable if the model cannot be run because the file holds no data.
  Status check_runnable() const;

  // Empty if the file carries no tokenizer that we know; check_vocab() then says why.
  const Vocab& vocab() const { return vocab_; }
  Status check_vocab() const;

  const std::string& path() const { return path_; }
  // general.name, or the file's name.
  const std::string& name() const { return name_; }
  // general.architecture
  const std::string& architecture() const { return architecture_; }
  // Tokens, as the file states it; the program's own bound may differ by ImportOptions.
  i64 context_length() const { return imported_.context; }
  // Elements of all tensors that the program uses.
  i64 parameter_count() const;

  // Every tensor that the program uses, without hashes.
  std::vector<ManifestEntry> manifest() const;
  // With hashes: reads every byte of the weights. As check_runnable if there are none.
  Result<std::vector<ManifestEntry>> manifest_with_hashes() const;
  // Names of tensors in the file that the program does not use, in the file's order.
  std::vector<std::string> unused_tensors() const;

 private:
  Model(std::string path, MappedFile mapped, gguf::File file, Imported imported)
      : path_(std::move(path)),
        mapped_(std::move(mapped)),
        file_(std::move(file)),
        imported_(std::move(imported)) {}
  void fill_weights();
  Status read_identity();
  Status read_vocabulary();

  std::string path_;
  MappedFile mapped_;
  gguf::File file_;    // borrows mapped_
  Imported imported_;  // borrows file_
  isa::WeightTable weights_;
  Vocab vocab_;
  std::optional<Error> vocab_error_;
  std::string name_;
  std::string architecture_;
};

}  // namespace tg::model
