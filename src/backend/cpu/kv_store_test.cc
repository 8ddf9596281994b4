// Rows written to a cache are the codec's, wherever they lie; what no block can hold becomes NaN.
#include "backend/cpu/kv_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backend/tiny_llama.h"

namespace tg::backend::cpu {
namespace {

struct Cache {
  KvPages kv;
  std::vector<u8> memory;

  Cache(isa::DType format, i64 dk, i64 dv, i64 latent)
      : kv{.page_tokens = 16,
           .heads = 2,
           .dk = dk,
           .dv = dv,
           .latent = latent,
           .format = kv_format(format).value()} {
    kv.page_bytes = kv.heads * kv_head_bytes(kv);
    memory.resize(static_cast<std::size_t>(2 * kv.page_bytes));
    kv.base = memory.data();
  }

  void append(const std::vector<f32>& k, const std::vector<f32>& v, std::vector<i32> slots) {
    KvAppendArgs args{.kv = kv,
                      .batch = {.slots = slots.data()},
                      .k = k.data(),
                      .v = v.empty() ? nullptr : v.data(),
                      .tokens = static_cast<i64>(slots.size())};
    for (i32 part = 0; part < 2; ++part) kv_append(args, part, 2);
  }
  // The row of a head's value, or of its latent key, as f32.
  std::vector<f32> row(isa::DType format, i64 slot, i64 head) const {
    i64 width = kv_row_width(kv);
    const u8* at = kv_head_at(kv, slot / 16, head) + kv_keys_bytes(kv) +
                   slot % 16 * kv_row_bytes(kv.format, width);
    std::vector<f32> out(static_cast<std::size_t>(width));
    isa::dequantize_row(format, {at, static_cast<std::size_t>(isa::row_bytes(format, width))}, out);
    return out;
  }
};

std::vector<f32> noise(i64 n, u64 seed) {
  SeededRandom random(seed);
  std::vector<f32> out(static_cast<std::size_t>(n));
  for (f32& x : out) x = static_cast<f32>(random.uniform() * 2.0 - 1.0);
  return out;
}

std::vector<f32> rounded(isa::DType format, std::span<const f32> row) {
  std::vector<u8> bytes(
      static_cast<std::size_t>(isa::row_bytes(format, static_cast<i64>(row.size()))));
  std::vector<f32> out(row.size());
  isa::quantize_row(format, row, bytes);
  isa::dequantize_row(format, bytes, out);
  return out;
}

constexpr isa::DType kFormats[] = {isa::DType::kF32,  isa::DType::kF16,  isa::DType::kBf16,
                                   isa::DType::kE4m3, isa::DType::kQ8_0, isa::DType::kQ4_0};

TEST(KvStore, rows_are_the_codecs) {
  for (isa::DType format : kFormats) {
    for (i64 latent : {0, 32}) {
      Cache cache(format, 64, latent > 0 ? 0 : 96, latent);
      std::vector<f32> k = noise(3 * 128, 1), v = noise(3 * 192, 2);
      cache.append(k, latent > 0 ? std::vector<f32>() : v, {3, -1, 17});
      i64 width = latent > 0 ? 64 : 96;
      std::span<const f32> from = latent > 0 ? k : v;
      for (i64 t : {0, 2}) {
        for (i64 head = 0; head < 2; ++head) {
          std::span<const f32> row = from.subspan(static_cast<std::size_t>((t * 2 + head) * width),
                                                  static_cast<std::size_t>(width));
          EXPECT_EQ(cache.row(format, t == 0 ? 3 : 17, head), rounded(format, row))
              << isa::info(format).name << " latent " << latent;
        }
      }
      EXPECT_EQ(cache.row(format, 4, 0), std::vector<f32>(static_cast<std::size_t>(width)));
    }
  }
}

TEST(KvStore, a_block_with_a_number_that_is_not_finite_is_nan) {
  for (isa::DType format : {isa::DType::kQ8_0, isa::DType::kQ4_0}) {
    for (f32 bad : {NAN, INFINITY}) {
      Cache cache(format, 32, 64, 0);
      std::vector<f32> k = noise(64, 1), v = noise(128, 2);
      v[40] = bad;
      cache.append(k, v, {5});
      std::vector<f32> row = cache.row(format, 5, 0);
      for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(row[i]), i >= 32) << i;
    }
  }
}

TEST(KvStore, formats_no_cache_has) {
  EXPECT_FALSE(kv_format(isa::DType::kE5m2).has_value());
  EXPECT_FALSE(kv_format(isa::DType::kQ4K).has_value());
}

}  // namespace
}  // namespace tg::backend::cpu
