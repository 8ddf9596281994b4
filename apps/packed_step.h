// The integers of a packed step, owned, for commands that drive an executor without an engine.
#pragma once

#include <span>
#include <vector>

#include "backend/executor.h"

namespace tg::apps {

struct PackedStep {
  std::vector<i32> ids, positions, cu{0}, past, page_begin{0}, pages, slots, rows;

  // Sequence `index` owns `pages_each` pages from index * pages_each on. The last `wanted` of its
  // tokens get a row each.
  void add(i64 index, std::span<const i32> tokens, i64 cached, i64 pages_each, i64 page_tokens,
           i64 wanted) {
    i64 count = static_cast<i64>(tokens.size());
    for (i64 i = 0; i < count; ++i) {
      i64 position = cached + i;
      if (i >= count - wanted) rows.push_back(static_cast<i32>(ids.size()));
      ids.push_back(tokens[static_cast<std::size_t>(i)]);
      positions.push_back(static_cast<i32>(position));
      slots.push_back(static_cast<i32>(index * pages_each * page_tokens + position));
    }
    cu.push_back(static_cast<i32>(ids.size()));
    past.push_back(static_cast<i32>(cached));
    for (i64 p = 0; p < pages_each; ++p) pages.push_back(static_cast<i32>(index * pages_each + p));
    page_begin.push_back(static_cast<i32>(pages.size()));
  }

  backend::StepBatch view() const {
    return {.ids = ids,
            .positions = positions,
            .cu = cu,
            .past = past,
            .page_begin = page_begin,
            .pages = pages,
            .slots = slots,
            .rows = rows};
  }
};

}  // namespace tg::apps
