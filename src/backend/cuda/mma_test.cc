// The tensor-core kernels as they are written, run by a host emulation of their work-groups,
// against plain sums: every codec, ragged edges, biases, rows by expert.
#include <gtest/gtest.h>

#include "backend/cuda/kernels/emulation.h"
// The emulation comes before what it replaces CUDA for.
#include "backend/cuda/kernels/codes.h"
#include "backend/cuda/kernels/mma.h"
#include "backend/gpu/packed.h"
#include "env/random.h"
#include "isa/codec.h"

// The kernels are CUDA's C++, not this project's: a namespace for every codec's.
#define TG_HALVES                               \
  static inline float half_at(const uchar* p) { \
    return tg_cuda::half_at(p);                 \
  }                                             \
  static inline ushort to_half(float x) {       \
    return tg::isa::f16_from_f32(x);            \
  }                                             \
  static inline float from_half(ushort bits) {  \
    return tg::isa::f32_from_f16(bits);         \
  }

#define CODEC 9
namespace codec_9 {
TG_HALVES
#include "backend/cuda/kernels/linear_mma.cu"
}  // namespace codec_9
#undef CODEC
#define CODEC 18
namespace codec_18 {
TG_HALVES
#include "backend/cuda/kernels/linear_mma.cu"
}  // namespace codec_18
#undef CODEC
#define CODEC 21
namespace codec_21 {
TG_HALVES
#include "backend/cuda/kernels/linear_mma.cu"
}  // namespace codec_21
#undef CODEC
#define CODEC 23
namespace codec_23 {
TG_HALVES
#include "backend/cuda/kernels/linear_mma.cu"
}  // namespace codec_23
#undef CODEC
#define CODEC 14
namespace codec_14 {
TG_HALVES
#include "backend/cuda/kernels/linear_mma.cu"
}  // namespace codec_14
#undef CODEC
#define CODEC 29
namespace codec_29 {
TG_HALVES
#include "backend/cuda/kernels/linear_mma.cu"
}  // namespace codec_29
#undef CODEC
#define CODEC 30
namespace codec_30 {
TG_HALVES
#include "backend/cuda/kernels/linear_mma.cu"
}  // namespace codec_30
#undef CODEC

namespace tg::backend::cuda {
namespace {

struct Case {
  i64 n = 0, k = 0, rows = 0;
  int parts = 3;
  bool has_bias = false;
  bool grouped = false;  // two experts, rows dealt in turn
};

std::vector<f32> numbers(i64 count, u64 seed) {
  SeededRandom random(seed);
  std::vector<f32> out;
  for (i64 i = 0; i < count; ++i) {
    out.push_back(static_cast<f32>(static_cast<i64>(random.below(4'001)) - 2'000) / 1'300.0f);
  }
  return out;
}

template <typename Kernel>
void expect_product(isa::DType codec, const Case& c, Kernel kernel) {
  i64 experts = c.grouped ? 2 : 1;
  std::vector<f32> dense = numbers(experts * c.n * c.k, 1);
  std::vector<u8> canonical(static_cast<std::size_t>(experts * c.n * isa::row_bytes(codec, c.k)));
  i64 row = isa::row_bytes(codec, c.k);
  for (i64 r = 0; r < experts * c.n; ++r) {
    isa::quantize_row(codec, {dense.data() + r * c.k, static_cast<std::size_t>(c.k)},
                      {canonical.data() + r * row, static_cast<std::size_t>(row)});
  }
  tg_wdesc weight{.size = sizeof(tg_wdesc),
                  .dtype = static_cast<u8>(codec),
                  .rank = 3,
                  .uses = TG_USE_GROUPED,
                  .dims = {experts, c.n, c.k},
                  .ref_bytes = canonical.data(),
                  .ref_size = canonical.size()};
  gpu::Packed packed = gpu::packed_form(weight).value();
  std::vector<u8> w(static_cast<std::size_t>(packed.bytes()));
  ASSERT_TRUE(gpu::pack_weight(weight, packed, w.data()).ok());
  isa::dequantize_row(codec, canonical, dense);

  std::vector<f32> x = numbers(c.rows * c.k, 2), bias = numbers(experts * c.n, 3);
  if (c.parts == 1) {
    for (f32& v : x) v = isa::round_to(isa::DType::kBf16, v);
  }
  // Each row's expert, the rows by expert, where each expert's begin.
  std::vector<int> perm(static_cast<std::size_t>(2 * c.rows));
  std::vector<int> begin = {0};
  int at = static_cast<int>(c.rows);
  for (i64 e = 0; e < experts; ++e) {
    for (i64 r = e; r < c.rows; r += experts) {
      perm[static_cast<std::size_t>(r)] = static_cast<int>(e);
      perm[static_cast<std::size_t>(at++)] = static_cast<int>(r);
    }
    begin.push_back(at - static_cast<int>(c.rows));
  }
  perm.insert(perm.end(), begin.begin(), begin.end());

  std::vector<f32> y(static_cast<std::size_t>(c.rows * c.n), -1);
  int step[4] = {static_cast<int>(c.rows), 1, 1, 0};
  int n = static_cast<int>(c.n), k = static_cast<int>(c.k);
  auto bytes = [](auto& v) { return reinterpret_cast<uchar*>(v.data()); };
  unsigned groups_n = static_cast<unsigned>((c.n + 127) / 128);
  unsigned groups_t = static_cast<unsigned>((c.rows + 63) / 64);
  tg_cuda::emulate({groups_n, groups_t, static_cast<unsigned>(experts)}, 128, [&] {
    kernel(step, 0, 1, 0, 0, bytes(w), 0ul, bytes(x), 0ul, bytes(bias), 0ul, bytes(y), 0ul,
           bytes(perm), 0ul, 0, 1, 0, 0, n, k, static_cast<ulong>(packed.row_bytes),
           static_cast<ulong>(packed.matrix_bytes()), k, 0, n, 0, n, c.grouped ? 1 : 0, 1,
           c.has_bias ? 1 : 0, 0, static_cast<int>(codec), c.parts);
  });
  for (i64 r = 0; r < c.rows; ++r) {
    i64 e = c.grouped ? r % 2 : 0;
    for (i64 j = 0; j < c.n; ++j) {
      f64 want = c.has_bias ? bias[static_cast<std::size_t>(e * c.n + j)] : 0.0;
      f64 size = std::fabs(want);
      for (i64 i = 0; i < c.k; ++i) {
        f64 term = f64{dense[static_cast<std::size_t>((e * c.n + j) * c.k + i)]} *
                   f64{x[static_cast<std::size_t>(r * c.k + i)]};
        want += term;
        size += std::fabs(term);
      }
      // E3.f32: gamma 32, doubled for codecs with a minimum, whose two sums nearly cancel.
      ASSERT_NEAR(y[static_cast<std::size_t>(r * c.n + j)], want, 64 * 0x1p-24 * size)
          << "codec " << static_cast<int>(codec) << " row " << r << " column " << j;
    }
  }
}

TEST(CudaTensorCores, products_are_those_of_the_codecs) {
  using isa::DType;
  // Past one work-group's columns and rows; k is a block of the codec, or more.
  expect_product(DType::kBf16, {.n = 132, .k = 32, .rows = 66}, codec_9::tg_linear_tile);
  expect_product(DType::kQ8_0, {.n = 40, .k = 64, .rows = 20}, codec_18::tg_linear_tile);
  expect_product(DType::kQ4K, {.n = 40, .k = 256, .rows = 20, .parts = 1},
                 codec_21::tg_linear_tile);
  expect_product(DType::kQ6K, {.n = 20, .k = 256, .rows = 9, .parts = 1}, codec_23::tg_linear_tile);
  expect_product(DType::kQ4_0, {.n = 20, .k = 32, .rows = 9}, codec_14::tg_linear_tile);
  expect_product(DType::kI4G128, {.n = 20, .k = 128, .rows = 9, .parts = 1},
                 codec_29::tg_linear_tile);
  expect_product(DType::kFp8B128, {.n = 20, .k = 128, .rows = 9, .parts = 1},
                 codec_30::tg_linear_tile);
}

TEST(CudaTensorCores, parts_biases_odd_widths_and_experts) {
  using isa::DType;
  expect_product(DType::kBf16, {.n = 33, .k = 45, .rows = 9, .parts = 1, .has_bias = true},
                 codec_9::tg_linear_tile);
  expect_product(DType::kQ8_0, {.n = 48, .k = 64, .rows = 21, .has_bias = true, .grouped = true},
                 codec_18::tg_linear_tile);
}

}  // namespace
}  // namespace tg::backend::cuda
