// Frequencies are computed in f64 and rounded to f32 once.
#include "model/architecture/rope_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/bytes.h"

namespace tg::model {
namespace {

constexpr Range kContextRange = {1, i64{1} << 32};

f64 plain_frequency(f64 base, i64 rotated, i64 i) {
  return std::pow(base, -2.0 * static_cast<f64>(i) / static_cast<f64>(rotated));
}

struct Yarn {
  f64 factor = 1;
  f64 original_context = 0;
  f64 extrapolation = 1;
  f64 beta_fast = 32;
  f64 beta_slow = 1;
  f64 log_multiplier = 0;
  bool truncates = true;
};

// The (fractional) pair that turns `rotations` times over the original context.
f64 pair_of_rotations(const Yarn& yarn, f64 rotations, f64 base, i64 rotated) {
  f64 wavelength_share = yarn.original_context / (rotations * 2 * std::numbers::pi);
  return static_cast<f64>(rotated) * std::log(wavelength_share) / (2 * std::log(base));
}

void apply_yarn(const Yarn& yarn, f64 base, i64 rotated, std::vector<f64>& frequencies) {
  f64 low = pair_of_rotations(yarn, yarn.beta_fast, base, rotated);
  f64 high = pair_of_rotations(yarn, yarn.beta_slow, base, rotated);
  if (yarn.truncates) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<f64>(rotated - 1));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    f64 ramp = (static_cast<f64>(i) - low) / std::max(0.001, high - low);
    f64 kept = (1 - std::clamp(ramp, 0.0, 1.0)) * yarn.extrapolation;
    frequencies[i] = frequencies[i] / yarn.factor * (1 - kept) + frequencies[i] * kept;
  }
}

// Files of DeepSeek state a tenth of the multiplier. Its rope has magnitude 1, as its two
// multipliers are equal in every published model.
f64 yarn_score_scale(const Yarn& yarn) {
  if (yarn.factor <= 1) return 1;
  f64 scale = 1 + yarn.log_multiplier * std::log(yarn.factor);
  return scale * scale;
}

f64 yarn_magnitude(const Yarn& yarn) {
  if (yarn.extrapolation == 0 || yarn.factor <= 1) return 1;
  f64 growth = 0.1 * std::log(yarn.factor);
  if (yarn.log_multiplier == 0) return 1 + growth;
  return (1 + growth) / (1 + yarn.log_multiplier * growth);
}

Result<f64> original_context(const Keys& keys, i64 context) {
  TG_ASSIGN(i64 original,
            keys.integer_or("rope.scaling.original_context_length", context, kContextRange));
  return static_cast<f64>(original);
}

Result<Yarn> read_yarn(const Keys& keys, f64 factor, const RopeRequest& request) {
  Yarn yarn{.factor = factor, .truncates = request.truncates_yarn};
  TG_ASSIGN(yarn.original_context, original_context(keys, request.context));
  TG_ASSIGN(yarn.extrapolation, keys.real_or("rope.scaling.yarn_ext_factor", 1));
  TG_ASSIGN(yarn.beta_fast, keys.positive_or("rope.scaling.yarn_beta_fast", 32));
  TG_ASSIGN(yarn.beta_slow, keys.positive_or("rope.scaling.yarn_beta_slow", 1));
  TG_ASSIGN(yarn.log_multiplier, keys.real_or("rope.scaling.yarn_log_multiplier", 0));
  return yarn;
}

Result<BandedScaling> read_banded(const Keys& keys, f64 factor) {
  BandedScaling scaling{.factor = factor};
  TG_ASSIGN(scaling.low, keys.positive("rope.scaling.low_freq_factor"));
  TG_ASSIGN(scaling.high, keys.positive("rope.scaling.high_freq_factor"));
  TG_ASSIGN(i64 context, keys.integer("rope.scaling.original_context_length", kContextRange));
  scaling.original_context = static_cast<f64>(context);
  if (scaling.high <= scaling.low)
    return Error{Code::kInvalid,
                 fmt::format("gguf: key {} is {}, expected more than {}",
                             gguf::quote(keys.full("rope.scaling.high_freq_factor")), scaling.high,
                             scaling.low)};
  return scaling;
}

Status divide(std::vector<f64>& frequencies, std::span<const f32> divisors,
              std::string_view source) {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    if (!std::isfinite(divisors[i]) || divisors[i] <= 0)
      return Error{Code::kCorrupt,
                   fmt::format("gguf: tensor {} holds {} at {}", source, divisors[i], i)};
    frequencies[i] /= static_cast<f64>(divisors[i]);
  }
  return {};
}

// Divides by the tensor's numbers if the file has it.
Status apply_divisor_tensor(const gguf::File& file, std::string_view name,
                            std::vector<f64>& frequencies) {
  const gguf::Tensor* tensor = file.find_tensor(name);
  if (tensor == nullptr) return {};
  std::vector<i64> expected = {static_cast<i64>(frequencies.size())};
  if (tensor->codec != isa::DType::kF32 || tensor->dims != expected)
    return Error{
        Code::kInvalid,
        fmt::format("gguf: tensor {} is {}{}, expected f32{}", name, isa::info(tensor->codec).name,
                    gguf::dims_text(tensor->dims), gguf::dims_text(expected))};
  if (tensor->data.empty())
    return Error{
        Code::kUnsupported,
        fmt::format("gguf: tensor {} is needed for the program, but the file holds no data", name)};
  std::vector<f32> divisors;
  Reader in(tensor->data, name);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    TG_ASSIGN(u32 bits, in.u32_le());
    divisors.push_back(std::bit_cast<f32>(bits));
  }
  return divide(frequencies, divisors, name);
}

// What LongRoPE multiplies q and k by when the file does not say.
f64 longrope_magnitude(f64 context, f64 original) {
  if (context <= original || original <= 1) return 1;
  return std::sqrt(1 + std::log(context / original) / std::log(original));
}

// The result is the usual magnitude. Servers choose the list once, by the longest context they
// allow; so does the importer.
Result<f64> apply_longrope(const gguf::File& file, const Keys& keys, const RopeRequest& request,
                           std::vector<f64>& frequencies) {
  if (file.find_tensor(kShortDivisors) == nullptr) return 1.0;
  TG_ASSIGN(f64 original, original_context(keys, request.context));
  bool is_long = static_cast<f64>(request.bound) > original;
  TG_TRY(apply_divisor_tensor(file, is_long ? kLongDivisors : kShortDivisors, frequencies));
  return longrope_magnitude(static_cast<f64>(request.context), original);
}

// Files name the factor alone for linear scaling; the oldest ones under another key.
Result<f64> read_factor(const Keys& keys) {
  TG_ASSIGN(f64 old_factor, keys.real_or("rope.scale_linear", 0));
  TG_ASSIGN(f64 factor, keys.real_or("rope.scaling.factor", old_factor));
  if (factor < 0)
    return Error{Code::kInvalid,
                 fmt::format("gguf: key {} is {}, expected a positive number",
                             gguf::quote(keys.full("rope.scaling.factor")), factor)};
  return factor == 0 ? 1 : factor;
}

// Scales the frequencies in place and sets what scales q, k or scores.
Status apply_scaling(const gguf::File& file, const Keys& keys, f64 base, const RopeRequest& request,
                     std::vector<f64>& frequencies, RopeTable& table) {
  bool has_longrope = file.find_tensor(kShortDivisors) != nullptr;
  TG_ASSIGN(std::string_view type, keys.text_or("rope.scaling.type", "linear"));
  TG_ASSIGN(f64 factor, read_factor(keys));
  if (type == "none") return {};
  // LongRoPE's lists are tensors.
  if (type == "longrope" && has_longrope) return {};
  if (type == "linear") {
    for (f64& frequency : frequencies) frequency /= factor;
    return {};
  }
  if (type == "yarn") {
    TG_ASSIGN(Yarn yarn, read_yarn(keys, factor, request));
    apply_yarn(yarn, base, request.rotated, frequencies);
    bool in_scores = request.scales_scores;
    table.magnitude = static_cast<f32>(in_scores ? 1 : yarn_magnitude(yarn));
    table.score_scale = static_cast<f32>(in_scores ? yarn_score_scale(yarn) : 1);
    return {};
  }
  if (type == "llama3") {
    TG_ASSIGN(BandedScaling scaling, read_banded(keys, factor));
    return divide(frequencies, banded_divisors(scaling, base, request.rotated),
                  keys.full("rope.scaling"));
  }
  return Error{Code::kUnsupported,
               fmt::format("gguf: key {} is {}, which is not supported",
                           gguf::quote(keys.full("rope.scaling.type")), gguf::quote(type))};
}

Status check_table(const RopeTable& table) {
  bool is_sound = std::isfinite(table.magnitude) && table.magnitude > 0 &&
                  std::isfinite(table.score_scale) && table.score_scale > 0;
  for (f32 frequency : table.inverse_frequencies)
    is_sound = is_sound && std::isfinite(frequency) && frequency >= 0;
  if (is_sound) return {};
  return Error{Code::kInvalid, "gguf: the rope settings give frequencies that are not finite"};
}

}  // namespace

std::vector<f32> banded_divisors(const BandedScaling& scaling, f64 base, i64 rotated) {
  f64 longest_kept = scaling.original_context / scaling.high;
  f64 shortest_stretched = scaling.original_context / scaling.low;
  std::vector<f32> divisors;
  for (i64 i = 0; i < rotated / 2; ++i) {
    f64 wavelength = 2 * std::numbers::pi / plain_frequency(base, rotated, i);
    f64 divisor = 1;
    if (wavelength > shortest_stretched) {
      divisor = scaling.factor;
    } else if (wavelength >= longest_kept) {
      f64 smooth =
          (scaling.original_context / wavelength - scaling.low) / (scaling.high - scaling.low);
      divisor = 1 / ((1 - smooth) / scaling.factor + smooth);
    }
    divisors.push_back(static_cast<f32>(divisor));
  }
  return divisors;
}

RopeTable plain_rope_table(f64 base, i64 rotated) {
  TG_ASSERT(rotated > 0 && rotated % 2 == 0);
  RopeTable table;
  for (i64 i = 0; i < rotated / 2; ++i)
    table.inverse_frequencies.push_back(static_cast<f32>(plain_frequency(base, rotated, i)));
  return table;
}

Result<RopeTable> read_rope_table(const gguf::File& file, const Keys& keys,
                                  const RopeRequest& request) {
  TG_ASSERT(request.rotated > 0 && request.rotated % 2 == 0);
  TG_ASSIGN(f64 base, keys.positive_or("rope.freq_base", 10'000));
  if (base <= 1)
    return Error{Code::kInvalid, fmt::format("gguf: key {} is {}, expected more than 1",
                                             gguf::quote(keys.full("rope.freq_base")), base)};
  std::vector<f64> frequencies;
  for (i64 i = 0; i < request.rotated / 2; ++i)
    frequencies.push_back(plain_frequency(base, request.rotated, i));
  RopeTable table;
  TG_TRY(apply_scaling(file, keys, base, request, frequencies, table));
  TG_TRY(apply_divisor_tensor(file, kDivisorTensor, frequencies));
  TG_ASSIGN(f64 usual_factor, apply_longrope(file, keys, request, frequencies));
  TG_ASSIGN(f64 factor, keys.positive_or("rope.scaling.attn_factor", usual_factor));
  table.magnitude = static_cast<f32>(static_cast<f64>(table.magnitude) * factor);
  for (f64 frequency : frequencies)
    table.inverse_frequencies.push_back(static_cast<f32>(frequency));
  TG_TRY(check_table(table));
  return table;
}

}  // namespace tg::model
