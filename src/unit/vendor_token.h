// A vendor's own token as a contract term: how many Standard Tokens one of them is worth, exactly,
// for a program, a direction and a context (standard-token.md §7). Conversion is through ST only
// and changes neither quality nor latency nor zone.
#pragma once

#include <span>

#include "unit/nominal.h"
#include "unit/ratio.h"

namespace tg::unit {

enum class Direction : u8 { kInput, kOutput };

// What a vendor's price list says a token is. The precision (weight and cache formats, declared
// activations) is part of the program, so that the cost matrix carries it.
struct VendorTerm {
  Direction direction = Direction::kOutput;
  // kInput: the prompt's length, of which the token is the average one; kOutput: keys in view.
  i64 context = 0;
};

// ST per vendor token of a program whose shape the vendor publishes: the average token of a prompt
// of `context` tokens, or one decode pass at `context` cached keys. kInvalid for a context that is
// not positive, as exact_work otherwise.
Result<Ratio> vendor_token(const CostMatrix& matrix, const VendorTerm& term);

// Amounts between vendor tokens and nano-ST, rounded half to even. kLimit on overflow.
Result<NanoSt> to_nano_st(u128 vendor_tokens, const Ratio& st_per_token);
Result<u128> to_vendor_tokens(NanoSt amount, const Ratio& st_per_token);

// One measured request of a vendor that publishes no shape: its token counts and what the work was
// worth by measurement.
struct VendorSample {
  f64 input_tokens = 0;
  f64 output_tokens = 0;
  f64 st = 0;
};

// ST per input and output token by non-negative least squares, each with a half-width of its 95 %
// confidence interval (normal, from the residuals; 0 for a rate held at zero). An estimate: terms
// made of it are marked as measured.
struct VendorFit {
  f64 input = 0;
  f64 output = 0;
  f64 input_half_width = 0;
  f64 output_half_width = 0;
};

// kInvalid with fewer than three samples, numbers that are negative or not finite, or samples that
// do not tell input from output.
Result<VendorFit> fit_vendor_token(std::span<const VendorSample> samples);

}  // namespace tg::unit
