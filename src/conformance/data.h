// The numbers of a case: every weight of its program by one generator, in its codec, and the same
// numbers' absolute values for the program that sums magnitudes.
#pragma once

#include <string>
#include <vector>

#include "conformance/generators.h"
#include "isa/program.h"
#include "isa/weights.h"

namespace tg::conformance {

// True for codecs whose numbers are scale * code + offset (q4_1, q4_k, ...). A product may sum the
// two parts apart, as all fast ones do, so that a term of its sum is as large as the largest number
// that shares the offset, whatever the number itself is.
bool has_offset(isa::DType codec);

struct DataSpec {
  std::string label;  // of the family
  Generator generator{};
  int span = 12;
};

class Data {
 public:
  // The tensor's seed is seed_of("label/generator/name").
  Data(const isa::Program& program, const DataSpec& spec);
  // |from|, for a program with the same symbols; of a codec with an offset the largest |number| of
  // each 16 or 32 that share one.
  static Data absolute(const isa::Program& program, const isa::Program& original, const Data& from);

  const isa::WeightTable& table() const { return table_; }
  // Largest |value| of the inputs ($in_*) that token `id` brings: per column if all inputs have
  // `columns` of them, else one number for the row.
  std::vector<f64> argument(const isa::Program& program, i32 id, i64 columns) const;

 private:
  Data() = default;
  void add(const isa::WeightDecl& weight, const std::vector<std::vector<f32>>& layers);

  std::vector<std::vector<u8>> storage_;
  isa::WeightTable table_;
};

}  // namespace tg::conformance
