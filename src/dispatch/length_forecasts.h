// How long answers are expected to be, by whose they are and how long the prompt is: a tenant's
// short questions, pasted documents and long conversations are answered at lengths of their own.
// Quantiles over a history cost more than a decision may, so a forecast is renewed after so many
// answers.
#pragma once

#include <algorithm>
#include <bit>
#include <string>
#include <unordered_map>

#include "predict/output_length.h"

namespace tg::dispatch {

class LengthForecasts {
 public:
  // `most`: that was asked for; 0: not stated.
  predict::LengthForecast of(u64 tenant, i64 prompt_tokens, i64 most) {
    if (kinds_.size() > predict::OutputLengths::kTenantsMax) kinds_.clear();
    Kind& k = kinds_[{tenant, size_of(prompt_tokens)}];
    if (k.ended >= k.renew_at) renew(k, tenant, size_of(prompt_tokens));
    predict::LengthForecast out = k.forecast;
    if (most > 0) out.p50 = std::min(out.p50, most);
    return out;
  }
  void ended(u64 tenant, i64 prompt_tokens, i64 output_tokens) {
    u32 size = size_of(prompt_tokens);
    // Who is new here borrows from all whose prompts are as long.
    lengths_.observe(std::to_string(size), std::to_string(tenant), output_tokens);
    ++kinds_[{tenant, size}].ended;
  }

 private:
  struct Key {
    u64 tenant = 0;
    u32 size = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::size_t operator()(const Key& k) const {
      constexpr u64 kSpread = 0x9e3779b97f4a7c15;
      return static_cast<std::size_t>((k.tenant + k.size) * kSpread ^ k.size);
    }
  };
  struct Kind {
    predict::LengthForecast forecast;
    i64 ended = 0;
    i64 renew_at = 0;  // ended
  };

  // Prompts between two powers of two are alike.
  static u32 size_of(i64 prompt_tokens) {
    return static_cast<u32>(std::bit_width(static_cast<u64>(std::max<i64>(0, prompt_tokens))));
  }
  void renew(Kind& k, u64 tenant, u32 size) {
    k.forecast = lengths_.forecast(std::to_string(size), std::to_string(tenant), kLongest);
    if (k.forecast.p50 == kLongest) k.forecast = {.p50 = kGuess, .p90 = 2 * kGuess};
    k.renew_at = k.ended + std::clamp<i64>(k.ended, 1, kRenewEvery);
  }

  static constexpr i64 kRenewEvery = 50;
  static constexpr i64 kGuess = 200;
  static constexpr i64 kLongest = 1 << 20;

  predict::OutputLengths lengths_;
  std::unordered_map<Key, Kind, Hash> kinds_;
};

}  // namespace tg::dispatch
