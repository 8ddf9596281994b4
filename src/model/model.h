// Model: one model, opened from a GGUF file, a Hugging Face directory or an ONNX file. What the
// rest of the system takes from it is a verified program, a table of weights (mapped wherever the
// stored bytes are the canonical ones) and a vocabulary; nobody above knows the file format.
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
#include "model/huggingface/checkpoint.h"
#include "model/import.h"
#include "model/onnx/package.h"
#include "text/vocab.h"

namespace tg::model {

// One tensor of the program's weights.
struct ManifestEntry {
  std::string symbol;  // without the '$'
  i32 layer = -1;      // -1: the symbol has no layers
  std::string tensor;  // its name in the file, or the one that a GGUF file would have
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
  // Maps and imports a GGUF file; a Hugging Face directory, also by its config.json or one of its
  // *.safetensors files; or an ONNX file of onnxruntime-genai's, also by its directory. Errors
  // begin with the path and are one line.
  static Result<std::unique_ptr<Model>> open(const std::string& path, const ImportOptions& options);

  const isa::VerifiedProgram& program() const { return imported_.program; }
  // Spans of mapped files and of tensors derived from them, in the order of
  // program().program().weights. Empty if !has_data().
  const isa::WeightTable& weights() const { return weights_; }
  // False if the file only describes its tensors: the program can be costed, not run.
  bool has_data() const { return source_.file().has_data(); }
  // kUnavailable if the model cannot be run because the file holds no data.
  Status check_runnable() const;

  // Gives the memory of weights that were read back, as far as it is a mapped GGUF file's; the
  // spans stay good. For who has packed them elsewhere.
  void release_weights() const { source_.release(); }

  // Empty if the file carries no tokenizer that we know; check_vocab() then says why.
  const Vocab& vocab() const { return vocab_; }
  Status check_vocab() const;

  const std::string& path() const { return path_; }
  // general.name, or the file's or directory's name.
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
  // Names of tensors in the file that the program does not use, in the file's order; for a
  // directory those that its family does not know come behind, under their stored names.
  std::vector<std::string> unused_tensors() const;

 private:
  // What was opened, in either form. Moving it keeps all that borrows from it good.
  class Source {
   public:
    static Result<Source> open(const std::string& path, const ImportOptions& options);
    const gguf::File& file() const;
    Result<Imported> read_program(const ImportOptions& options) const;
    // The error in the words of what was opened.
    Error explain(const Error& error) const;
    const checkpoint::Checkpoint* checkpoint() const {
      return checkpoint_ ? &*checkpoint_ : nullptr;
    }
    void release() const { mapped_.release(); }
    // Where the tokenizer's files are; nullptr if the file carries the vocabulary itself.
    const std::string* directory() const;

   private:
    MappedFile mapped_;
    gguf::File file_;  // borrows mapped_
    std::optional<checkpoint::Checkpoint> checkpoint_;
    std::optional<onnx::Package> package_;
  };

  Model(std::string path, Source source, Imported imported)
      : path_(std::move(path)), source_(std::move(source)), imported_(std::move(imported)) {}
  void fill_weights();
  Status read_identity();
  Result<Vocab> find_vocabulary() const;
  Status read_vocabulary();

  std::string path_;
  Source source_;
  Imported imported_;  // borrows source_
  isa::WeightTable weights_;
  Vocab vocab_;
  std::optional<Error> vocab_error_;
  std::string name_;
  std::string architecture_;
};

}  // namespace tg::model
