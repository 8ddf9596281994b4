// Any bytes give an error or a model: the reader, the vocabulary and the importer behind it.
#include "model/gguf/reader.h"
#include "model/import.h"
#include "model/vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  tg::Result<tg::gguf::File> file = tg::gguf::File::parse({data, size});
  if (!file.ok()) return 0;
  tg::Result<tg::Vocab> vocab = tg::model::read_vocab(*file);
  tg::Result<tg::model::Imported> imported = tg::model::import_program(*file, {});
  TG_ASSERT(!vocab.ok() || !vocab->tokens.empty());
  TG_ASSERT(!imported.ok() || !imported->bindings.empty());
  return 0;
}
