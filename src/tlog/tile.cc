#include "tlog/tile.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "base/assert.h"

namespace tg::tlog {

namespace {

constexpr u64 kIndexMax = u64{1} << 48;  // a tree of kTreeSizeMax in tiles of 256

// 1234067 as "x001/x234/067".
std::string index_path(u64 index) {
  std::string out = fmt::format("{:03}", index % 1000);
  for (index /= 1000; index > 0; index /= 1000) out = fmt::format("x{:03}/{}", index % 1000, out);
  return out;
}

std::optional<u64> parse_digits(std::string_view text) {
  u64 value = 0;
  std::from_chars_result end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<u64> parse_index(std::string_view text) {
  u64 value = 0;
  while (!text.empty()) {
    bool is_last = text[0] != 'x';
    if (!is_last) text.remove_prefix(1);
    std::optional<u64> part = parse_digits(text.substr(0, 3));
    if (!part || value > kIndexMax) return std::nullopt;
    value = value * 1000 + *part;
    text.remove_prefix(std::min<std::size_t>(3, text.size()));
    if (is_last) return text.empty() && value <= kIndexMax ? std::optional(value) : std::nullopt;
    if (!text.starts_with('/')) return std::nullopt;
    text.remove_prefix(1);
  }
  return std::nullopt;
}

}  // namespace

std::string to_path(const Resource& r) {
  if (r.kind == ResourceKind::kCheckpoint) return "checkpoint";
  TG_ASSERT(r.width > 0 && r.width <= kTileWidth && r.level < kTileLevels);
  std::string what = r.kind == ResourceKind::kTile ? std::to_string(r.level) : "entries";
  std::string part = r.width < kTileWidth ? fmt::format(".p/{}", r.width) : "";
  return fmt::format("tile/{}/{}{}", what, index_path(r.index), part);
}

Result<Resource> parse_path(std::string_view path) {
  Error bad{Code::kNotFound, "log: no such resource"};
  if (path == "checkpoint") return Resource{};
  constexpr std::string_view kPrefix = "tile/";
  if (path.size() > kResourceBytesMax || !path.starts_with(kPrefix)) return bad;
  std::string_view rest = path.substr(kPrefix.size());
  std::size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return bad;
  Resource out;
  std::string_view what = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);
  out.kind = what == "entries" ? ResourceKind::kEntries : ResourceKind::kTile;
  std::optional<u64> level = what == "entries" ? std::optional<u64>(0) : parse_digits(what);
  std::size_t part = rest.find(".p/");
  std::optional<u64> width = kTileWidth;
  if (part != std::string_view::npos) width = parse_digits(rest.substr(part + 3));
  std::optional<u64> index = parse_index(rest.substr(0, part));
  if (!level || *level >= kTileLevels || !index || !width || *width == 0 || *width > kTileWidth)
    return bad;
  out.level = static_cast<u32>(*level);
  out.index = *index;
  out.width = *width;
  if (to_path(out) != path) return bad;
  return out;
}

}  // namespace tg::tlog
