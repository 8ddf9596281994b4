// The interpreter's states (.state): per layer and slot one block of heads x dk x dv numbers,
// rounded to the declared format at the end of the step that made them. As with the cache, a step's
// writes can be taken back.
#pragma once

#include <vector>

#include "isa/program.h"

namespace tg::isa {

class ReferenceState {
 public:
  // A paged cache gets no slots here.
  ReferenceState(const KvDecl& decl, i64 slots);

  const KvDecl& decl() const { return decl_; }
  i64 slots() const { return slots_; }
  // [heads, dk, dv]. REQUIRES: layer and slot in range.
  std::span<const f32> block(u32 layer, i64 slot) const;

  void write(u32 layer, i64 slot, std::span<const f64> block);
  void copy_slot(i64 from, i64 to);
  void commit() { undo_.clear(); }
  void roll_back();

 private:
  struct Undo {
    u32 layer;
    i64 slot;
    std::vector<f32> block;
  };
  std::span<f32> block(u32 layer, i64 slot);

  KvDecl decl_;
  i64 slots_;
  i64 size_;
  std::vector<std::vector<f32>> layers_;
  std::vector<Undo> undo_;
};

}  // namespace tg::isa
