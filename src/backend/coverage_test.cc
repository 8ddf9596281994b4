#include "backend/coverage.h"

#include <gtest/gtest.h>

#include "backend/cpu/rows.h"
#include "backend/tiny_llama.h"

namespace tg::backend {
namespace {

// y = f(g(x)) over ops 0 -> 1 -> 2 and an append and a read of one cache layer, 3 -> 4.
isa::FlatProgram small_program() {
  isa::FlatProgram flat;
  flat.values.resize(6);
  flat.parameters = {0};
  auto value = [](u32 index) { return isa::FlatOperand{.index = index}; };
  isa::FlatOperand cache{.kind = isa::OperandKind::kKv};
  flat.code = {{.op = isa::Opcode::kAct, .out = {1}, .in = {value(0)}},
               {.op = isa::Opcode::kAct, .out = {2}, .in = {value(1)}},
               {.op = isa::Opcode::kAdd, .out = {3}, .in = {value(1), value(2)}},
               {.op = isa::Opcode::kKvAppend, .in = {cache, value(0), value(0)}},
               {.op = isa::Opcode::kAttn, .out = {4}, .in = {value(0), cache}}};
  return flat;
}

TEST(Segments, must_be_an_order_of_all_ops) {
  struct Case {
    std::vector<std::vector<u32>> segments;
    const char* error;  // null: legal
  };
  const Case cases[] = {
      {{{0, 1, 2, 3, 4}}, nullptr},
      {{{0}, {1}, {2}, {3}, {4}}, nullptr},
      {{{3, 4}, {0, 1, 2}}, nullptr},
      {{{3, 0}, {1, 4}, {2}}, nullptr},
      {{{0, 2}, {1}, {3, 4}}, "plan: op 2 before op 1, which it depends on"},
      {{{1}, {0}, {2}, {3}, {4}}, "plan: op 1 before op 0, which it depends on"},
      {{{0, 1, 2}, {4, 3}}, "plan: op 4 before op 3, which it depends on"},
      {{{0, 1, 2}, {3}}, "plan: 1 ops are in no segment"},
      {{{0, 1}, {1, 2}, {3, 4}}, "plan: op 1 is in two places"},
      {{{0, 1, 2, 3, 4, 5}}, "plan: op 5 does not exist"},
  };
  for (const Case& c : cases) {
    std::vector<tg_segment> segments;
    for (const std::vector<u32>& ops : c.segments) {
      segments.push_back(
          {.size = sizeof(tg_segment), .n_ops = static_cast<u32>(ops.size()), .ops = ops.data()});
    }
    Status status = check_segments(small_program(), segments);
    std::string said = status.ok() ? "" : status.error().message;
    EXPECT_EQ(said, c.error ? c.error : "");
  }
}

TEST(Coverage, every_field_of_a_row_is_a_condition) {
  isa::VerifiedProgram program = verified(tiny_llama_text({.attention = "window=9 softcap=3.0"}));
  isa::FlatProgram flat = program.flatten("main").value();
  auto covered = [&](void (*change)(tg_row&)) {
    std::vector<tg_row> rows = cpu::capability_rows();
    for (tg_row& row : rows) change(row);
    return check_coverage(program.program(), flat, rows, {.tokens = 512, .context = 512}).ok();
  };
  EXPECT_TRUE(covered([](tg_row&) {}));
  void (*const breaks[])(tg_row&) = {
      [](tg_row& row) { row.op_version = 2; },
      [](tg_row& row) { row.x = 1; },
      [](tg_row& row) { row.w = 1; },
      [](tg_row& row) { row.acc = 1; },
      [](tg_row& row) { row.y = 1; },
      [](tg_row& row) { row.kv = 1; },
      [](tg_row& row) { row.mask_bits = 2; },
      [](tg_row& row) { row.xq_bits = 2; },
      [](tg_row& row) { row.flags = TG_ROW_WINDOW; },
      [](tg_row& row) { row.max_tokens = 511; },
      [](tg_row& row) { row.max_context = 511; },
      [](tg_row& row) { row.max_heads = 3; },
      [](tg_row& row) { row.max_dim = 63; },
  };
  for (std::size_t i = 0; i < std::size(breaks); ++i) EXPECT_FALSE(covered(breaks[i])) << i;
}

}  // namespace
}  // namespace tg::backend
