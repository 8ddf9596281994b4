// Stop strings in a stream, by a plain search over what is held back plus what is new: stop strings
// are few and short, so the held text stays below the longest of them.
#include <algorithm>

#include "text/detokenizer.h"

namespace tg {
namespace {

// Length of the longest end of `text` that is a proper beginning of `stop`.
std::size_t overlap(std::string_view text, std::string_view stop) {
  for (std::size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

Result<StopMatcher> StopMatcher::create(std::vector<std::string> stops) {
  if (static_cast<i64>(stops.size()) > kStopsMax) {
    return Error{Code::kLimit, "stop: " + std::to_string(stops.size()) + " strings, more than " +
                                   std::to_string(kStopsMax)};
  }
  for (const std::string& stop : stops) {
    if (stop.empty()) return Error{Code::kInvalid, "stop: empty string"};
    if (static_cast<i64>(stop.size()) > kStopBytesMax) {
      return Error{Code::kLimit, "stop: string of " + std::to_string(stop.size()) +
                                     " bytes, more than " + std::to_string(kStopBytesMax)};
    }
  }
  return StopMatcher(std::move(stops));
}

StopMatcher::Output StopMatcher::push(std::string_view text) {
  Output output;
  if (is_stopped_) return output;
  if (stops_.empty()) {
    output.text = text;
    return output;
  }
  held_ += text;
  std::size_t best_end = std::string::npos;
  for (std::size_t i = 0; i < stops_.size(); ++i) {
    std::size_t at = held_.find(stops_[i]);
    if (at == held_.npos) continue;
    std::size_t end = at + stops_[i].size();
    bool is_longer = end == best_end && stops_[i].size() > stops_[output.stop_index].size();
    if (end > best_end || (end == best_end && !is_longer)) continue;
    best_end = end;
    output.stop_index = static_cast<i64>(i);
    output.text = held_.substr(0, at);
  }
  if (output.stop_index >= 0) {
    is_stopped_ = true;
    held_.clear();
    return output;
  }
  std::size_t keep = 0;
  for (const std::string& stop : stops_) keep = std::max(keep, overlap(held_, stop));
  output.text = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return output;
}

std::string StopMatcher::flush() {
  return std::exchange(held_, {});
}

}  // namespace tg
