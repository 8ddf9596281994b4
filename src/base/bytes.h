// Bytes from outside: a bounds-checked little-endian reader, a writer, hex and UTF-8 validation.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg {

// Reads little-endian values from a span it does not own. Every read past the end is a kCorrupt
// error that names `what` (given at construction, e.g. "gguf") and the offset.
class Reader {
 public:
  Reader(std::span<const u8> bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  u64 offset() const { return offset_; }
  u64 remaining() const { return bytes_.size() - offset_; }
  Result<u8> u8_le();
  Result<u16> u16_le();
  Result<u32> u32_le();
  Result<u64> u64_le();
  // A view of the next n bytes, borrowed from the underlying span.
  Result<std::span<const u8>> bytes(u64 n);
  Status skip(u64 n);

 private:
  template <typename T>
  Result<T> little_endian();

  std::span<const u8> bytes_;
  std::string what_;
  u64 offset_ = 0;
};

void append_u8(std::vector<u8>& out, u8 v);
void append_u16(std::vector<u8>& out, u16 v);
void append_u32(std::vector<u8>& out, u32 v);
void append_u64(std::vector<u8>& out, u64 v);

std::string to_hex(std::span<const u8> bytes);
// Lower- or upper-case hex of even length.
Result<std::vector<u8>> from_hex(std::string_view hex);
// False, and `out` is anything, unless `hex` is as many pairs of digits, of either case, as `out`
// has bytes.
bool decode_hex(std::string_view hex, std::span<u8> out);

// 128-bit ids: 32 lower-case hex digits, and back from exactly 32.
std::string to_hex(u128 id);
Result<u128> id_from_hex(std::string_view hex);

// True if `text` is well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
bool is_utf8(std::string_view text);

// The text's bytes as a span, borrowed.
std::span<const u8> as_bytes(std::string_view text);
std::string_view as_text(std::span<const u8> bytes);

}  // namespace tg
