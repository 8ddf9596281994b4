// A grammar from outside: any text gives a grammar or one line saying why not. The first part of
// the input, up to a 0 byte, is the grammar, the rest text put to it.
#include <cstddef>
#include <string>

#include "grammar/fuzz_walk.h"
#include "grammar/gbnf.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  auto [grammar, text] = tg::grammar::testing::split_input(data, size);
  if (grammar.size() > 4096) return 0;
  tg::grammar::testing::walk(tg::grammar::parse_gbnf(grammar), text);
  return 0;
}
