// A name as the value of a Prometheus label.
#pragma once

#include <string>

namespace tg::dispatch {

inline std::string label_of(const std::string& name) {
  std::string out;
  for (char c : name) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

}  // namespace tg::dispatch
