#include "text/detokenizer.h"

#include <algorithm>

#include "text/unicode.h"

namespace tg {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What the second byte of a character may be (Unicode table 3-7).
bool fits_second(u8 lead, u8 second) {
  if (lead == 0xE0) return second >= 0xA0 && second <= 0xBF;
  if (lead == 0xED) return second >= 0x80 && second <= 0x9F;
  if (lead == 0xF0) return second >= 0x90 && second <= 0xBF;
  if (lead == 0xF4) return second >= 0x80 && second <= 0x8F;
  return second >= 0x80 && second <= 0xBF;
}

// The longest well-formed beginning of a character at bytes[at]; at least 1 byte.
struct Prefix {
  i64 size = 1;
  i64 wanted = 0;  // Size of the whole character; 0 if no character begins so.
};

Prefix character_prefix(std::string_view bytes, i64 at) {
  u8 lead = static_cast<u8>(bytes[at]);
  if (lead < 0x80) return {1, 1};
  if (lead < 0xC2 || lead > 0xF4) return {1, 0};
  i64 wanted = utf8_size(lead);
  i64 available = std::min(wanted, static_cast<i64>(bytes.size()) - at);
  i64 size = 1;
  for (; size < available; ++size) {
    u8 byte = static_cast<u8>(bytes[at + size]);
    bool fits = size == 1 ? fits_second(lead, byte) : (byte & 0xC0) == 0x80;
    if (!fits) break;
  }
  return {size, wanted};
}

}  // namespace

i64 append_valid_utf8(std::string& out, std::string_view bytes, bool keep_partial) {
  i64 size = static_cast<i64>(bytes.size());
  i64 at = 0;
  while (at < size) {
    i64 end = at;
    while (end < size && static_cast<u8>(bytes[end]) < 0x80) ++end;
    out += bytes.substr(at, end - at);
    at = end;
    if (at == size) break;
    Prefix prefix = character_prefix(bytes, at);
    bool is_complete = prefix.size == prefix.wanted;
    bool may_complete = !is_complete && prefix.wanted > 0 && at + prefix.size == size;
    if (keep_partial && may_complete) break;
    out += is_complete ? bytes.substr(at, prefix.size) : kReplacement;
    at += prefix.size;
  }
  return at;
}

std::string Detokenizer::push(TokenId id) {
  std::string text;
  append(id, text);
  return text;
}

void Detokenizer::append(TokenId id, std::string& out) {
  bool is_shown = options_.show_special || std::find(options_.shown.begin(), options_.shown.end(),
                                                     id) != options_.shown.end();
  std::string_view bytes = tokenizer_->next_text(id, is_shown, is_at_start_);
  if (pending_.empty()) {
    // Most tokens are whole characters.
    i64 taken = append_valid_utf8(out, bytes, true);
    pending_ = bytes.substr(static_cast<std::size_t>(taken));
    return;
  }
  pending_ += bytes;
  pending_.erase(0, append_valid_utf8(out, pending_, true));
}

std::size_t Detokenizer::append_plain(std::span<const TokenId> ids, std::string& out) const {
  if (is_at_start_ || !pending_.empty()) return 0;
  constexpr std::size_t kBytesPerToken = 4;
  std::size_t count = 0;
  if (ids.size() > 1) out.reserve(out.size() + kBytesPerToken * ids.size());
  for (; count < ids.size() && tokenizer_->is_plain(ids[count]); ++count)
    out += tokenizer_->piece(ids[count]);
  return count;
}

std::string Detokenizer::flush() {
  std::string text;
  append_valid_utf8(text, pending_, false);
  pending_.clear();
  is_at_start_ = true;
  return text;
}

}  // namespace tg
