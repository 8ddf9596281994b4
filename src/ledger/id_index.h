// A set of positions found by 128-bit id: open addressing with linear probing, 8 bytes a slot. The
// ids themselves stay in the caller's records. Lookups only: its order is never observed.
#pragma once

#include <future>
#include <vector>

#include "base/assert.h"
#include "base/types.h"
#include "ledger/memory.h"

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
    if (size_ == slots_.size() / 8 * 3) prepare_growth();
  }

  // Removes what insert(id, value) put. REQUIRES: it is there.
  void erase(u128 id, u32 value);

  // Room for `ids` ids without growing on the way.
  void reserve(u64 ids);

  // Fetches the slot into the cache: at millions of ids a lookup waits for memory, not for us.
  void prefetch(u128 id) const { prefetch_for_write(&slots_[hash(id) & mask()]); }

  // What find() will probably say, without asking whose id it is; kNone if it is not there.
  u32 guess(u128 id) const {
    u32 tag = hash(id);
    u64 i = tag & mask();
    while (slots_[i].value != kNone && slots_[i].tag != tag) i = (i + 1) & mask();
    return slots_[i].value;
  }

  u64 size() const { return size_; }

 private:
  struct Slot {
    u32 tag = 0;
    u32 value = kNone;
  };
  using Slots = std::vector<Slot, HugePageAllocator<Slot>>;
  static constexpr u64 kSlotsFirst = 1024;
  // From here on the next table's memory is touched by another thread, before it is needed.
  static constexpr u64 kSlotsAhead = u64{1} << 16;

  // The finaliser of SplitMix64 over both halves; ids may share their high or their low bits.
  static u32 hash(u128 id) {
    u64 x = static_cast<u64>(id) ^ (static_cast<u64>(id >> 64) * 0x9E3779B97F4A7C15ull);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return static_cast<u32>(x >> 32);
  }
  u64 mask() const { return slots_.size() - 1; }
  void place(Slot slot) {
    u64 i = slot.tag & mask();
    while (slots_[i].value != kNone) i = (i + 1) & mask();
    slots_[i] = slot;
  }
  void prepare_growth();
  void grow();
  // REQUIRES: `empty` has a power of two of slots, at least twice size().
  void move_to(Slots empty);

  Slots slots_;  // A power of two, at most half full.
  u64 size_ = 0;
  std::future<Slots> next_;
};

}  // namespace tg::ledger
