// Samples of a Prometheus text page, by name: as much of the exposition format as engines use.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace tg::node {

inline constexpr std::size_t kMetricsBytesMax = 4 << 20;

// Values by metric name, samples of all label sets added up.
class Metrics {
 public:
  // Lines that are no samples are skipped.
  static Metrics parse(std::string_view page);

  std::optional<f64> find(std::string_view name) const;
  // The first of the names that is there: engines rename their metrics between versions.
  f64 first_of(std::initializer_list<std::string_view> names, f64 otherwise = 0) const;
  // The same as a count; nonsense (negative, not finite, huge) is 0.
  i64 count_of(std::initializer_list<std::string_view> names) const;

 private:
  std::map<std::string, f64, std::less<>> values_;
};

}  // namespace tg::node
