#include "unit/vendor_token.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"

namespace tg::unit {

// One ST in the units of ExactWork.
static constexpr u128 kExactPerSt = (u128{1'000'000'000'000'000'000} << kExactWorkBits);
static constexpr u128 kNanoPerSt = 1'000'000'000;

Result<Ratio> vendor_token(const CostMatrix& matrix, const VendorTerm& term) {
  if (term.context <= 0)
    return Error{Code::kInvalid, "vendor token: context " + std::to_string(term.context)};
  // Two outputs of a request: the second is the one decode pass at c = P = context.
  const i64 outputs[] = {2};
  bool is_output = term.direction == Direction::kOutput;
  RequestShape request{.prompt = term.context, .outputs = {}, .embedding = false};
  if (is_output) request.outputs = outputs;
  TG_ASSIGN(ExactWork work, exact_work(matrix, request));
  if (is_output) return make_ratio(work.output, kExactPerSt);
  TG_ASSIGN(Ratio prompt, make_ratio(work.input, kExactPerSt));
  return multiply(prompt, Ratio{1, static_cast<u128>(term.context)});
}

Result<NanoSt> to_nano_st(u128 vendor_tokens, const Ratio& st_per_token) {
  TG_ASSIGN(Ratio nano, multiply(st_per_token, Ratio{kNanoPerSt, 1}));
  TG_ASSIGN(u128 amount, scale(vendor_tokens, nano));
  if (amount > static_cast<u128>(INT64_MAX))
    return Error{Code::kLimit, "vendor token: " + to_string(amount) + " nano-ST exceed 63 bits"};
  return NanoSt(static_cast<i64>(amount));
}

Result<u128> to_vendor_tokens(NanoSt amount, const Ratio& st_per_token) {
  if (amount.value < 0)
    return Error{Code::kInvalid, "vendor token: " + std::to_string(amount.value) + " nano-ST"};
  TG_ASSIGN(Ratio nano, multiply(st_per_token, Ratio{kNanoPerSt, 1}));
  TG_ASSIGN(Ratio tokens, invert(nano));
  return scale(static_cast<u128>(amount.value), tokens);
}

namespace {

// The normal equations of st = a*input + b*output.
struct Normal {
  f64 ii = 0, io = 0, oo = 0;  // sums of products of the token counts
  f64 is = 0, os = 0;          // with the ST
};

Result<Normal> normal_equations(std::span<const VendorSample> samples) {
  Normal n;
  for (const VendorSample& s : samples) {
    for (f64 value : {s.input_tokens, s.output_tokens, s.st}) {
      if (!std::isfinite(value) || value < 0)
        return Error{Code::kInvalid, "vendor token: a sample of " + std::to_string(value)};
    }
    n.ii += s.input_tokens * s.input_tokens;
    n.io += s.input_tokens * s.output_tokens;
    n.oo += s.output_tokens * s.output_tokens;
    n.is += s.input_tokens * s.st;
    n.os += s.output_tokens * s.st;
  }
  return n;
}

f64 residual_variance(std::span<const VendorSample> samples, const VendorFit& fit, int rates) {
  f64 squares = 0;
  for (const VendorSample& s : samples) {
    f64 error = s.st - fit.input * s.input_tokens - fit.output * s.output_tokens;
    squares += error * error;
  }
  return squares / static_cast<f64>(samples.size() - static_cast<std::size_t>(rates));
}

constexpr f64 kNormal95 = 1.959964;

}  // namespace

Result<VendorFit> fit_vendor_token(std::span<const VendorSample> samples) {
  if (samples.size() < 3)
    return Error{Code::kInvalid,
                 "vendor token: " + std::to_string(samples.size()) + " samples, at least 3"};
  TG_ASSIGN(Normal n, normal_equations(samples));
  f64 determinant = n.ii * n.oo - n.io * n.io;
  // Relative to the product of the norms: samples of one mix of input and output say nothing apart.
  if (determinant <= 1e-9 * n.ii * n.oo)
    return Error{Code::kInvalid, "vendor token: the samples do not tell input from output"};
  VendorFit fit{.input = (n.is * n.oo - n.os * n.io) / determinant,
                .output = (n.os * n.ii - n.is * n.io) / determinant};
  // With two rates the constrained optimum has the negative one at zero (Lawson and Hanson 1974).
  if (fit.input < 0) fit = {.input = 0, .output = n.os / n.oo};
  if (fit.output < 0) fit = {.input = n.is / n.ii, .output = 0};
  if (fit.input > 0 && fit.output > 0) {
    f64 variance = residual_variance(samples, fit, 2);
    fit.input_half_width = kNormal95 * std::sqrt(variance * n.oo / determinant);
    fit.output_half_width = kNormal95 * std::sqrt(variance * n.ii / determinant);
    return fit;
  }
  f64 variance = residual_variance(samples, fit, 1);
  if (fit.input > 0) fit.input_half_width = kNormal95 * std::sqrt(variance / n.ii);
  if (fit.output > 0) fit.output_half_width = kNormal95 * std::sqrt(variance / n.oo);
  return fit;
}

}  // namespace tg::unit
