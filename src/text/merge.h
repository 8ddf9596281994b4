// The merging loop both tokenizers share: among all neighbours that can merge, the best priority
// goes first, the leftmost of equals. Short words scan; long ones keep a heap, so that a megabyte
// without a space stays n log n.
#pragma once

#include <algorithm>
#include <vector>

#include "base/types.h"
#include "text/token_index.h"

namespace tg {

// A piece of the word being merged: a linked list inside a vector.
struct Symbol {
  i32 id;     // Symbol number, or -1 if this piece has none yet.
  i32 begin;  // Bytes [begin, begin + size) of the word.
  i32 size;   // 0 once merged into its left neighbour.
  i32 next;   // Index of the right neighbour, or -1.
  i32 previous;
  i32 priority;  // Of merging with the right neighbour.
};

// Buffers reused from word to word.
struct MergeScratch {
  struct Candidate {
    i32 priority;
    i32 left;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;

  void clear() { symbols.clear(); }
  void append(i32 id, i32 begin, i32 size) {
    i32 index = static_cast<i32>(symbols.size());
    if (index > 0) symbols.back().next = index;
    symbols.push_back({id, begin, size, -1, index - 1, Merge::kNoMerge});
  }
};

inline constexpr std::size_t kScanSymbolsMax = 48;

// Joins symbols[left] with its right neighbour into symbol `id`.
inline void join_with_next(std::vector<Symbol>& symbols, i32 left, i32 id) {
  Symbol& a = symbols[left];
  Symbol& b = symbols[a.next];
  a.id = id;
  a.size += b.size;
  b.size = 0;
  a.next = b.next;
  if (a.next >= 0) symbols[a.next].previous = left;
}

// Sets the priority of merging symbols[left] with its right neighbour and returns it.
template <typename Lookup>
i32 update_priority(std::vector<Symbol>& symbols, i32 left, const Lookup& lookup) {
  Symbol& a = symbols[left];
  a.priority = a.next < 0 ? Merge::kNoMerge : lookup(a, symbols[a.next]).priority;
  return a.priority;
}

template <typename Lookup>
void merge_by_scan(std::vector<Symbol>& symbols, const Lookup& lookup) {
  for (;;) {
    i32 best = -1;
    i32 best_priority = Merge::kNoMerge;
    for (i32 at = 0; at >= 0; at = symbols[at].next) {
      if (symbols[at].priority >= best_priority) continue;
      best = at;
      best_priority = symbols[at].priority;
    }
    if (best < 0) return;
    join_with_next(symbols, best, lookup(symbols[best], symbols[symbols[best].next]).symbol);
    update_priority(symbols, best, lookup);
    if (symbols[best].previous >= 0) update_priority(symbols, symbols[best].previous, lookup);
  }
}

template <typename Lookup>
void merge_by_heap(MergeScratch& scratch, const Lookup& lookup) {
  using Candidate = MergeScratch::Candidate;
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<Candidate>& heap = scratch.heap;
  auto later = [](Candidate a, Candidate b) {
    return a.priority != b.priority ? a.priority > b.priority : a.left > b.left;
  };
  auto push = [&](i32 left) {
    if (update_priority(symbols, left, lookup) == Merge::kNoMerge) return;
    heap.push_back({symbols[left].priority, left});
    std::push_heap(heap.begin(), heap.end(), later);
  };
  heap.clear();
  for (i32 at = 0; at >= 0; at = symbols[at].next) {
    if (symbols[at].priority != Merge::kNoMerge) heap.push_back({symbols[at].priority, at});
  }
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    Candidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    Symbol& left = symbols[top.left];
    // A merge nearby may have changed this pair since it was pushed.
    if (left.size == 0 || left.priority != top.priority) continue;
    join_with_next(symbols, top.left, lookup(left, symbols[left.next]).symbol);
    push(top.left);
    if (left.previous >= 0) push(left.previous);
  }
}

// Merges scratch.symbols until nothing merges; follow `next` from index 0 to read the result.
// lookup(left, right) is a Merge. REQUIRES: at least one symbol.
template <typename Lookup>
void merge_symbols(MergeScratch& scratch, const Lookup& lookup) {
  i32 count = static_cast<i32>(scratch.symbols.size());
  for (i32 i = 0; i < count; ++i) update_priority(scratch.symbols, i, lookup);
  if (scratch.symbols.size() <= kScanSymbolsMax) {
    merge_by_scan(scratch.symbols, lookup);
  } else {
    merge_by_heap(scratch, lookup);
  }
}

}  // namespace tg
