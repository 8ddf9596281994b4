// Reads one architecture's keys ("llama.block_count") with their ranges, so that each check is one
// line where the key is used.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "model/gguf/reader.h"

namespace tg::model {

struct Range {
  i64 low = 0;
  i64 high = 0;
};

class Keys {
 public:
  Keys(const gguf::File& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  std::string full(std::string_view key) const { return prefix_ + std::string(key); }
  // kNotFound if absent, kInvalid outside the range.
  Result<i64> integer(std::string_view key, Range range) const;
  Result<i64> integer_or(std::string_view key, i64 otherwise, Range range) const;
  // Finite numbers above zero.
  Result<f64> positive(std::string_view key) const;
  Result<f64> positive_or(std::string_view key, f64 otherwise) const;
  // Any finite number.
  Result<f64> real_or(std::string_view key, f64 otherwise) const;
  Result<std::string_view> text_or(std::string_view key, std::string_view otherwise) const;
  // kUnsupported if the key is present and neither zero nor false.
  Status require_unset(std::string_view key) const;

 private:
  const gguf::File& file_;
  std::string prefix_;
};

}  // namespace tg::model
