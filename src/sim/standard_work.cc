#include "sim/standard_work.h"

#include "base/assert.h"
#include "unit/nominal.h"

namespace tg::sim {

namespace {

constexpr u64 kBodyParameters = 6'979'321'856;  // linears that every token passes
constexpr u64 kHeadParameters = 525'336'576;
constexpr u64 kKeyBytes = 131'072;  // of a token in all layers
constexpr u64 kPairFlops = 524'288;
constexpr u64 kBytes = 2;
constexpr f64 kNano = 1e-9;

}  // namespace

StandardWork::StandardWork() {
  matrix_.per_pass[unit::kWBytes] = kBodyParameters * kBytes;
  matrix_.per_token[unit::kMmF16] = 2 * kBodyParameters;
  matrix_.per_token[unit::kKvWr] = kKeyBytes;
  matrix_.per_row[unit::kMmF16] = 2 * kHeadParameters;
  matrix_.head_bytes = kHeadParameters * kBytes;
  matrix_.windows.push_back({.attn_flops_per_pair = kPairFlops, .kv_rd_bytes_per_key = kKeyBytes});
}

f64 StandardWork::st(i64 prompt, i64 cached, i64 output) const {
  Result<unit::NominalWork> work =
      unit::nominal_work(matrix_, {.prompt = prompt, .cached = cached, .outputs = {&output, 1}});
  TG_ASSERT(work.ok());
  return static_cast<f64>(work->total.value) * kNano;
}

}  // namespace tg::sim
