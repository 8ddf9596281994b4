// The interpreter's paged cache: per layer, rows of keys and of values by slot, rounded to the
// declared format when written. Writes of a step can be undone, so that a trap commits nothing.
#pragma once

#include <vector>

#include "isa/program.h"

namespace tg::isa {

class ReferenceKv {
 public:
  ReferenceKv(const KvDecl& decl, i64 pages);

  const KvDecl& decl() const { return decl_; }
  i64 slots() const { return slots_; }
  // [heads * dk] and [heads * dv]. REQUIRES: layer and slot in range.
  std::span<const f32> key(u32 layer, i64 slot) const;
  std::span<const f32> value(u32 layer, i64 slot) const;

  void write(u32 layer, i64 slot, std::span<const f64> key, std::span<const f64> value);
  void copy_page(i64 from, i64 to);
  // Forget, or take back, the writes since the last call of either.
  void commit() { undo_.clear(); }
  void roll_back();

 private:
  struct Undo {
    u32 layer;
    i64 slot;
    std::vector<f32> row;  // keys then values, as before
  };
  std::span<f32> row(u32 layer, i64 slot);
  std::span<const f32> row(u32 layer, i64 slot) const;

  KvDecl decl_;
  i64 slots_;
  i64 key_width_;
  i64 width_;
  std::vector<std::vector<f32>> layers_;
  std::vector<Undo> undo_;
};

}  // namespace tg::isa
