#include "node/engines/event_lines.h"

#include <algorithm>

namespace tg::node {

Status EventLines::push(std::string_view bytes, std::vector<std::string>& out) {
  while (!bytes.empty()) {
    bool is_second = bytes.front() == '\n' && is_after_cr_;
    is_after_cr_ = false;
    if (is_second) {
      bytes.remove_prefix(1);
      continue;
    }
    std::size_t end = std::min(bytes.find('\n'), bytes.size());
    end = std::min(bytes.substr(0, end).find('\r'), end);
    if (line_.size() + end + data_.size() > kEventBytesMax) {
      return Error{Code::kLimit, "an event of the reply is longer than " +
                                     std::to_string(kEventBytesMax) + " bytes"};
    }
    bool is_cut = end == bytes.size();
    if (is_cut || !line_.empty()) line_.append(bytes.substr(0, end));
    if (is_cut) return {};
    // Most lines come in one piece.
    take_line(line_.empty() ? bytes.substr(0, end) : std::string_view(line_), out);
    line_.clear();
    is_after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
  }
  return {};
}

void EventLines::finish(std::vector<std::string>& out) {
  if (is_lines_ && !line_.empty()) out.push_back(line_);
  line_.clear();
}

void EventLines::take_line(std::string_view line, std::vector<std::string>& out) {
  if (is_lines_) {
    if (!line.empty()) out.emplace_back(line);
    return;
  }
  if (line.empty()) {
    if (has_data_) out.push_back(std::move(data_));
    has_data_ = false;
    data_.clear();
    return;
  }
  // TGI writes "data:" without the space.
  if (!line.starts_with("data:")) return;
  line.remove_prefix(5);
  if (line.starts_with(" ")) line.remove_prefix(1);
  if (has_data_) data_.push_back('\n');
  has_data_ = true;
  data_ += line;
}

}  // namespace tg::node
