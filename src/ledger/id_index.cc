#include "ledger/id_index.h"

#include <utility>

namespace tg::ledger {

void IdIndex::erase(u128 id, u32 value) {
  u64 hole = hash(id) & mask();
  while (slots_[hole].value != value) {
    TG_ASSERT(slots_[hole].value != kNone);
    hole = (hole + 1) & mask();
  }
  // Later slots of the run move back into the hole unless that would put them before their home.
  for (u64 i = (hole + 1) & mask(); slots_[i].value != kNone; i = (i + 1) & mask()) {
    u64 home = slots_[i].tag & mask();
    if (((i - home) & mask()) < ((i - hole) & mask())) continue;
    slots_[hole] = slots_[i];
    hole = i;
  }
  slots_[hole] = Slot{};
  --size_;
}

void IdIndex::reserve(u64 ids) {
  u64 slots = slots_.size();
  while (slots < ids * 2) slots *= 2;
  if (slots > slots_.size()) move_to(Slots(slots));
}

void IdIndex::prepare_growth() {
  if (slots_.size() < kSlotsAhead || next_.valid()) return;
  next_ = std::async(std::launch::async, [slots = slots_.size() * 2] { return Slots(slots); });
}

void IdIndex::grow() {
  u64 slots = slots_.size() * 2;
  Slots empty = next_.valid() ? next_.get() : Slots();
  move_to(empty.size() == slots ? std::move(empty) : Slots(slots));
}

void IdIndex::move_to(Slots empty) {
  std::swap(empty, slots_);
  for (const Slot& slot : empty) {
    if (slot.value != kNone) place(slot);
  }
}

}  // namespace tg::ledger
