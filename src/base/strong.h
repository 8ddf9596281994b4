// Strong<Tag, Rep>: an integer that does not mix with its neighbours (a block id is not a page
// count).
#pragma once

#include <compare>
#include <functional>

#include "base/types.h"

namespace tg {

template <typename Tag, typename Rep = i64>
struct Strong {
  using rep = Rep;
  Rep value{};

  constexpr Strong() = default;
  constexpr explicit Strong(Rep v) : value(v) {}
  friend constexpr auto operator<=>(const Strong&, const Strong&) = default;
};

// Strong integers that are also amounts: they add, subtract and compare, checked by the caller.
template <typename Tag>
struct Amount : Strong<Tag, i64> {
  using Strong<Tag, i64>::Strong;
  friend constexpr Amount operator+(Amount a, Amount b) { return Amount(a.value + b.value); }
  friend constexpr Amount operator-(Amount a, Amount b) { return Amount(a.value - b.value); }
  friend constexpr auto operator<=>(const Amount&, const Amount&) = default;
};

}  // namespace tg

template <typename Tag, typename Rep>
struct std::hash<tg::Strong<Tag, Rep>> {
  std::size_t operator()(const tg::Strong<Tag, Rep>& s) const noexcept {
    return std::hash<Rep>()(s.value);
  }
};
