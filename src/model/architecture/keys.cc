// The error texts of metadata keys live here once.
#include "model/architecture/keys.h"

#include <fmt/format.h>

#include <cmath>

namespace tg::model {
namespace {

Error missing(const std::string& key) {
  return Error{Code::kNotFound, "gguf: key " + gguf::quote(key) + " is missing"};
}

}  // namespace

Result<i64> Keys::integer(std::string_view key, Range range) const {
  TG_ASSIGN(std::optional<u64> value, file_.integer(full(key)));
  if (!value.has_value()) return missing(full(key));
  if (*value < static_cast<u64>(range.low) || *value > static_cast<u64>(range.high))
    return Error{Code::kInvalid,
                 fmt::format("gguf: key {} is {}, expected {} to {}", gguf::quote(full(key)),
                             *value, range.low, range.high)};
  return static_cast<i64>(*value);
}

Result<i64> Keys::integer_or(std::string_view key, i64 otherwise, Range range) const {
  if (file_.find(full(key)) == nullptr) return otherwise;
  return integer(key, range);
}

Result<f64> Keys::real_or(std::string_view key, f64 otherwise) const {
  TG_ASSIGN(std::optional<f64> value, file_.real(full(key)));
  if (!value.has_value()) return otherwise;
  if (!std::isfinite(*value))
    return Error{Code::kInvalid, fmt::format("gguf: key {} is {}, expected a finite number",
                                             gguf::quote(full(key)), *value)};
  return *value;
}

Result<f64> Keys::positive_or(std::string_view key, f64 otherwise) const {
  TG_ASSIGN(f64 value, real_or(key, otherwise));
  if (value <= 0)
    return Error{Code::kInvalid, fmt::format("gguf: key {} is {}, expected a positive number",
                                             gguf::quote(full(key)), value)};
  return value;
}

Result<f64> Keys::positive(std::string_view key) const {
  if (file_.find(full(key)) == nullptr) return missing(full(key));
  return positive_or(key, 0);
}

Result<std::string_view> Keys::text_or(std::string_view key, std::string_view otherwise) const {
  TG_ASSIGN(std::optional<std::string_view> value, file_.text(full(key)));
  return value.value_or(otherwise);
}

Status Keys::require_unset(std::string_view key) const {
  const gguf::Value* value = file_.find(full(key));
  bool is_scalar = value != nullptr && gguf::scalar_bytes(value->type) > 0;
  if (value == nullptr || (is_scalar && value->bits == 0)) return {};
  return Error{Code::kUnsupported,
               fmt::format("gguf: key {} is set, which is not supported", gguf::quote(full(key)))};
}

}  // namespace tg::model
