#include "base/bytes.h"

#include <array>
#include <cstring>

namespace tg {

template <typename T>
Result<T> Reader::little_endian() {
  TG_ASSIGN(std::span<const u8> raw, bytes(sizeof(T)));
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;)
    value = static_cast<T>((static_cast<u64>(value) << 8) | raw[i]);
  return value;
}

Result<u8> Reader::u8_le() {
  return little_endian<u8>();
}
Result<u16> Reader::u16_le() {
  return little_endian<u16>();
}
Result<u32> Reader::u32_le() {
  return little_endian<u32>();
}
Result<u64> Reader::u64_le() {
  return little_endian<u64>();
}

Result<std::span<const u8>> Reader::bytes(u64 n) {
  if (n > remaining()) {
    return Error{Code::kCorrupt, what_ + ": ends at byte " + std::to_string(bytes_.size()) +
                                     ", but " + std::to_string(n) +
                                     " bytes were expected at offset " + std::to_string(offset_)};
  }
  std::span<const u8> view = bytes_.subspan(offset_, n);
  offset_ += n;
  return view;
}

Status Reader::skip(u64 n) {
  TG_TRY(bytes(n));
  return {};
}

template <typename T>
static void append_little_endian(std::vector<u8>& out, T v) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<u8>(static_cast<u64>(v) >> (8 * i)));
}

void append_u8(std::vector<u8>& out, u8 v) {
  out.push_back(v);
}
void append_u16(std::vector<u8>& out, u16 v) {
  append_little_endian(out, v);
}
void append_u32(std::vector<u8>& out, u32 v) {
  append_little_endian(out, v);
}
void append_u64(std::vector<u8>& out, u64 v) {
  append_little_endian(out, v);
}

std::string to_hex(std::span<const u8> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out(bytes.size() * 2, '\0');
  char* at = out.data();
  for (u8 b : bytes) {
    *at++ = kDigits[b >> 4];
    *at++ = kDigits[b & 15];
  }
  return out;
}

// By byte: the digit's value, or one with the high bit set.
static constexpr u8 kNoDigit = 0x80;
static constexpr std::array<u8, 256> kHexValues = [] {
  std::array<u8, 256> values;
  values.fill(kNoDigit);
  for (u8 i = 0; i < 10; ++i) values[static_cast<u8>('0' + i)] = i;
  for (u8 i = 0; i < 6; ++i) {
    u8 value = static_cast<u8>(10 + i);
    values[static_cast<u8>('a' + i)] = values[static_cast<u8>('A' + i)] = value;
  }
  return values;
}();

static u8 hex_value(char c) {
  return kHexValues[static_cast<u8>(c)];
}

bool decode_hex(std::string_view hex, std::span<u8> out) {
  if (hex.size() != 2 * out.size()) return false;
  u8 seen = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    u8 high = hex_value(hex[2 * i]);
    u8 low = hex_value(hex[2 * i + 1]);
    seen |= high | low;
    out[i] = static_cast<u8>(high << 4 | low);
  }
  return (seen & kNoDigit) == 0;
}

// Of text that is not hex, where it first is not.
static Error not_hex(std::string_view hex) {
  std::size_t at = 0;
  while (at < hex.size() && hex_value(hex[at]) != kNoDigit) ++at;
  return Error{Code::kInvalid, "hex: not a hex digit at position " + std::to_string(at & ~1ull)};
}

Result<std::vector<u8>> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0)
    return Error{Code::kInvalid, "hex: odd length " + std::to_string(hex.size())};
  std::vector<u8> out(hex.size() / 2);
  if (!decode_hex(hex, out)) return not_hex(hex);
  return out;
}

std::string to_hex(u128 id) {
  std::array<u8, 16> raw;
  for (std::size_t i = 0; i < raw.size(); ++i) raw[i] = static_cast<u8>(id >> (120 - 8 * i));
  return to_hex(std::span<const u8>(raw));
}

Result<u128> id_from_hex(std::string_view hex) {
  if (hex.size() != 32) {
    return Error{Code::kInvalid, "id: 32 hex digits expected, got " + std::to_string(hex.size())};
  }
  std::array<u8, 16> raw;
  if (!decode_hex(hex, raw)) return not_hex(hex);
  u128 id = 0;
  for (u8 byte : raw) id = id << 8 | byte;
  return id;
}

// Length of the sequence that starts with `lead`, or 0 if it cannot start one.
static std::size_t utf8_length(u8 lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

bool is_utf8(std::string_view text) {
  std::span<const u8> s = as_bytes(text);
  for (std::size_t i = 0; i < s.size();) {
    if (i + sizeof(u64) <= s.size()) {
      // Eight at a time while all are ASCII, as nearly all are.
      u64 word = 0;
      std::memcpy(&word, s.data() + i, sizeof(word));
      if ((word & 0x8080'8080'8080'8080) == 0) {
        i += sizeof(word);
        continue;
      }
    }
    std::size_t n = utf8_length(s[i]);
    if (n == 0 || i + n > s.size()) return false;
    for (std::size_t k = 1; k < n; ++k) {
      if ((s[i + k] & 0xC0) != 0x80) return false;
    }
    // The second byte rules out overlong forms, surrogates and values past U+10FFFF (Unicode table
    // 3-7).
    if (s[i] == 0xE0 && s[i + 1] < 0xA0) return false;
    if (s[i] == 0xED && s[i + 1] > 0x9F) return false;
    if (s[i] == 0xF0 && s[i + 1] < 0x90) return false;
    if (s[i] == 0xF4 && s[i + 1] > 0x8F) return false;
    i += n;
  }
  return true;
}

std::span<const u8> as_bytes(std::string_view text) {
  return {reinterpret_cast<const u8*>(text.data()), text.size()};
}

std::string_view as_text(std::span<const u8> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace tg
