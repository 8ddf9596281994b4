#include "isa/reference/kv_cache.h"

#include <algorithm>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::isa {

ReferenceKv::ReferenceKv(const KvDecl& decl, i64 pages)
    : decl_(decl),
      slots_(pages * decl.page_tokens),
      key_width_(i64{decl.heads} * decl.dk),
      width_(i64{decl.heads} * (i64{decl.dk} + decl.dv)),
      layers_(decl.layers, std::vector<f32>(static_cast<std::size_t>(slots_ * width_))) {}

std::span<f32> ReferenceKv::row(u32 layer, i64 slot) {
  TG_ASSERT(layer < layers_.size() && slot >= 0 && slot < slots_);
  return std::span<f32>(layers_[layer])
      .subspan(static_cast<std::size_t>(slot * width_), static_cast<std::size_t>(width_));
}

std::span<const f32> ReferenceKv::row(u32 layer, i64 slot) const {
  return const_cast<ReferenceKv*>(this)->row(layer, slot);
}

std::span<const f32> ReferenceKv::key(u32 layer, i64 slot) const {
  return row(layer, slot).first(static_cast<std::size_t>(key_width_));
}

std::span<const f32> ReferenceKv::value(u32 layer, i64 slot) const {
  return row(layer, slot).subspan(static_cast<std::size_t>(key_width_));
}

void ReferenceKv::write(u32 layer, i64 slot, std::span<const f64> key, std::span<const f64> value) {
  std::span<f32> to = row(layer, slot);
  TG_ASSERT(key.size() + value.size() == to.size());
  undo_.push_back({layer, slot, std::vector<f32>(to.begin(), to.end())});
  auto rounded = [&](f64 v) { return round_to(decl_.format, static_cast<f32>(v)); };
  std::transform(key.begin(), key.end(), to.begin(), rounded);
  std::transform(value.begin(), value.end(), to.begin() + key_width_, rounded);
}

void ReferenceKv::copy_page(i64 from, i64 to) {
  for (u32 layer = 0; layer < layers_.size(); ++layer) {
    for (i64 i = 0; i < decl_.page_tokens; ++i) {
      std::span<const f32> source = row(layer, from * decl_.page_tokens + i);
      std::ranges::copy(source, row(layer, to * decl_.page_tokens + i).begin());
    }
  }
}

void ReferenceKv::roll_back() {
  while (!undo_.empty()) {
    const Undo& last = undo_.back();
    std::ranges::copy(last.row, row(last.layer, last.slot).begin());
    undo_.pop_back();
  }
}

}  // namespace tg::isa
