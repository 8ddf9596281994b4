// Executors over the CPU backend: agreement with the reference interpreter, batch invariance,
// traps.
#include "backend/executor.h"

#include <gtest/gtest.h>

#include "backend/cpu_fixture.h"

namespace tg::backend {
namespace {

// Logits of every token of one sequence, fed in pieces of the given sizes.
std::vector<f32> run_alone(Executor& executor, std::span<const i32> tokens,
                           std::span<const i32> pages, std::span<const i64> pieces) {
  std::vector<f32> out;
  i64 done = 0;
  for (std::size_t i = 0; done < static_cast<i64>(tokens.size()); ++i) {
    i64 n = std::min<i64>(pieces[i % pieces.size()], static_cast<i64>(tokens.size()) - done);
    n = std::min<i64>(n, 64);
    PackedStep batch;
    batch.add(tokens.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(n)),
              static_cast<i32>(done), pages, static_cast<i32>(n));
    std::vector<f32> logits = run(executor, batch);
    out.insert(out.end(), logits.begin(), logits.end());
    done += n;
  }
  return out;
}

TEST(Executor, D2_a_row_has_the_same_bits_in_any_batch_chunking_and_thread_count) {
  for (const char* codec : {"q4_k", "bf16"}) {
    TinyShape shape{.codec = codec, .attention = "window=cyc(0,50)"};
    isa::VerifiedProgram program = verified(tiny_llama_text(shape));
    RandomWeights weights(program.program(), 3);
    for (u32 device = 0; device < device_count(); ++device) {
      std::unique_ptr<Executor> one = make(program, weights, 1, device);
      std::unique_ptr<Executor> two = make(program, weights, 2, device);
      std::vector<std::vector<i32>> sequences, pages;
      std::vector<std::vector<f32>> alone;
      i32 page = 1;
      for (i64 length : {1, 33, 90}) {
        sequences.push_back(tokens_of(length, 10 + static_cast<u64>(length), shape.vocabulary));
        pages.push_back(pages_from(page, 6));
        page += 6;
        alone.push_back(run_alone(*one, sequences.back(), pages.back(), std::vector<i64>{1}));
      }
      for (std::size_t s = 0; s < sequences.size(); ++s) {
        for (i64 piece : {64, 17}) {
          EXPECT_EQ(run_alone(*one, sequences[s], pages[s], std::vector<i64>{piece}), alone[s]);
        }
        EXPECT_EQ(run_alone(*two, sequences[s], pages[s], std::vector<i64>{7, 13, 1}), alone[s]);
      }
      // All three at once, other pages, last tokens' logits.
      PackedStep batch;
      for (std::size_t s = 0; s < sequences.size(); ++s) {
        batch.add(sequences[s], 0, pages_from(60 + 7 * static_cast<i32>(s), 6), 1);
      }
      std::vector<f32> mixed = run(*two, batch);
      for (std::size_t s = 0; s < sequences.size(); ++s) {
        std::vector<f32> row(mixed.begin() + static_cast<i64>(s) * shape.vocabulary,
                             mixed.begin() + static_cast<i64>(s + 1) * shape.vocabulary);
        EXPECT_EQ(row, std::vector<f32>(alone[s].end() - shape.vocabulary, alone[s].end()));
      }
    }
  }
}

// Two steps of one shape whose sequences are of other lengths, with a step of another shape between
// or none: nothing of an earlier step may stay.
TEST(Executor, steps_of_one_shape_differ_in_all_but_their_sizes) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  auto batch_of = [](i64 first, i64 second, i32 page, u64 seed) {
    PackedStep batch;
    batch.add(tokens_of(first, seed, 320), 0, pages_from(page, 2), 1);
    batch.add(tokens_of(second, seed + 1, 320), 0, pages_from(page + 2, 2), 1);
    return batch;
  };
  PackedStep one = batch_of(3, 25, 1, 40);
  PackedStep two = batch_of(21, 7, 9, 50);
  PackedStep other = batch_of(2, 2, 20, 60);
  for (i32 threads : {1, 2}) {
    auto fresh = [&](const PackedStep& batch) {
      return run(*make(program, weights, threads), batch);
    };
    std::unique_ptr<Executor> executor = make(program, weights, threads);
    EXPECT_EQ(run(*executor, one), fresh(one));
    EXPECT_EQ(run(*executor, two), fresh(two));
    EXPECT_EQ(run(*executor, other), fresh(other));
    EXPECT_EQ(run(*executor, one), fresh(one));
  }
}

TEST(Executor, copied_pages_continue_with_the_same_bits) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  std::unique_ptr<Executor> executor = make(program, weights);
  std::vector<i32> tokens = tokens_of(21, 5, 320);
  std::vector<i32> first = {1, 2}, second = {7, 8};
  PackedStep prefill, here, there;
  prefill.add(std::span(tokens).first(20), 0, first, 1);
  here.add(std::span(tokens).subspan(20), 20, first, 1);
  there.add(std::span(tokens).subspan(20), 20, second, 1);
  run(*executor, prefill);
  std::vector<PageCopy> copies = {{1, 7}, {2, 8}};
  ASSERT_TRUE(executor->copy_pages(copies).ok());
  EXPECT_EQ(run(*executor, here), run(*executor, there));
  EXPECT_FALSE(executor->copy_pages(std::vector<PageCopy>{{1, 128}}).ok());
}

TEST(Executor, pages_come_back_from_the_hosts_memory_with_the_same_bits) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  ExecutorLimits limits = kLimits;
  limits.kv_pages = 8;
  limits.swap_pages = 3;
  std::unique_ptr<Executor> executor =
      bind_executor({.library = {.table = cpu::cpu_backend()}}, program, weights.table, limits)
          .value();
  std::vector<i32> tokens = tokens_of(21, 5, 320);
  std::vector<i32> first = {1, 2}, second = {5, 6};
  PackedStep prefill, other, here, there;
  prefill.add(std::span(tokens).first(20), 0, first, 1);
  other.add(tokens_of(20, 9, 320), 0, first, 1);
  here.add(std::span(tokens).subspan(20), 20, first, 1);
  there.add(std::span(tokens).subspan(20), 20, second, 1);
  run(*executor, prefill);
  std::vector<f32> expected = run(*executor, here);
  ASSERT_TRUE(executor->copy_pages(std::vector<PageCopy>{{1, 10}, {2, 8}}).ok());
  run(*executor, other);
  ASSERT_TRUE(executor->copy_pages(std::vector<PageCopy>{{10, 5}, {8, 9}, {9, 6}}).ok());
  EXPECT_EQ(run(*executor, there), expected);
  EXPECT_FALSE(executor->copy_pages(std::vector<PageCopy>{{1, 11}}).ok());
}

TEST(Executor, models_share_what_a_process_may_take) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  u64 packed_done = 0, packed_total = 0;
  auto open = [&](MemoryBudget& budget) {
    ExecutorLimits limits = kLimits;
    limits.budget = &budget;
    PackedFile packed{.progress = [&](u64 done, u64 total) {
      EXPECT_GT(done, packed_done);
      packed_done = done;
      packed_total = total;
    }};
    packed_done = 0;
    return bind_executor({.library = {.table = cpu::cpu_backend()}}, program, weights.table, limits,
                         packed);
  };
  MemoryBudget endless(u64{1} << 40);
  ASSERT_TRUE(open(endless).ok());
  EXPECT_EQ(packed_done, packed_total);
  EXPECT_EQ(endless.taken(), 0u) << "it gave back what it took";
  Result<std::unique_ptr<Executor>> one = open(endless);
  ASSERT_TRUE(one.ok());
  MemoryBudget budget(endless.taken() * 3 / 2);
  Result<std::unique_ptr<Executor>> first = open(budget);
  ASSERT_TRUE(first.ok());
  u64 taken = budget.taken();
  Result<std::unique_ptr<Executor>> second = open(budget);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_NE(second.error().message.find("taken by all models, exceed their common quota of"),
            std::string::npos);
  EXPECT_EQ(budget.taken(), taken) << "nothing of the one that failed";
  first.value().reset();
  EXPECT_TRUE(open(budget).ok());
}

TEST(Executor, traps_name_the_field_and_commit_nothing) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  std::unique_ptr<Executor> executor = make(program, weights);
  std::vector<i32> tokens = tokens_of(20, 5, 320);
  std::vector<i32> table = {1, 2};
  PackedStep prefill, decode;
  prefill.add(std::span(tokens).first(18), 0, table, 1);
  decode.add(std::span(tokens).subspan(18, 2), 18, table, 1);
  run(*executor, prefill);
  std::vector<f32> expected = run(*executor, decode);

  struct Case {
    const char* message;
    void (*spoil)(PackedStep&);
  };
  const Case cases[] = {
      {"step: ids[1] = 320 is not in [0, 320)", [](PackedStep& b) { b.ids[1] = 320; }},
      {"step: ids[0] = -1 is not in [0, 320)", [](PackedStep& b) { b.ids[0] = -1; }},
      {"step: positions[1] = 512 is not in [0, 512)", [](PackedStep& b) { b.positions[1] = 512; }},
      {"step: rows[0] = 2 is not in [0, 2)", [](PackedStep& b) { b.rows[0] = 2; }},
      {"step: pages[1] = 128 is not in [0, 128)", [](PackedStep& b) { b.pages[1] = 128; }},
      {"step: pages[0] = -1 is not in [0, 128)", [](PackedStep& b) { b.pages[0] = -1; }},
      {"step: slots[1] = 2048 is not in [-1, 2048)", [](PackedStep& b) { b.slots[1] = 2048; }},
      {"step: slots[0] = -2 is not in [-1, 2048)", [](PackedStep& b) { b.slots[0] = -2; }},
      {"step: slots[1] = 34 is written twice", [](PackedStep& b) { b.slots[1] = b.slots[0]; }},
      {"step: cu[0] = 1 is not 0", [](PackedStep& b) { b.cu[0] = 1; }},
      {"step: cu[1] = 1 is not 2", [](PackedStep& b) { b.cu[1] = 1; }},
      {"step: past[0] = -1 is negative", [](PackedStep& b) { b.past[0] = -1; }},
      {"step: sequence 0 has 513 keys, at most 512", [](PackedStep& b) { b.past[0] = 511; }},
      {"step: sequence 0 has 2 pages for 33 keys", [](PackedStep& b) { b.past[0] = 31; }},
      {"step: page_begin[1] = 1 is not 2", [](PackedStep& b) { b.page_begin[1] = 1; }},
      {"step: positions has 1 entries, not 2", [](PackedStep& b) { b.positions.pop_back(); }},
      {"step: slots has 3 entries, not 2", [](PackedStep& b) { b.slots.push_back(-1); }},
      {"step: cu has 1 entries, not 2", [](PackedStep& b) { b.cu.pop_back(); }},
      {"step: 513 tokens, at most 512", [](PackedStep& b) { b.ids.resize(513); }},
      {"step: 65 rows, at most 64", [](PackedStep& b) { b.rows.resize(65); }},
  };
  for (const Case& c : cases) {
    PackedStep bad = decode;
    c.spoil(bad);
    Result<std::span<const f32>> result = executor->run(bad.view());
    ASSERT_FALSE(result.ok()) << c.message;
    EXPECT_EQ(result.error().message, c.message);
    EXPECT_EQ(run(*executor, decode), expected);
  }
}

TEST(Executor, a_slot_of_minus_one_writes_nothing) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  std::unique_ptr<Executor> executor = make(program, weights);
  std::vector<i32> tokens = tokens_of(16, 5, 320);
  std::vector<i32> table = {4};
  PackedStep prefill;
  prefill.add(tokens, 0, table, 1);
  std::vector<f32> expected = run(*executor, prefill);
  // Recomputing the last token over the cache that already holds it.
  PackedStep again;
  again.add(std::span(tokens).last(1), 15, table, 1);
  again.slots[0] = -1;
  EXPECT_EQ(run(*executor, again), expected);
}

TEST(Executor, an_empty_step_and_a_step_without_rows_are_fine) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  std::unique_ptr<Executor> executor = make(program, weights);
  PackedStep none, silent;
  EXPECT_TRUE(run(*executor, none).empty());
  silent.add(std::vector<i32>{1, 2, 3}, 0, std::vector<i32>{0}, 0);
  EXPECT_TRUE(run(*executor, silent).empty());
}

TEST(Executor, refuses_what_no_row_covers_and_weights_that_do_not_fit) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  std::string quantised = tiny_llama_text({});
  std::size_t at = quantised.find("$wd[l]");
  quantised.insert(at + 6, " {xq=i8/32 acc=i32}");
  isa::VerifiedProgram other = verified(quantised);
  Result<std::unique_ptr<Executor>> refused = make_executor("cpu", other, weights.table, kLimits);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "backend: no capability for linear x=f32 w=q8_0 acc=i32 y=f32 with quantised "
            "activations");

  isa::WeightTable missing = weights.table;
  missing.by_symbol.back().clear();
  EXPECT_EQ(make_executor("cpu", program, missing, kLimits).error().message,
            "weight $invf[0] is missing");
  isa::WeightTable wrong = weights.table;
  wrong.by_symbol[0][0] = wrong.by_symbol[0][0].subspan(1);
  EXPECT_EQ(make_executor("cpu", program, wrong, kLimits).error().code, Code::kCorrupt);
  ExecutorLimits no_pages = kLimits;
  no_pages.kv_pages = 0;
  EXPECT_FALSE(make_executor("cpu", program, weights.table, no_pages).ok());
  EXPECT_EQ(make_executor("gpu", program, weights.table, kLimits).error().code, Code::kNotFound);
  EXPECT_EQ(make_executor("/no/such.so", program, weights.table, kLimits).error().code,
            Code::kNotFound);
}

TEST(Executor, says_what_its_ops_took_from_the_run_after_the_question) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  std::unique_ptr<Executor> executor = make(program, weights, 2);
  PackedStep batch;
  batch.add(tokens_of(9, 1, 320), 0, pages_from(0, 1), 1);
  std::vector<f32> untimed = run(*executor, batch);
  std::span<const u64> before = executor->op_times();
  EXPECT_GT(before.size(), 20u);
  EXPECT_TRUE(std::ranges::all_of(before, [](u64 ns) { return ns == 0; }));
  EXPECT_EQ(run(*executor, batch), untimed);
  std::span<const u64> after = executor->op_times();
  EXPECT_EQ(after.size(), before.size());
  // All but those that are another's value under a new name.
  EXPECT_GT(std::ranges::count_if(after, [](u64 ns) { return ns > 0; }), 20);
}

TEST(Executor, says_what_it_is) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  Result<std::unique_ptr<Executor>> made = make_executor("cpu", program, weights.table, kLimits);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ((*made)->vocabulary(), 320);
  EXPECT_EQ((*made)->page_tokens(), 16);
  // Two layers of two heads, 16 tokens, 64 + 64 halves.
  EXPECT_EQ((*made)->page_bytes(), 2 * 2 * 16 * 128 * 2);
  EXPECT_EQ((*made)->limits().context_max, 512);
  EXPECT_EQ((*made)->device_name().substr(0, 4), "cpu ");
}

}  // namespace
}  // namespace tg::backend
