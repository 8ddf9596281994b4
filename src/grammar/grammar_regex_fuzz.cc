// An expression from outside, whole and as a schema's pattern. The first part of the input, up to a
// 0 byte, is the expression, the rest text put to it.
#include <cstddef>
#include <string>

#include "grammar/fuzz_walk.h"
#include "grammar/regex.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using tg::grammar::Grammar;
  auto [pattern, text] = tg::grammar::testing::split_input(data, size);
  if (pattern.size() > 1024) return 0;
  tg::grammar::testing::walk(tg::grammar::parse_regex(pattern), text);
  Grammar grammar;
  tg::Result<tg::i32> expr =
      tg::grammar::add_regex(grammar, pattern, {.is_json = true, .is_search = true});
  if (!expr.ok()) return 0;
  grammar.root = grammar.add_rule("pattern");
  grammar.set_body(grammar.root, *expr);
  tg::grammar::testing::walk(std::move(grammar), text);
  return 0;
}
