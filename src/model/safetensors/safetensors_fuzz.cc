// Any bytes give an error or a file whose tensors lie inside the bytes; the same bytes as the JSON
// of an index.
#include "base/bytes.h"
#include "model/safetensors/header.h"
#include "model/safetensors/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  std::span<const tg::u8> bytes(data, size);
  tg::Result<tg::safetensors::File> file = tg::safetensors::File::parse(bytes);
  if (file.ok()) {
    for (const tg::safetensors::Tensor& tensor : file->tensors()) {
      TG_ASSERT(tensor.data.empty() || (tensor.data.data() >= data &&
                                        tensor.data.data() + tensor.data.size() <= data + size));
      TG_ASSERT(file->find(tensor.name) == &tensor);
    }
  }
  using Entry = std::pair<std::string, std::string>;
  tg::Result<std::vector<Entry>> index = tg::safetensors::read_index(tg::as_text(bytes));
  TG_ASSERT(!index.ok() || index->size() <= tg::safetensors::kTensorsMax);
  return 0;
}
