#include "backend/cpu/calls.h"

#include <gtest/gtest.h>

#include <vector>

namespace tg::backend::cpu {
namespace {

struct NoteArgs {
  std::vector<i32>* notes;
  i32 what;
  std::span<const Tensor> tensors;
};

// What was called and in how many parts, once.
void note(const NoteArgs& args, i32 part, i32 parts) {
  if (part != 0) return;
  args.notes->push_back(args.what);
  args.notes->push_back(parts);
  for (const Tensor& tensor : args.tensors) args.notes->push_back(tensor.rank);
}

TEST(CallList, calls_in_order_with_copies_of_the_arguments) {
  CallList list(2);
  Pool pool(1);
  std::vector<i32> notes;
  NoteArgs args{.notes = &notes, .what = 1};
  list.add(kernel<note>, args, 0);
  Tensor tensors[] = {{.rank = 3}, {.rank = 2}};
  args.what = 2;
  args.tensors = list.keep(tensors);
  list.add(kernel<note>, args, 0);
  args.what = 7;
  tensors[0].rank = 1;
  list.run(pool, 0);
  list.run(pool, 0);
  EXPECT_EQ(notes, (std::vector<i32>{1, 1, 2, 1, 3, 2, 1, 1, 2, 1, 3, 2}));
  list.clear();
  EXPECT_TRUE(list.calls().empty());
  list.run(pool, 0);
  EXPECT_EQ(notes.size(), 12u);
}

TEST(CallList, wakes_threads_for_enough_work_which_may_grow_with_the_keys) {
  CallList list(2);
  Pool pool(3);
  std::vector<i32> notes;
  auto add = [&](i32 what, i64 work, i64 per_key) {
    list.add(kernel<note>, NoteArgs{.notes = &notes, .what = what}, work, per_key);
  };
  add(1, kForkWork - 1, 0);
  add(2, kForkWork, 0);
  add(3, 0, kForkWork / 128);
  list.run(pool, 127);
  EXPECT_EQ(notes, (std::vector<i32>{1, 1, 2, 3, 3, 1}));
  notes.clear();
  list.run(pool, 128);
  EXPECT_EQ(notes, (std::vector<i32>{1, 1, 2, 3, 3, 3}));
}

TEST(CallList, has_room_for_what_ops_need_at_most) {
  constexpr std::size_t kOps = 5;
  CallList list(kOps);
  Pool pool(1);
  std::vector<i32> notes;
  std::vector<Tensor> tensors(16);
  for (int round = 0; round < 2; ++round) {
    list.clear();
    for (std::size_t i = 0; i < kOps; ++i) {
      NoteArgs args{.notes = &notes, .what = static_cast<i32>(i), .tensors = list.keep(tensors)};
      for (int call = 0; call < 3; ++call) list.add(kernel<note>, args, 0);
    }
    EXPECT_EQ(list.calls().size(), 3 * kOps);
  }
}

}  // namespace
}  // namespace tg::backend::cpu
