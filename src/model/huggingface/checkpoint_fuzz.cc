// Any config.json and any tensors give an error or a model: the first two bytes are the length of
// the configuration, the rest is a safetensors file. What is translated must make a GGUF file.
#include "base/bytes.h"
#include "model/gguf/writer.h"
#include "model/huggingface/config.h"
#include "model/huggingface/metadata.h"
#include "model/huggingface/translate.h"
#include "model/import.h"
#include "model/safetensors/reader.h"

namespace tg::checkpoint {
namespace {

Status run(std::span<const u8> bytes) {
  Reader in(bytes, "input");
  TG_ASSIGN(u16 length, in.u16_le());
  TG_ASSIGN(std::span<const u8> text, in.bytes(length));
  TG_ASSIGN(Json json, parse_json(as_text(text)));
  if (json.kind != Json::Kind::kObject) return {};
  Config config(json, kConfigFile);
  TG_ASSIGN(const Family* family, find_family(config));
  TG_ASSIGN(Metadata metadata, write_metadata(config, *family, "fuzz"));
  TG_ASSIGN(std::vector<u8> header, gguf::encode_header(metadata.header));
  TG_ASSIGN(gguf::File keys, gguf::File::parse(header));
  TG_ASSIGN(safetensors::File file, safetensors::File::parse(bytes.subspan(in.offset())));
  std::map<std::string_view, const safetensors::Tensor*> stored;
  for (const safetensors::Tensor& tensor : file.tensors()) stored.emplace(tensor.name, &tensor);
  TG_ASSIGN(Translation translation, translate(config, *family, stored));
  std::vector<gguf::Tensor> tensors;
  for (const NamedTensor& tensor : translation.tensors)
    tensors.push_back({.name = tensor.name,
                       .codec = tensor.stored.codec,
                       .dims = tensor.stored.dims,
                       .data = tensor.stored.bytes});
  TG_ASSIGN(gguf::File whole, gguf::File::with_tensors(std::move(keys), std::move(tensors)));
  TG_ASSIGN(model::Imported imported, model::import_program(whole, {}));
  TG_ASSERT(!imported.bindings.empty());
  return {};
}

}  // namespace
}  // namespace tg::checkpoint

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  tg::Status status = tg::checkpoint::run({data, size});
  TG_ASSERT(status.ok() || !status.error().message.empty());
  return 0;
}
