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

// attn over a latent cache, reading all keys or selected ones.
std::string latent_text(bool selects) {
  std::string sel = selects ? ", %sel" : "";
  std::string index = selects ? "  kv_append $ik[0], %x, %bt\n"
                                "  %sel = index %x, $ik[0], %w, %bt {heads=1 k=4} -> i32[T,4]\n"
                              : "";
  return ".tgp 1.0 profile=TEXT,SPARSE\n.dim T<=64 S<=8 R<=8 C<=64\n"
         ".kv $kv layers=1 heads=1 dk=32 dv=0 latent=16 fmt=f16 page=16\n" +
         std::string(selects ? ".kv $ik layers=1 heads=1 dk=32 dv=0 fmt=f16 page=16\n" : "") +
         ".w $embd f32[96,32]\n" + (selects ? ".w $wi f32[1,32]\n" : "") +
         ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits\n"
         "  %x = embed $embd, %ids -> f32[T,32]\n" +
         (selects ? "  %w = linear %x, $wi -> f32[T,1]\n" : "") + "  kv_append $kv[0], %x, %bt\n" +
         index + "  %y = attn %x, $kv[0], %bt" + sel +
         " {heads=1 scale=1} -> f32[T,16]\n"
         "  %logits = gather %y, %rows -> f32[R,16]\n.end\n";
}

TEST(Coverage, latent_caches_and_selected_keys_are_flags) {
  std::vector<tg_row> rows = cpu::capability_rows();
  auto check = [&](const std::string& text, u16 without) {
    isa::VerifiedProgram program = verified(text);
    std::vector<tg_row> changed = rows;
    for (tg_row& row : changed) row.flags = static_cast<u16>(row.flags & ~without);
    Status status = check_coverage(program.program(), program.flatten("main").value(), changed,
                                   {.tokens = 64, .context = 64});
    return status.ok() ? "" : status.error().message;
  };
  EXPECT_EQ(check(latent_text(false), 0), "");
  EXPECT_EQ(check(latent_text(false), TG_ROW_LATENT),
            "backend: no capability for attn x=f32 y=f32 kv=f16 over a latent cache");
  EXPECT_EQ(check(latent_text(true), 0),
            "backend: no capability for index (profile SPARSE) x=f32 y=i32 kv=f16");
  rows.push_back({.size = sizeof(tg_row),
                  .op = static_cast<u16>(isa::Opcode::kIndex),
                  .op_version = 1,
                  .x = TG_ANY,
                  .w = TG_ANY,
                  .acc = TG_ANY,
                  .y = TG_ANY,
                  .kv = TG_ANY});
  EXPECT_EQ(check(latent_text(true), 0),
            "backend: no capability for attn x=f32 y=f32 kv=f16 over a latent cache with selected "
            "keys (profile SPARSE)");
}

TEST(Coverage, sums_in_f32_cover_those_in_f16) {
  std::string text = tiny_llama_text({});
  text.insert(text.find("$wd[l]") + 6, " {acc=f16c}");
  isa::VerifiedProgram program = verified(text);
  EXPECT_TRUE(check_coverage(program.program(), program.flatten("main").value(),
                             cpu::capability_rows(), {.tokens = 512, .context = 512})
                  .ok());
}

}  // namespace
}  // namespace tg::backend
