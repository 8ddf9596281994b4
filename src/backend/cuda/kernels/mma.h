// One instruction of a tensor core: d[16, 8] += a[16, 16] b[16, 8], bf16 or f16 to f32, as a warp's
// 32 lanes hold it. Lane 4 g + t has of a the rows g and g + 8, of b and d the columns that ...
// (PTX ISA, "Matrix fragments for mma.m16n8k16"):
//   a: (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..), two numbers each
//   b: (2t.., g), (2t + 8.., g);  d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
#pragma once

namespace tg_cuda {

#ifdef TG_EMULATED
#define TG_DEVICE static inline
static inline void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  emulated_mma(d, a, b);
}
#else
#define TG_DEVICE static __device__ __forceinline__
TG_DEVICE void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// Two neighbours of a row-major tile of 16-bit numbers.
TG_DEVICE unsigned pair_at(const unsigned short* tile, int stride, int row, int column) {
  return *reinterpret_cast<const unsigned*>(tile + row * stride + column);
}

TG_DEVICE void load_a(unsigned (&a)[4], const unsigned short* tile, int stride, int row,
                      int column) {
  int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
  a[0] = pair_at(tile, stride, row + g, column + 2 * t);
  a[1] = pair_at(tile, stride, row + g + 8, column + 2 * t);
  a[2] = pair_at(tile, stride, row + g, column + 2 * t + 8);
  a[3] = pair_at(tile, stride, row + g + 8, column + 2 * t + 8);
}

// b's columns are the rows of `tile`.
TG_DEVICE void load_b(unsigned (&b)[2], const unsigned short* tile, int stride, int row,
                      int column) {
  int g = static_cast<int>(threadIdx.x) % 32 / 4, t = static_cast<int>(threadIdx.x) % 4;
  b[0] = pair_at(tile, stride, row + g, column + 2 * t);
  b[1] = pair_at(tile, stride, row + g, column + 2 * t + 8);
}

}  // namespace tg_cuda
