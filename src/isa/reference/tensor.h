// A value of the interpreter: concrete dimensions and elements as f64, which holds every f32,
// 16-bit float and i32 exactly.
#pragma once

#include <vector>

#include "isa/program.h"

namespace tg::isa {

struct Tensor {
  DType dtype = DType::kF32;
  std::vector<i64> dims;
  std::vector<f64> data;  // row-major

  i64 columns() const { return dims.back(); }
  // 0 where a step has no columns: T, S and R may be 0.
  i64 rows() const { return columns() == 0 ? 0 : static_cast<i64>(data.size()) / columns(); }
  std::span<const f64> row(i64 i) const {
    return std::span<const f64>(data).subspan(static_cast<std::size_t>(i * columns()),
                                              static_cast<std::size_t>(columns()));
  }
  std::span<f64> row(i64 i) {
    return std::span<f64>(data).subspan(static_cast<std::size_t>(i * columns()),
                                        static_cast<std::size_t>(columns()));
  }
};

}  // namespace tg::isa
