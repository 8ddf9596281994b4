// Numbers between dots become {l} and {e}, so that finding a row is one look-up.
#include "model/huggingface/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace tg::checkpoint {
namespace {

constexpr std::size_t kDigitsMax = 6;
constexpr std::string_view kLayerPrefix = "blk.";

// In the order in which they are tried: the longer of two that end alike comes first.
constexpr auto kEndings = std::to_array<std::string_view>({
    ".weight_zero_point",
    ".weight_scale_inv",
    ".weight_packed",
    ".weight_scale",
    ".weight_g_idx",
    ".qweight",
    ".weight",
    ".qzeros",
    ".scales",
    ".g_idx",
    ".bias",
    "_blocks",
    "_scales",
    "_bias",
});

// A number as it is usually written: no sign, no leading zeros. -1 for anything else.
i64 number_of(std::string_view word) {
  bool is_number =
      !word.empty() && word.size() <= kDigitsMax && (word[0] != '0' || word == "0") &&
      std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return -1;
  i64 number = 0;
  for (char c : word) number = 10 * number + (c - '0');
  return number;
}

}  // namespace

Names::Names(const Family& family) {
  for (std::span<const TensorRow> rows : family.tensors)
    for (const TensorRow& row : rows) rows_[row.module] = &row;
}

const TensorRow* Names::row_of(std::string_view module, Place& place) const {
  place.layer = place.expert = -1;
  std::string pattern;
  for (std::string_view rest = module;;) {
    std::size_t dot = std::min(rest.find('.'), rest.size());
    i64 number = number_of(rest.substr(0, dot));
    if (number < 0) {
      pattern += rest.substr(0, dot);
    } else if (place.layer < 0) {
      place.layer = number;
      pattern += "{l}";
    } else if (place.expert < 0) {
      place.expert = number;
      pattern += "{e}";
    } else {
      return nullptr;
    }
    if (dot == rest.size()) break;
    pattern += '.';
    rest.remove_prefix(dot + 1);
  }
  std::map<std::string_view, const TensorRow*>::const_iterator found = rows_.find(pattern);
  return found == rows_.end() ? nullptr : found->second;
}

Place Names::find(std::string_view name) const {
  Place place;
  place.row = row_of(name, place);
  if (place.row != nullptr) return place;
  for (std::string_view ending : kEndings) {
    if (!name.ends_with(ending)) continue;
    place.row = row_of(name.substr(0, name.size() - ending.size()), place);
    place.ending = ending.substr(1);
    return place;
  }
  return place;
}

namespace {

std::string stored_key(const Family& family, std::string_view key) {
  for (std::span<const KeyRow> rows : family.keys)
    for (const KeyRow& row : rows)
      if (row.gguf == key) return std::string(row.key);
  return {};
}

std::string stored_module(const Family& family, std::string_view pattern) {
  for (std::span<const TensorRow> rows : family.tensors)
    for (const TensorRow& row : rows)
      if (row.gguf == pattern) return std::string(row.module);
  return {};
}

}  // namespace

std::string stored_name(const Family& family, std::string_view gguf_name) {
  if (gguf_name.starts_with(family.gguf) && gguf_name.substr(family.gguf.size()).starts_with('.'))
    return stored_key(family, gguf_name.substr(family.gguf.size() + 1));
  std::string pattern(gguf_name);
  i64 layer = -1;
  if (gguf_name.starts_with(kLayerPrefix)) {
    std::size_t end = gguf_name.find('.', kLayerPrefix.size());
    if (end == std::string_view::npos) return {};
    layer = number_of(gguf_name.substr(kLayerPrefix.size(), end - kLayerPrefix.size()));
    if (layer < 0) return {};
    pattern = fmt::format("{}{{l}}{}", kLayerPrefix, gguf_name.substr(end));
  }
  if (std::string whole = stored_module(family, pattern); !whole.empty())
    return in_layer(whole, layer);
  std::size_t dot = pattern.rfind('.');
  if (dot == std::string::npos) return {};
  std::string module = stored_module(family, pattern.substr(0, dot));
  return module.empty() ? module : in_layer(module, layer) + pattern.substr(dot);
}

std::string in_layer(std::string_view pattern, i64 layer) {
  constexpr std::string_view kMark = "{l}";
  std::size_t at = pattern.find(kMark);
  if (at == std::string_view::npos) return std::string(pattern);
  TG_ASSERT(layer >= 0);
  return std::string(pattern.substr(0, at)) + std::to_string(layer) +
         std::string(pattern.substr(at + kMark.size()));
}

}  // namespace tg::checkpoint
