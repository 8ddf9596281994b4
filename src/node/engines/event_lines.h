// Cuts a streamed body into the texts an engine's reply consists of: the data of server-sent events
// (WHATWG: any line end, comments, several data lines) or lines of JSON. Bytes may come in any
// pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tg::node {

inline constexpr std::size_t kEventBytesMax = 4 << 20;

class EventLines {
 public:
  explicit EventLines(bool is_lines) : is_lines_(is_lines) {}

  // Appends what became whole to `out`. kLimit if one event grows past kEventBytesMax.
  Status push(std::string_view bytes, std::vector<std::string>& out);
  // The stream is over; a last line of JSON may lack its end, an event may not.
  void finish(std::vector<std::string>& out);

 private:
  void take_line(std::string_view line, std::vector<std::string>& out);

  bool is_lines_;
  bool is_after_cr_ = false;
  bool has_data_ = false;
  std::string line_;
  std::string data_;
};

}  // namespace tg::node
