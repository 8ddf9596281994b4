// ONNX files as onnxruntime-genai's model builder writes them → a verified program and its weights.
// The graph itself is read (graph.h), un-fused node by node (lower.h) and written as text
// (write.h); every importer ends in the same assembler and verifier.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "env/disk.h"
#include "isa/program.h"
#include "isa/weights.h"
#include "model/import.h"

namespace tg::model {

// One tensor behind a weight symbol.
struct OnnxTensor {
  std::string name;  // of the initializer
  isa::DType codec = isa::DType::kF32;
  std::vector<i64> dims;
  std::span<const u8> bytes;  // of a file or of a buffer below
};

struct OnnxBinding {
  std::string symbol;  // without the '$'
  bool is_layered = false;
  std::vector<OnnxTensor> tensors;  // by layer; one if not layered
};

struct OnnxModel {
  isa::VerifiedProgram program;
  std::string text;                   // of the program, as it was assembled
  std::vector<OnnxBinding> bindings;  // bindings[i] belongs to program().weights[i]
  i64 vocabulary = 0;                 // columns of the logits
  i64 context = 0;                    // tokens, as the source or the rotary tables state it
  // What differs from the file in more than form, one line each, e.g. weights that became f32.
  std::vector<std::string> notes;
  std::vector<std::vector<u8>> buffers;  // weights that are held in another form than the file's
  std::vector<MappedFile> files;         // what open_onnx mapped

  // Spans of `bindings`, in the form that backends take.
  isa::WeightTable weights() const;
};

struct OnnxSource {
  std::span<const u8> model;
  // Files that the model's initializers lie in, by the location it names.
  std::map<std::string, std::span<const u8>, std::less<>> external;
  i64 context = 0;  // tokens; 0: as many as the rotary tables have
};

// The model borrows the source's bytes. Errors are one line that begins with "onnx:" and names the
// node, tensor or field and its value.
Result<OnnxModel> import_onnx(const OnnxSource& source, const ImportOptions& options);

// Maps the file and those beside it that hold its data. `context` as in OnnxSource. Errors as
// above, kIo and kNotFound with the path of the file that cannot be read.
Result<OnnxModel> open_onnx(const std::string& path, i64 context, const ImportOptions& options);

}  // namespace tg::model
