#include "isa/reference/kv_cache.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::isa {

static bool all_finite(std::span<const f32> row) {
  return std::all_of(row.begin(), row.end(), [](f32 v) { return std::isfinite(v); });
}

bool round_row(DType format, std::span<const f64> in, std::span<f32> out) {
  TG_ASSERT(in.size() == out.size());
  if (in.empty()) return true;
  std::transform(in.begin(), in.end(), out.begin(), [](f64 v) { return static_cast<f32>(v); });
  if (info(format).block_elements == 1) {
    for (f32& v : out) v = round_to(format, v);
    return true;
  }
  if (!all_finite(out)) return false;
  std::vector<u8> bytes(static_cast<std::size_t>(row_bytes(format, static_cast<i64>(out.size()))));
  quantize_row(format, out, bytes);
  dequantize_row(format, bytes, out);
  return all_finite(out);
}

ReferenceKv::ReferenceKv(const KvDecl& decl, i64 pages)
    : decl_(decl),
      slots_(decl.is_state ? 0 : pages * decl.page_tokens),
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

bool ReferenceKv::write(u32 layer, i64 slot, std::span<const f64> key, std::span<const f64> value) {
  std::span<f32> to = row(layer, slot);
  TG_ASSERT(key.size() + value.size() == to.size());
  std::vector<f32> rounded(to.size());
  std::span<f32> whole = rounded;
  if (!round_row(decl_.format, key, whole.first(key.size())) ||
      !round_row(decl_.format, value, whole.subspan(key.size())))
    return false;
  undo_.push_back({layer, slot, std::vector<f32>(to.begin(), to.end())});
  std::ranges::copy(rounded, to.begin());
  return true;
}

void ReferenceKv::copy_page(i64 from, i64 to) {
  if (decl_.is_state) return;
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
