// GPT-2's byte alphabet: byte-level vocabularies write each byte as one printable character, so
// that token texts are readable (a space is U+0120).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace tg {

// The character that stands for `byte`.
u32 alphabet_char(u8 byte);

// The bytes that `token_text` stands for; nullopt if one of its characters is not of the alphabet.
// REQUIRES: `token_text` is well-formed UTF-8.
std::optional<std::string> alphabet_bytes(std::string_view token_text);

}  // namespace tg
