// A schema is outside input: any text gives a grammar or one line saying why not, and then a
// machine that any bytes can be put to. The first part of the input, up to a 0 byte, is the schema.
#include <cstddef>
#include <string>

#include "grammar/fuzz_walk.h"
#include "grammar/json_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  auto [schema, text] = tg::grammar::testing::split_input(data, size);
  if (schema.size() > 4096) return 0;
  tg::grammar::testing::walk(tg::grammar::parse_json_schema(schema, {}), text);
  return 0;
}
