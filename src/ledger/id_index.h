// A set of positions found by 128-bit id: open addressing with linear probing, 8 bytes a slot. The
// ids themselves stay in the caller's records. Lookups only: its order is never observed.
#pragma once

#include <vector>

#include "base/assert.h"
#include "base/types.h"

namespace tg::ledger {

class IdIndex {
 public:
  static constexpr u32 kNone = 0;

  IdIndex() : slots_(kSlotsFirst) {}

  // The value stored for `id`, or kNone. `id_of(value)` gives the id behind a value.
  template <typename IdOf>
  u32 find(u128 id, IdOf id_of) const {
    u32 tag = hash(id);
    for (u64 i = tag & mask();; i = (i + 1) & mask()) {
      const Slot& slot = slots_[i];
      if (slot.value == kNone) return kNone;
      if (slot.tag == tag && id_of(slot.value) == id) return slot.value;
    }
  }

  // REQUIRES: value != kNone, and `id` is not in the index.
  void insert(u128 id, u32 value) {
    TG_ASSERT(value != kNone);
    if ((size_ + 1) * 2 > slots_.size()) grow();
    place(Slot{hash(id), value});
    ++size_;
  }

  // Removes what insert(id, value) put. REQUIRES: it is there.
  void erase(u128 id, u32 value);

  // Room for `ids` ids without growing on the way.
  void reserve(u64 ids);

  // Fetches the slot into the cache: at millions of ids a lookup waits for memory, not for us.
  void prefetch(u128 id) const { __builtin_prefetch(&slots_[hash(id) & mask()], 1); }

  u64 size() const { return size_; }

 private:
  struct Slot {
    u32 tag = 0;
    u32 value = kNone;
  };
  static constexpr u64 kSlotsFirst = 1024;

  static u32 hash(u128 id);
  u64 mask() const { return slots_.size() - 1; }
  void place(Slot slot) {
    u64 i = slot.tag & mask();
    while (slots_[i].value != kNone) i = (i + 1) & mask();
    slots_[i] = slot;
  }
  void grow() { resize(slots_.size() * 2); }
  // REQUIRES: `slots` is a power of two, at least twice size().
  void resize(u64 slots);

  std::vector<Slot> slots_;  // A power of two, at most half full.
  u64 size_ = 0;
};

}  // namespace tg::ledger
