#include "model/onnx/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "isa/assemble.h"
#include "model/onnx/graph.h"
#include "model/onnx/lower.h"
#include "model/onnx/weights.h"
#include "model/onnx/write.h"

namespace tg::model {
namespace {

// Every id that a row of logits can give must have a row of the embedding.
Status check_vocabulary(const onnx::Draft& draft, const std::vector<onnx::Weight>& weights) {
  i64 vocabulary = draft.widths[static_cast<std::size_t>(draft.logits)];
  for (const onnx::Step& step : draft.steps) {
    if (!step.is("embed")) continue;
    i64 rows = weights[static_cast<std::size_t>(step.in[0].index)].dims[0];
    if (rows < vocabulary)
      return Error{Code::kInvalid,
                   fmt::format("onnx: logits of {} ids, the embedding has {}", vocabulary, rows)};
  }
  return {};
}

Result<i64> choose_context(const onnx::Draft& draft, const OnnxSource& source,
                           const ImportOptions& options) {
  for (i64 context : {source.context, draft.positions_max, options.bounds.context})
    if (context > 0) return context;
  return Error{Code::kNotFound,
               "onnx: neither genai_config.json nor a rotary table says how long a context is"};
}

Result<isa::VerifiedProgram> make_program(const std::string& text) {
  Result<isa::Program> program = isa::assemble(text);
  if (!program.ok())
    return Error{program.error().code,
                 "onnx: program does not assemble: " + program.error().message};
  Result<isa::VerifiedProgram> verified = isa::verify(std::move(*program));
  if (!verified.ok())
    return Error{verified.error().code,
                 "onnx: program does not verify: " + verified.error().message};
  return verified;
}

OnnxBinding bind(const onnx::Symbol& symbol, const std::vector<onnx::Weight>& weights) {
  OnnxBinding out{.symbol = symbol.name, .is_layered = symbol.is_layered};
  for (i32 index : symbol.weights) {
    const onnx::Weight& w = weights[static_cast<std::size_t>(index)];
    out.tensors.push_back({.name = w.source, .codec = w.codec, .dims = w.dims, .bytes = w.bytes});
  }
  return out;
}

// In the order of the program's weights, whatever order it keeps.
std::vector<OnnxBinding> bind_all(const std::vector<onnx::Symbol>& symbols,
                                  const std::vector<onnx::Weight>& weights,
                                  const isa::Program& program) {
  std::vector<OnnxBinding> out;
  for (const isa::WeightDecl& decl : program.weights) {
    std::vector<onnx::Symbol>::const_iterator found =
        std::find_if(symbols.begin(), symbols.end(),
                     [&](const onnx::Symbol& symbol) { return symbol.name == decl.name; });
    TG_ASSERT(found != symbols.end());
    TG_ASSERT(found->weights.size() == std::max<u32>(decl.layers, 1));
    out.push_back(bind(*found, weights));
  }
  return out;
}

Result<OnnxModel> import_file(onnx::File& file, const OnnxSource& source,
                              const ImportOptions& options) {
  TG_TRY(file.attach(source.external));
  u64 bytes = source.model.size();
  for (const auto& entry : source.external) bytes += entry.second.size();
  onnx::WeightStore store(bytes);
  TG_ASSIGN(onnx::Draft draft, onnx::lower(file, store));
  TG_TRY(check_vocabulary(draft, store.all()));
  TG_ASSIGN(i64 context, choose_context(draft, source, options));
  i64 vocabulary = draft.widths[static_cast<std::size_t>(draft.logits)];
  i64 bound = options.bounds.context > 0 ? options.bounds.context : context;
  TG_ASSIGN(onnx::Written written, onnx::write(std::move(draft), store.all(), options, bound));
  TG_ASSIGN(isa::VerifiedProgram program, make_program(written.text));
  std::vector<OnnxBinding> bindings = bind_all(written.symbols, store.all(), program.program());
  return OnnxModel{.program = std::move(program),
                   .text = std::move(written.text),
                   .bindings = std::move(bindings),
                   .vocabulary = vocabulary,
                   .context = context,
                   .notes = store.notes(),
                   .buffers = store.take_buffers(),
                   .files = {}};
}

}  // namespace

isa::WeightTable OnnxModel::weights() const {
  isa::WeightTable out;
  for (const OnnxBinding& binding : bindings) {
    std::vector<std::span<const u8>>& layers = out.by_symbol.emplace_back();
    for (const OnnxTensor& tensor : binding.tensors) layers.push_back(tensor.bytes);
  }
  return out;
}

Result<OnnxModel> import_onnx(const OnnxSource& source, const ImportOptions& options) {
  TG_ASSIGN(onnx::File file, onnx::File::parse(source.model));
  return import_file(file, source, options);
}

Result<OnnxModel> open_onnx(const std::string& path, i64 context, const ImportOptions& options) {
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::vector<MappedFile> files;
  TG_ASSIGN(MappedFile mapped, MappedFile::open(path));
  files.push_back(std::move(mapped));
  OnnxSource source{.model = files[0].bytes(), .external = {}, .context = context};
  TG_ASSIGN(onnx::File file, onnx::File::parse(source.model));
  for (const std::string& location : file.external_locations()) {
    TG_ASSIGN(MappedFile data, MappedFile::open((folder / location).string()));
    source.external[location] = data.bytes();
    files.push_back(std::move(data));
  }
  TG_ASSIGN(OnnxModel model, import_file(file, source, options));
  model.files = std::move(files);
  return model;
}

}  // namespace tg::model
