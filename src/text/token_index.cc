#include "text/token_index.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.h"

namespace tg {
namespace {

// Multiply and fold, as wyhash does: the high half of the product depends on every input bit.
u64 mix(u64 a, u64 b) {
  u128 product = static_cast<u128>(a) * b;
  return static_cast<u64>(product) ^ static_cast<u64>(product >> 64);
}

constexpr u64 kSeed = 0x9E3779B97F4A7C15;
constexpr u64 kMultiplier = 0xD6E8FEB86659FD93;

// At most half full, so that probe runs stay short.
u64 slot_count(i64 capacity) {
  TG_ASSERT(capacity >= 0);
  return std::bit_ceil(static_cast<u64>(capacity) * 2 + 2);
}

}  // namespace

u64 hash_text(std::string_view text) {
  u64 hash = kSeed ^ text.size();
  const char* p = text.data();
  std::size_t left = text.size();
  for (; left > 8; left -= 8, p += 8) {
    u64 word;
    std::memcpy(&word, p, 8);
    hash = mix(hash ^ word, kMultiplier);
  }
  u64 tail = 0;
  for (std::size_t i = 0; i < left; ++i) tail = tail << 8 | static_cast<u8>(p[i]);
  return mix(mix(hash ^ tail, kMultiplier), kSeed);
}

TextIndex::TextIndex(i64 expected_size) : slots_(slot_count(expected_size)) {
  mask_ = slots_.size() - 1;
}

u64 TextIndex::slot_of(std::string_view text, u64 hash) const {
  u32 high = static_cast<u32>(hash >> 32);
  for (u64 at = hash & mask_;; at = (at + 1) & mask_) {
    const Slot& slot = slots_[at];
    if (slot.id < 0 || (slot.hash == high && slot.text == text)) return at;
  }
}

void TextIndex::insert(std::string_view text, i32 id) {
  TG_ASSERT(id >= 0);
  if (static_cast<u64>(size_) * 2 >= slots_.size()) grow();
  u64 hash = hash_text(text);
  Slot& slot = slots_[slot_of(text, hash)];
  if (slot.id >= 0) return;
  slot = {text, id, static_cast<u32>(hash >> 32)};
  ++size_;
}

void TextIndex::grow() {
  std::vector<Slot> old = std::move(slots_);
  slots_ = std::vector<Slot>(old.size() * 2);
  mask_ = slots_.size() - 1;
  for (const Slot& slot : old) {
    if (slot.id >= 0) slots_[slot_of(slot.text, hash_text(slot.text))] = slot;
  }
}

i32 TextIndex::find(std::string_view text) const {
  return slots_[slot_of(text, hash_text(text))].id;
}

PairIndex::PairIndex(i64 capacity) : capacity_(capacity) {
  slots_.resize(slot_count(capacity));
  mask_ = slots_.size() - 1;
}

u64 PairIndex::slot_of(u64 key) const {
  u64 at = mix(key ^ kSeed, kMultiplier) & mask_;
  while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask_;
  return at;
}

void PairIndex::insert(i32 left, i32 right, Merge merge) {
  TG_ASSERT(size_ < capacity_);
  TG_ASSERT(left >= 0);
  TG_ASSERT(right >= 0);
  u64 key = static_cast<u64>(left) << 32 | static_cast<u32>(right);
  Slot& slot = slots_[slot_of(key)];
  if (slot.key == key) return;
  slot = {key, merge};
  ++size_;
}

Merge PairIndex::find(i32 left, i32 right) const {
  u64 key = static_cast<u64>(left) << 32 | static_cast<u32>(right);
  return slots_[slot_of(key)].merge;
}

}  // namespace tg
