#include "isa/reference/state_store.h"

#include <algorithm>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::isa {

ReferenceState::ReferenceState(const KvDecl& decl, i64 slots)
    : decl_(decl),
      slots_(decl.is_state ? slots : 0),
      size_(i64{decl.heads} * decl.dk * decl.dv),
      layers_(decl.layers, std::vector<f32>(static_cast<std::size_t>(slots_ * size_))) {}

std::span<f32> ReferenceState::block(u32 layer, i64 slot) {
  TG_ASSERT(layer < layers_.size() && slot >= 0 && slot < slots_);
  return std::span<f32>(layers_[layer])
      .subspan(static_cast<std::size_t>(slot * size_), static_cast<std::size_t>(size_));
}

std::span<const f32> ReferenceState::block(u32 layer, i64 slot) const {
  return const_cast<ReferenceState*>(this)->block(layer, slot);
}

void ReferenceState::write(u32 layer, i64 slot, std::span<const f64> values) {
  std::span<f32> to = block(layer, slot);
  TG_ASSERT(values.size() == to.size());
  undo_.push_back({layer, slot, std::vector<f32>(to.begin(), to.end())});
  std::transform(values.begin(), values.end(), to.begin(),
                 [&](f64 v) { return round_to(decl_.format, static_cast<f32>(v)); });
}

void ReferenceState::copy_slot(i64 from, i64 to) {
  if (!decl_.is_state) return;
  for (u32 layer = 0; layer < layers_.size(); ++layer)
    std::ranges::copy(block(layer, from), block(layer, to).begin());
}

void ReferenceState::roll_back() {
  while (!undo_.empty()) {
    const Undo& last = undo_.back();
    std::ranges::copy(last.block, block(last.layer, last.slot).begin());
    undo_.pop_back();
  }
}

}  // namespace tg::isa
