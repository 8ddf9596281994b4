// Enough of CUDA for a host compiler to run a kernel as it is written: a thread for every thread of
// a work-group, barriers for barriers, and a tensor core that is a triple loop over what a warp's
// lanes hold. For tests: it shows that a kernel's indices and arithmetic are right, not that nvcc's
// code is.
#pragma once

#include <algorithm>
#include <barrier>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#define TG_EMULATED
#define KERNEL_OF(threads) static void
#define KERNEL(name) static void name
#define DEVICE static inline
#define TABLE static const
#define SHARED static  // one work-group runs at a time
#define __align__(n) __attribute__((aligned(n)))
#define BITS(x) std::bit_cast<unsigned>((float)(x))
#define FLOAT(x) std::bit_cast<float>((unsigned)(x))

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;
using std::fabs;
using std::fma;
using std::min;

namespace tg_cuda {

struct Index3 {
  unsigned x = 0, y = 0, z = 0;
};
inline thread_local Index3 block_index, thread_index;

// What a warp's lanes hand to each other, in turns of two: a lane may be one exchange ahead of
// another, never two.
struct EmulatedWarp {
  std::barrier<> lanes{32};
  unsigned a[2][32][4], b[2][32][2];
  float shuffled[2][32];
};
inline thread_local int exchange = 0;
struct EmulatedGroup {
  explicit EmulatedGroup(int threads)
      : all(threads), warps(static_cast<std::size_t>(threads) / 32) {}
  std::barrier<> all;
  std::vector<EmulatedWarp> warps;
};
inline EmulatedGroup* group = nullptr;

inline EmulatedWarp& warp() {
  return group->warps[thread_index.x / 32];
}

inline float bfloat(unsigned pair, int half) {
  return std::bit_cast<float>(half ? pair & 0xFFFF0000u : pair << 16);
}

// d[16, 8] += a[16, 16] b[16, 8]: rows and columns from where PTX says each lane has them.
inline void emulated_mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  EmulatedWarp& w = warp();
  unsigned lane = thread_index.x % 32;
  int turn = exchange++ % 2;
  std::copy(a, a + 4, w.a[turn][lane]);
  std::copy(b, b + 2, w.b[turn][lane]);
  w.lanes.arrive_and_wait();
  for (int i = 0; i < 4; ++i) {
    int row = static_cast<int>(lane) / 4 + i / 2 * 8;
    int column = static_cast<int>(lane) % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      int from_a = row % 8 * 4 + k % 8 / 2, from_b = column * 4 + k % 8 / 2;
      d[i] += bfloat(w.a[turn][from_a][row / 8 + k / 8 * 2], k % 2) *
              bfloat(w.b[turn][from_b][k / 8], k % 2);
    }
  }
}

inline float emulated_shuffle(float v, unsigned mask) {
  EmulatedWarp& w = warp();
  unsigned lane = thread_index.x % 32;
  int turn = exchange++ % 2;
  w.shuffled[turn][lane] = v;
  w.lanes.arrive_and_wait();
  return w.shuffled[turn][lane ^ mask];
}

// Runs kernel() for every thread of every work-group of the grid, one work-group at a time.
inline void emulate(Index3 grid, int threads, const std::function<void()>& kernel) {
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        EmulatedGroup here(threads);
        group = &here;
        std::vector<std::jthread> all;
        for (int t = 0; t < threads; ++t) {
          all.emplace_back([&, t] {
            block_index = {x, y, z};
            thread_index = {static_cast<unsigned>(t), 0, 0};
            kernel();
          });
        }
      }
    }
  }
}

}  // namespace tg_cuda

#define blockIdx tg_cuda::block_index
#define threadIdx tg_cuda::thread_index
#define __syncthreads() tg_cuda::group->all.arrive_and_wait()
#define __shfl_xor_sync(lanes, v, mask) tg_cuda::emulated_shuffle(v, mask)
