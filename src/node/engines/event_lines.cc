#include "node/engines/event_lines.h"

namespace tg::node {

Status EventLines::push(std::string_view bytes, std::vector<std::string>& out) {
  for (char c : bytes) {
    bool is_second = c == '\n' && is_after_cr_;
    is_after_cr_ = c == '\r';
    if (is_second) continue;
    if (c == '\n' || c == '\r') {
      take_line(line_, out);
      line_.clear();
      continue;
    }
    line_.push_back(c);
    if (line_.size() + data_.size() > kEventBytesMax) {
      return Error{Code::kLimit, "an event of the reply is longer than " +
                                     std::to_string(kEventBytesMax) + " bytes"};
    }
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
    if (has_data_) out.push_back(data_);
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
