#include "text/byte_alphabet.h"

#include <array>

#include "text/unicode.h"

namespace tg {
namespace {

// Printable Latin-1 stands for itself; the other 68 bytes follow from U+0100, in order.
constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr u32 kOthersBegin = 0x100;
constexpr u32 kOthersCount = 68;

struct Alphabet {
  std::array<u32, 256> char_of{};
  std::array<u8, kOthersBegin + kOthersCount> byte_of{};
  std::array<bool, kOthersBegin + kOthersCount> is_member{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  u32 next = kOthersBegin;
  for (int byte = 0; byte < 256; ++byte) {
    u32 c = stands_for_itself(byte) ? static_cast<u32>(byte) : next++;
    alphabet.char_of[byte] = c;
    alphabet.byte_of[c] = static_cast<u8>(byte);
    alphabet.is_member[c] = true;
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

u32 alphabet_char(u8 byte) {
  return kAlphabet.char_of[byte];
}

std::optional<std::string> alphabet_bytes(std::string_view token_text) {
  std::string bytes;
  for (i64 at = 0; at < static_cast<i64>(token_text.size());) {
    u32 c = utf8_decode(token_text, at);
    if (c >= kAlphabet.is_member.size() || !kAlphabet.is_member[c]) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte_of[c]));
    at += utf8_size(static_cast<u8>(token_text[at]));
  }
  return bytes;
}

}  // namespace tg
