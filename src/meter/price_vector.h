// What is rated and for how much: disjoint classes of use, a price for each, and the one rounding
// that turns use into an amount. The rater is cumulative, so that the total of a request does not
// depend on the slices it was posted in (money.md §5.2, I-12).
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::meter {

// name, the units that one price buys. The classes are disjoint: a token is in exactly one of the
// first five. Residency is in byte-seconds, work in nano-ST of nominal (never actual) work.
#define TG_RATED_CLASSES(X)                                  \
  X(kUncachedInput, "uncached_input", 1'000'000)             \
  X(kCachedInput, "cached_input", 1'000'000)                 \
  X(kCacheWrite, "cache_write", 1'000'000)                   \
  X(kOutput, "output", 1'000'000)                            \
  X(kReasoning, "reasoning", 1'000'000)                      \
  X(kResidencyDevice, "residency_device", 1'000'000'000'000) \
  X(kResidencyHost, "residency_host", 1'000'000'000'000)     \
  X(kResidencyDisk, "residency_disk", 1'000'000'000'000)     \
  X(kWork, "work", 1'000'000'000'000'000)

enum class RatedClass : u8 {
#define TG_RATED_ENUM(id, name, units) id,
  TG_RATED_CLASSES(TG_RATED_ENUM)
#undef TG_RATED_ENUM
      kCount
};
inline constexpr std::size_t kRatedClasses = static_cast<std::size_t>(RatedClass::kCount);
inline constexpr std::size_t kTokenClasses = 5;

std::string_view name(RatedClass rated);
// Units of use that the class's price buys: 10^6 tokens, 10^12 byte-seconds, 10^15 nano-ST.
i64 units_per_price(RatedClass rated);

// One integer per class: registers of use, or prices.
struct ClassVector {
  std::array<i64, kRatedClasses> values{};
  i64& operator[](RatedClass rated) { return values[static_cast<std::size_t>(rated)]; }
  i64 operator[](RatedClass rated) const { return values[static_cast<std::size_t>(rated)]; }
  friend bool operator==(const ClassVector&, const ClassVector&) = default;
};
// Cumulative since the start of a request; registers only grow.
struct Consumption : ClassVector {};
// In the tariff's unit (1e-6 credit or nano-ST) per units_per_price of the class.
struct PriceVector : ClassVector {};

// Bounds under which the exact sums below cannot pass 2^127.
inline constexpr i64 kRatedTokensMax = 1'000'000'000;
inline constexpr i64 kRatedByteSecondsMax = 1'000'000'000'000'000'000;
inline constexpr i64 kTokenPriceMax = 1'000'000'000'000'000'000;
inline constexpr i64 kWorkPriceMax = 1'000'000'000'000'000'000;
inline constexpr i64 kResidencyPriceMax = 1'000'000'000'000'000;
// Most that one request may cost.
inline constexpr i64 kChargeMax = 1'000'000'000'000'000'000;

// kInvalid naming the class and its value if it is negative, kLimit if it is beyond its bound.
Status check(const Consumption& use);
Status check(const PriceVector& prices);

// Tokens of all classes.
i64 tokens_of(const Consumption& use);

// The amount of a request so far: sum of use x price over classes and over tariff segments, exact,
// floored once when asked for. Rounding is therefore always to the buyer's favour and below one
// unit per request.
class Rater {
 public:
  // Advances the registers to `cumulative`; what was added since the last reading is rated at
  // `prices`. kInvalid if a register ran backwards, kLimit if a value or the charge is beyond its
  // bound; nothing changes on an error.
  Status read(const Consumption& cumulative, const PriceVector& prices);
  i64 charge() const;
  const Consumption& registers() const { return registers_; }

 private:
  Consumption registers_;
  u128 numerator_ = 0;  // In 10^-15 of the tariff's unit.
};

// The same for one reading at one price vector: what quotes, holds and captures all call (I-16).
Result<i64> rate(const Consumption& use, const PriceVector& prices);

// A price said in both ways, whatever it was made of: per million tokens and per MST of nominal
// work, rounded half to even. Nothing where there were no tokens or no work.
struct PriceViews {
  std::optional<i64> per_million_tokens;
  std::optional<i64> per_mst;
};
// REQUIRES: 0 <= charge <= kChargeMax; check(use) is ok.
PriceViews views(i64 charge, const Consumption& use);

}  // namespace tg::meter
