// Any bytes as a form: its first line is the content type. Parts lie within the body.
#include "base/assert.h"
#include "gateway/batch/multipart.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace tg::gateway;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::size_t line = std::min(text.find('\n'), text.size());
  std::string_view body = text.substr(std::min(line + 1, text.size()));
  tg::Result<std::vector<FormPart>> parts = parse_form(text.substr(0, line), body);
  if (!parts.ok()) return 0;
  TG_ASSERT(parts->size() <= kFormPartsMax);
  for (const FormPart& part : *parts) {
    TG_ASSERT(!part.name.empty());
    TG_ASSERT(part.content.data() >= body.data());
    TG_ASSERT(part.content.data() + part.content.size() <= body.data() + body.size());
  }
  return 0;
}
