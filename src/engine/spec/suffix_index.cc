#include "engine/spec/suffix_index.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace tg::engine {

namespace {

constexpr i64 kLengthMax = 32;     // compared at most
constexpr i64 kCandidatesMax = 8;  // of a chain

i64 agreement(std::span<const i32> tokens, i64 a, i64 b) {
  i64 length = 0;
  while (length < std::min(a, kLengthMax) && tokens[a - 1 - length] == tokens[b - 1 - length]) {
    ++length;
  }
  return length;
}

}  // namespace

void SuffixIndex::reserve(i64 tokens_max) {
  heads_.assign(std::bit_ceil(static_cast<std::size_t>(tokens_max)), -1);
  previous_.assign(static_cast<std::size_t>(tokens_max) + 1, -1);
}

std::size_t SuffixIndex::bucket(std::span<const i32> tokens, i64 end) const {
  u64 hash = 0;
  for (i64 i = end - kMatchMin; i < end; ++i) {
    hash = (hash ^ static_cast<u32>(tokens[i])) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  }
  return hash & (heads_.size() - 1);
}

void SuffixIndex::extend(std::span<const i32> tokens) {
  if (heads_.empty()) return;
  i64 size = static_cast<i64>(tokens.size());
  TG_ASSERT(indexed_ <= size && size < static_cast<i64>(previous_.size()));
  for (i64 end = std::max(indexed_ + 1, kMatchMin); end <= size; ++end) {
    i32& head = heads_[bucket(tokens, end)];
    previous_[end] = head;
    head = static_cast<i32>(end);
  }
  indexed_ = size;
}

SuffixIndex::Match SuffixIndex::find(std::span<const i32> tokens) const {
  Match best;
  i64 size = static_cast<i64>(tokens.size());
  if (heads_.empty() || size < kMatchMin) return best;
  TG_ASSERT(indexed_ == size);
  i64 end = previous_[size];
  for (i64 tried = 0; end >= 0 && tried < kCandidatesMax; ++tried, end = previous_[end]) {
    i64 length = agreement(tokens, end, size);
    if (length >= kMatchMin && length > best.length) best = {end, length};
  }
  return best;
}

}  // namespace tg::engine
