// A packed step that owns its arrays: for what drives an executor without an engine.
#pragma once

#include <vector>

#include "backend/executor.h"

namespace tg::backend {

struct PackedStep {
  std::vector<i32> ids, positions, cu{0}, past, page_begin{0}, pages, slots, rows;
  std::vector<i32> tree;                // of `ids`, if there are trees
  std::vector<isa::SampleRow> samples;  // of `rows`, if the program takes them

  // The next sequence: `fresh` tokens after `cached` keys, over the pages of `table`; the last
  // `wanted` of them get a row each.
  void add(std::span<const i32> fresh, i64 cached, std::span<const i32> table, i64 wanted,
           i64 page_tokens = 16) {
    i64 count = static_cast<i64>(fresh.size());
    for (i64 i = 0; i < count; ++i) {
      i64 position = cached + i;
      i64 page = table[static_cast<std::size_t>(position / page_tokens)];
      if (i >= count - wanted) rows.push_back(static_cast<i32>(ids.size()));
      ids.push_back(fresh[static_cast<std::size_t>(i)]);
      positions.push_back(static_cast<i32>(position));
      slots.push_back(static_cast<i32>(page * page_tokens + position % page_tokens));
    }
    cu.push_back(static_cast<i32>(ids.size()));
    past.push_back(static_cast<i32>(cached));
    pages.insert(pages.end(), table.begin(), table.end());
    page_begin.push_back(static_cast<i32>(pages.size()));
  }

  // Borrows this.
  StepBatch view() const {
    return {.ids = ids,
            .positions = positions,
            .cu = cu,
            .past = past,
            .page_begin = page_begin,
            .pages = pages,
            .slots = slots,
            .rows = rows,
            .tree = tree,
            .samples = samples};
  }
};

// The pages first, first + 1, ..., as a table.
inline std::vector<i32> pages_from(i64 first, i64 count) {
  std::vector<i32> out;
  for (i64 i = 0; i < count; ++i) out.push_back(static_cast<i32>(first + i));
  return out;
}

}  // namespace tg::backend
