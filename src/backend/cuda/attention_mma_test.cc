// Attention on tensor cores as it is written, run by a host emulation of its work-groups beside the
// shared kernel: both against sums in f64, over every cache format, groups, windows, caps, sinks,
// trees, latent caches and tiles with several sequences.
#include <gtest/gtest.h>

#include "backend/cuda/kernels/emulation.h"
// The emulation comes before what it replaces CUDA for.
#include "backend/cuda/kernels/codes.h"
#include "backend/cuda/kernels/mma.h"
#include "env/random.h"
#include "isa/codec.h"

// The kernels are CUDA's C++, not this project's.
#define HEAD_MAX 128
namespace head_128 {
using std::exp;
using std::floor;
using std::tanh;
static inline float half_at(const uchar* p) {
  return tg_cuda::half_at(p);
}
static inline ushort to_half(float x) {
  return tg::isa::f16_from_f32(x);
}
static inline float from_half(ushort bits) {
  return tg::isa::f32_from_f16(bits);
}
#include "backend/cuda/kernels/attention_mma.cu"
}  // namespace head_128

namespace tg::backend::cuda {
namespace {

constexpr int kPageTokens = 16;

struct Sequence {
  int past = 0, fresh = 0;
};

struct Case {
  const char* name;
  int format = KV_F16;
  isa::DType type = isa::DType::kF32;  // of queries and result
  int heads = 4, kv_heads = 2, dk = 32, dv = 32;
  std::vector<Sequence> sequences = {{.past = 0, .fresh = 20}};
  int window = 0;
  int mask = MASK_CAUSAL;
  bool has_sinks = false, is_latent = false;
  float softcap = 0;
};

// A step's operands, as the host lays them out.
struct Step {
  std::vector<float> q, sinks;
  std::vector<uchar> kv;
  std::vector<int> params;
  int cu = 0, past = 0, page_begin = 0, pages = 0, tree = 0;
  int tokens = 0, k_row = 0, v_row = 0;
  ulong page_bytes = 0;
};

std::vector<float> numbers(std::size_t count, u64 seed, isa::DType type) {
  SeededRandom random(seed);
  std::vector<float> out;
  for (std::size_t i = 0; i < count; ++i) {
    float v = static_cast<float>(static_cast<i64>(random.below(40'001)) - 20'000) / 9'000.0f;
    out.push_back(isa::round_to(type, v));
  }
  return out;
}

int row_bytes(int format, int channels) {
  switch (format) {
    case KV_F32: return channels * 4;
    case KV_F16:
    case KV_BF16: return channels * 2;
    case KV_E4M3: return channels;
    case KV_Q8_0: return channels / 32 * 36;
    default: return channels / 32 * 20;
  }
}

void fill_cache(const Case& c, int pages, Step& step) {
  step.k_row = row_bytes(c.format, c.dk);
  step.v_row = c.is_latent ? 0 : row_bytes(c.format, c.dv);
  step.page_bytes = static_cast<ulong>(c.kv_heads * kPageTokens * (step.k_row + step.v_row));
  step.kv.resize(static_cast<std::size_t>(pages) * step.page_bytes);
  u64 seed = 100;
  for (int page = 0; page < pages; ++page) {
    for (int h = 0; h < c.kv_heads; ++h) {
      uchar* head = step.kv.data() + static_cast<ulong>(page) * step.page_bytes +
                    h * kPageTokens * (step.k_row + step.v_row);
      for (int t = 0; t < 2 * kPageTokens; ++t) {
        bool is_key = t < kPageTokens;
        int row = is_key ? step.k_row : step.v_row, channels = is_key ? c.dk : c.dv;
        if (row == 0) continue;
        uchar* to = head + (is_key ? t * row : kPageTokens * step.k_row + (t - kPageTokens) * row);
        std::vector<float> x =
            numbers(static_cast<std::size_t>(channels), ++seed, isa::DType::kF32);
        int each = c.format >= KV_Q8_0 ? 32 : channels;
        for (int first = 0; first < channels; first += each) {
          head_128::store_channels(c.format, to, x.data(), first, first + each);
        }
      }
    }
  }
}

Step make_step(const Case& c) {
  Step step;
  std::vector<int> cu = {0}, past, begin = {0}, pages, tree;
  int page = 0;
  for (const Sequence& s : c.sequences) {
    cu.push_back(cu.back() + s.fresh);
    past.push_back(s.past);
    for (int p = 0; p < (s.past + s.fresh + kPageTokens - 1) / kPageTokens; ++p) {
      pages.push_back(page++);
    }
    begin.push_back(static_cast<int>(pages.size()));
    // Each third new token is a second child of the token two before it.
    for (int t = 0; t < s.fresh; ++t) tree.push_back(t % 3 == 2 ? t - 2 : -1);
  }
  std::reverse(pages.begin(), pages.end());
  step.tokens = cu.back();
  auto place = [&](const std::vector<int>& list) {
    int at = static_cast<int>(step.params.size());
    step.params.insert(step.params.end(), list.begin(), list.end());
    return at;
  };
  step.cu = place(cu);
  step.past = place(past);
  step.page_begin = place(begin);
  step.pages = place(pages);
  step.tree = place(tree);
  step.q = numbers(static_cast<std::size_t>(step.tokens * c.heads * c.dk), 7, c.type);
  step.sinks = numbers(static_cast<std::size_t>(c.heads), 8, isa::DType::kF32);
  fill_cache(c, page, step);
  return step;
}

float scale_of(const Case& c) {
  return 1.0f / std::sqrt(static_cast<float>(c.dk));
}

template <typename Kernel>
std::vector<float> run(const Case& c, Step& step, tg_cuda::Index3 grid, int threads,
                       Kernel kernel) {
  std::vector<float> y(static_cast<std::size_t>(step.tokens * c.heads * c.dv), -99.0f);
  int sizes[4] = {step.tokens, static_cast<int>(c.sequences.size()), 1, 0};
  auto bytes = [](auto& v) { return reinterpret_cast<uchar*>(v.data()); };
  int mode = c.type == isa::DType::kF16 ? ROUND_F16 : c.type == isa::DType::kBf16 ? ROUND_BF16 : 0;
  int parts = c.type == isa::DType::kF16 ? 2 : c.type == isa::DType::kBf16 ? 1 : 3;
  tg_cuda::emulate(grid, threads, [&] {
    kernel(sizes, 0, 1, 0, 0, bytes(step.q), 0ul, bytes(step.sinks), 0ul, bytes(step.kv), 0ul,
           bytes(step.params), 0ul, bytes(y), 0ul, bytes(y), 0ul, step.cu, step.past,
           step.page_begin, step.pages, step.tree, c.heads, c.kv_heads, c.dk, c.dv, kPageTokens,
           step.page_bytes, step.k_row, step.v_row, c.window, c.mask, c.has_sinks ? 1 : 0, 1,
           scale_of(c), c.softcap, mode, c.format, parts, mode == 0 ? 3 : 2);
  });
  return y;
}

// What the token sees, as isa.md says it.
bool sees(const Case& c, const Step& step, const Sequence& s, int first, int token, int key) {
  int own = s.past + token;
  if (c.window > 0 && key <= own - c.window) return false;
  if (c.mask == MASK_CAUSAL) return key <= own;
  if (c.mask == MASK_FULL || key < s.past) return true;
  int at = token, node = key - s.past;
  while (at > node) {
    int parent = step.params[static_cast<std::size_t>(step.tree + first + at)];
    at = parent < 0 ? at - 1 : parent;
  }
  return at == node;
}

std::vector<f64> golden(const Case& c, const Step& step) {
  std::vector<f64> y;
  int first = 0, page_first = 0;
  for (const Sequence& s : c.sequences) {
    int keys = s.past + s.fresh;
    for (int t = 0; t < s.fresh; ++t) {
      for (int h = 0; h < c.heads; ++h) {
        int kv_head = h / (c.heads / c.kv_heads);
        auto row_of = [&](int key, bool is_value) {
          int page =
              step.params[static_cast<std::size_t>(step.pages + page_first + key / kPageTokens)];
          const uchar* head = step.kv.data() + static_cast<ulong>(page) * step.page_bytes +
                              kv_head * kPageTokens * (step.k_row + step.v_row);
          bool is_own = is_value && !c.is_latent;
          return head + (is_own ? kPageTokens * step.k_row : 0) +
                 key % kPageTokens * (is_own ? step.v_row : step.k_row);
        };
        const float* q = step.q.data() + ((first + t) * c.heads + h) * c.dk;
        std::vector<f64> scores(static_cast<std::size_t>(keys), -INFINITY);
        f64 top = c.has_sinks ? f64{step.sinks[static_cast<std::size_t>(h)]} : -INFINITY;
        for (int key = 0; key < keys; ++key) {
          if (!sees(c, step, s, first, t, key)) continue;
          f64 dot = 0;
          for (int i = 0; i < c.dk; ++i) {
            dot += f64{q[i]} * f64{head_128::cached(c.format, row_of(key, false), i)};
          }
          dot *= f64{scale_of(c)};
          if (c.softcap > 0) dot = f64{c.softcap} * std::tanh(dot / f64{c.softcap});
          scores[static_cast<std::size_t>(key)] = dot;
          top = std::max(top, dot);
        }
        f64 total = c.has_sinks ? std::exp(f64{step.sinks[static_cast<std::size_t>(h)]} - top) : 0;
        std::vector<f64> sums(static_cast<std::size_t>(c.dv));
        for (int key = 0; key < keys; ++key) {
          f64 weight = std::exp(scores[static_cast<std::size_t>(key)] - top);
          if (weight == 0) continue;
          total += weight;
          for (int i = 0; i < c.dv; ++i) {
            sums[static_cast<std::size_t>(i)] +=
                weight * f64{head_128::cached(c.format, row_of(key, true), i)};
          }
        }
        for (f64 sum : sums) y.push_back(sum / total);
      }
    }
    first += s.fresh;
    page_first += (keys + kPageTokens - 1) / kPageTokens;
  }
  return y;
}

struct Errors {
  f64 square = 0, largest = 0;
};

Errors errors_of(const std::vector<float>& y, const std::vector<f64>& want) {
  Errors out;
  for (std::size_t i = 0; i < want.size(); ++i) {
    f64 error = std::fabs(f64{y[i]} - want[i]);
    out.square += error * error;
    out.largest = std::max(out.largest, error);
  }
  return out;
}

// E4: in the root mean square at most 1.5 times as far off as the plain form, at most 5 times
// anywhere.
void expect_as_exact_as_the_shared_kernel(const Case& c) {
  SCOPED_TRACE(c.name);
  Step step = make_step(c);
  int group = c.heads / c.kv_heads;
  unsigned tokens = static_cast<unsigned>(step.tokens);
  std::vector<float> shared =
      run(c, step, {tokens, static_cast<unsigned>(c.kv_heads * ((group + HEADS - 1) / HEADS)), 1},
          WG, head_128::tg_attention);
  std::vector<float> tiled =
      run(c, step,
          {(tokens * static_cast<unsigned>(group) + TILE_ROWS - 1) / TILE_ROWS,
           static_cast<unsigned>(c.kv_heads), 1},
          TILE_THREADS, head_128::tg_attention_tile);
  std::vector<f64> want = golden(c, step);
  ASSERT_EQ(want.size(), tiled.size());
  Errors theirs = errors_of(shared, want), ours = errors_of(tiled, want);
  EXPECT_LT(theirs.largest, c.type == isa::DType::kF32 ? 1e-5 : 2e-2)
      << "the shared kernel is right";
  EXPECT_LE(ours.square, 1.5 * 1.5 * theirs.square);
  EXPECT_LE(ours.largest, 5 * theirs.largest);
}

TEST(CudaAttention, formats_and_types) {
  using isa::DType;
  for (const Case& c :
       std::vector<Case>{{.name = "f32", .format = KV_F32},
                         {.name = "f16", .format = KV_F16, .dk = 64, .dv = 40},
                         {.name = "bf16 and bf16", .format = KV_BF16, .type = DType::kBf16},
                         {.name = "f16 and f16", .format = KV_F16, .type = DType::kF16},
                         {.name = "e4m3", .format = KV_E4M3},
                         {.name = "q8_0", .format = KV_Q8_0},
                         {.name = "q4_0 and bf16", .format = KV_Q4_0, .type = DType::kBf16}}) {
    expect_as_exact_as_the_shared_kernel(c);
  }
}

TEST(CudaAttention, what_a_row_sees) {
  for (const Case& c : std::vector<Case>{
           {.name = "past and chunks", .sequences = {{.past = 70, .fresh = 18}}},
           {.name = "window", .sequences = {{.past = 80, .fresh = 17}}, .window = 24},
           {.name = "full", .sequences = {{.past = 3, .fresh = 17}}, .mask = MASK_FULL},
           {.name = "tree", .sequences = {{.past = 9, .fresh = 19}}, .mask = MASK_FULL + 1},
           {.name = "sinks and softcap", .has_sinks = true, .softcap = 2.5f},
           {.name = "latent", .heads = 3, .kv_heads = 1, .dk = 72, .dv = 64, .is_latent = true}}) {
    expect_as_exact_as_the_shared_kernel(c);
  }
}

// Groups of five: a tile's rows begin and end within a token. Sequences of one token and of none
// among long ones.
TEST(CudaAttention, tiles_hold_rows_of_several_sequences) {
  expect_as_exact_as_the_shared_kernel({.name = "several",
                                        .heads = 5,
                                        .kv_heads = 1,
                                        .sequences = {{.past = 5, .fresh = 7},
                                                      {.past = 40, .fresh = 1},
                                                      {.fresh = 0},
                                                      {.fresh = 18}},
                                        .has_sinks = true});
}

}  // namespace
}  // namespace tg::backend::cuda
