// Checked integer arithmetic: nothing that is billed or addressed may wrap. Each returns nullopt on
// overflow.
#pragma once

#include <optional>
#include <string>

#include "base/types.h"

namespace tg {

template <typename T>
constexpr std::optional<T> checked_add(T a, T b) {
  T out;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

template <typename T>
constexpr std::optional<T> checked_sub(T a, T b) {
  T out;
  if (__builtin_sub_overflow(a, b, &out)) return std::nullopt;
  return out;
}

template <typename T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T out;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

// numerator / denominator, rounded half to even. REQUIRES: numerator >= 0, denominator > 0.
u128 div_round_half_even(u128 numerator, u128 denominator);

// Decimal digits of a 128-bit integer, which the standard library does not print.
std::string to_string(u128 value);
std::string to_string(i128 value);

}  // namespace tg
