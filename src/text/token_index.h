// Hash tables of the tokenizer: text to id, and pair of symbols to merge. Open addressing, filled
// once, read by every thread; a lookup is one probe in the usual case.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace tg {

u64 hash_text(std::string_view text);

// Finds a number by its text. Borrows the texts, which must outlive it and stay in place.
class TextIndex {
 public:
  explicit TextIndex(i64 expected_size);

  // The first of two equal texts wins. REQUIRES: id >= 0.
  void insert(std::string_view text, i32 id);
  // The id of `text`, or -1.
  i32 find(std::string_view text) const;
  i64 size() const { return size_; }

 private:
  struct Slot {
    std::string_view text;
    i32 id = -1;
    u32 hash = 0;
  };
  u64 slot_of(std::string_view text, u64 hash) const;
  void grow();

  std::vector<Slot> slots_;
  u64 mask_ = 0;
  i64 size_ = 0;
};

// What merging two neighbours gives. Smaller priorities merge first; kNoMerge: they do not merge.
struct Merge {
  static constexpr i32 kNoMerge = INT32_MAX;
  i32 priority = kNoMerge;
  i32 symbol = -1;
};

// Finds the merge of two symbols.
class PairIndex {
 public:
  explicit PairIndex(i64 capacity);

  // REQUIRES: left >= 0, right >= 0, fewer than `capacity` inserted so far. First insertion wins.
  void insert(i32 left, i32 right, Merge merge);
  Merge find(i32 left, i32 right) const;

 private:
  struct Slot {
    u64 key = kEmpty;
    Merge merge;
  };
  static constexpr u64 kEmpty = ~u64{0};
  u64 slot_of(u64 key) const;

  std::vector<Slot> slots_;
  u64 mask_ = 0;
  i64 size_ = 0;
  i64 capacity_ = 0;
};

}  // namespace tg
