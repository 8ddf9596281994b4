// The shapes of a case: which sequences feed how many tokens in which step, over which pages. Token
// ids follow from sequence and position, so that the same rows can be asked for in another batch,
// chunking or page layout, which is how determinism classes are told apart (isa.md 9.4).
#pragma once

#include <string_view>
#include <vector>

#include "backend/packed_step.h"
#include "isa/reference/interpreter.h"

namespace tg::conformance {

// What executors and interpreters are made for.
inline constexpr i64 kTokensMax = 512, kSequencesMax = 16, kRowsMax = 512, kContextMax = 512;
inline constexpr i64 kSequencePages = 32;  // page p of sequence s is entry s * 32 + p of the layout
inline constexpr i64 kPages = 4 * kSequencePages;
inline constexpr i64 kCachePages = 2 * kPages;  // the upper half receives copies

// Where a row of a result came from.
struct RowKey {
  i32 sequence = 0;
  i32 position = 0;
  friend auto operator<=>(const RowKey&, const RowKey&) = default;
};

// What `samples` borrow is static.
struct Step : backend::PackedStep {
  std::vector<RowKey> keys;  // of `rows`

  isa::ReferenceBatch reference() const;
};

struct Layout {
  i64 page_tokens = 16;
  i64 vocabulary = 1;  // ids are below it
  u64 seed = 0;        // of the order of pages
  bool samples = false;
  bool trees = false;         // chunks are trees: tree_parent() of steps.cc
  bool keeps_chunks = false;  // rows depend on the chunk they come in: replays cut as "mixed" does
};

// Steps as text: "17,1!,0 ; 1" feeds 17, 1 and 0 tokens of sequences 0, 1 and 2, then one of
// sequence 0. After '!' every fourth token of that chunk is not written to the cache (slot -1).
struct Shape {
  std::string_view name;
  std::string_view steps;
  bool asks_rows = true;
};

// nullptr if there is no such shape.
const Shape* find_shape(std::string_view name);
std::vector<Step> steps_of(const Shape& shape, const Layout& layout);

// The rows of shape "mixed" once more, in other company.
// kFork: the last step goes on from copies of the pages; only for programs with a cache.
// kOneByOne: not for a layout that keeps chunks.
enum class Replay : u8 { kAgain, kAlone, kReversed, kOneByOne, kOtherPages, kFork, kCount };
std::string_view name(Replay replay);
std::vector<Step> replay_of(Replay replay, const Layout& layout);

}  // namespace tg::conformance
