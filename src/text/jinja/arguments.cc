#include "text/jinja/callable.h"

namespace tg::jinja {

const Value* Arguments::find(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const std::pair<std::string_view, Value>& entry : named) {
    if (entry.first == name) return &entry.second;
  }
  return nullptr;
}

Value Arguments::get(std::size_t index, std::string_view name, Value otherwise) const {
  const Value* found = find(index, name);
  return found ? *found : otherwise;
}

}  // namespace tg::jinja
