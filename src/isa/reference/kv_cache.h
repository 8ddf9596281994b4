// The interpreter's paged cache: per layer, rows of keys and of values by slot, rounded to the
// declared format when written. Writes of a step can be undone, so that a trap commits nothing.
#pragma once

#include <vector>

#include "isa/program.h"

namespace tg::isa {

class ReferenceKv {
 public:
  // A state has no pages: it gets no slots here (state_store.h).
  ReferenceKv(const KvDecl& decl, i64 pages);

  const KvDecl& decl() const { return decl_; }
  i64 slots() const { return slots_; }
  // [heads * dk] and [heads * dv]. REQUIRES: layer and slot in range.
  std::span<const f32> key(u32 layer, i64 slot) const;
  std::span<const f32> value(u32 layer, i64 slot) const;

  // Each element goes to f32, then the heads' rows through the format's codec and back; a block
  // format rounds a head's row block by block. False, and nothing written, if a block format cannot
  // hold the row: a block has one scale, so a number that is not finite would take its neighbours
  // with it. REQUIRES: widths as key() and value().
  [[nodiscard]] bool write(u32 layer, i64 slot, std::span<const f64> key,
                           std::span<const f64> value);
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

// What a stored row is read back as. False if a block of it is not finite. REQUIRES: block formats
// divide the row.
[[nodiscard]] bool round_row(DType format, std::span<const f64> in, std::span<f32> out);

}  // namespace tg::isa
