// Names of a log's resources (C2SP tlog-tiles): "checkpoint", "tile/<level>/<index>[.p/<width>]",
// "tile/entries/<index>[.p/<width>]". A tile is up to 256 hashes, an entry bundle up to 256
// entries, each after its length as two bytes, big-endian.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::tlog {

inline constexpr u32 kTileHeight = 8;
inline constexpr u64 kTileWidth = u64{1} << kTileHeight;
inline constexpr u32 kTileLevels = 7;
inline constexpr std::size_t kResourceBytesMax = 64;

enum class ResourceKind : u8 { kCheckpoint, kTile, kEntries };
struct Resource {
  ResourceKind kind = ResourceKind::kCheckpoint;
  u32 level = 0;  // of a tile
  u64 index = 0;
  u64 width = kTileWidth;  // below 256: partial
  friend bool operator==(const Resource&, const Resource&) = default;
};
std::string to_path(const Resource& resource);
// Accepts exactly what to_path writes.
Result<Resource> parse_path(std::string_view path);

// How many hashes the tiles of `level` hold in a tree of `size`.
inline u64 tile_hashes(u64 size, u32 level) {
  return size >> (kTileHeight * level);
}

}  // namespace tg::tlog
