#include "node/engines/prometheus.h"

#include <charconv>
#include <cmath>

namespace tg::node {
namespace {

std::string_view without_spaces(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

// Past the label set that `text` begins with; npos if it does not end. Quotes may hide a brace.
std::size_t end_of_labels(std::string_view text) {
  bool is_quoted = false;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (is_quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      is_quoted = !is_quoted;
    } else if (text[i] == '}' && !is_quoted) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

struct Sample {
  std::string_view name;
  f64 value = 0;
};

std::optional<Sample> parse_sample(std::string_view line) {
  std::size_t name_end = line.find_first_of("{ \t");
  if (name_end == 0 || name_end == std::string_view::npos) return std::nullopt;
  Sample sample{.name = line.substr(0, name_end)};
  std::string_view rest = line.substr(name_end);
  if (rest.front() == '{') {
    std::size_t end = end_of_labels(rest);
    if (end == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(end);
  }
  rest = without_spaces(rest);
  std::string_view number = rest.substr(0, rest.find(' '));
  std::from_chars_result read =
      std::from_chars(number.data(), number.data() + number.size(), sample.value);
  if (read.ec != std::errc() || !std::isfinite(sample.value)) return std::nullopt;
  return sample;
}

}  // namespace

Metrics Metrics::parse(std::string_view page) {
  Metrics metrics;
  page = page.substr(0, kMetricsBytesMax);
  while (!page.empty()) {
    std::size_t end = page.find('\n');
    std::string_view line = without_spaces(page.substr(0, end));
    page.remove_prefix(end == std::string_view::npos ? page.size() : end + 1);
    if (line.empty() || line.front() == '#') continue;
    std::optional<Sample> sample = parse_sample(line);
    if (sample) metrics.values_[std::string(sample->name)] += sample->value;
  }
  return metrics;
}

std::optional<f64> Metrics::find(std::string_view name) const {
  std::map<std::string, f64, std::less<>>::const_iterator found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

f64 Metrics::first_of(std::initializer_list<std::string_view> names, f64 otherwise) const {
  for (std::string_view name : names) {
    if (std::optional<f64> value = find(name)) return *value;
  }
  return otherwise;
}

i64 Metrics::count_of(std::initializer_list<std::string_view> names) const {
  constexpr f64 kCountMax = 1e15;
  f64 value = first_of(names);
  return value >= 0 && value <= kCountMax ? std::llround(value) : 0;
}

}  // namespace tg::node
