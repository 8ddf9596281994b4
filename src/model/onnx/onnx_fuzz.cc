// Any bytes give an error or a model: the wire format, the graph, lowering, writing and the
// verifier behind them. External data is the input itself.
#include "model/onnx/graph.h"
#include "model/onnx/import.h"

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  tg::model::OnnxSource source{.model = {data, size}, .external = {}};
  tg::Result<tg::onnx::File> file = tg::onnx::File::parse(source.model);
  if (!file.ok()) return 0;
  for (const std::string& location : file->external_locations())
    source.external[location] = source.model;
  tg::Result<tg::model::OnnxModel> model = tg::model::import_onnx(source, {});
  TG_ASSERT(!model.ok() || model->bindings.size() == model->program.program().weights.size());
  TG_ASSERT(model.ok() || model.error().message.find('\n') == std::string::npos);
  return 0;
}
