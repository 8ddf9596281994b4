#include "text/fragments.h"

#include "text/pieces.h"
#include "text/unicode.h"
#include "text/unicode_forms.h"

namespace tg {
namespace {

// Start of the character that ends at `end`. REQUIRES: end > 0.
i64 character_before(std::string_view text, i64 end) {
  do {
    --end;
  } while ((static_cast<u8>(text[end]) & 0xC0) == 0x80);
  return end;
}

bool stands_alone(std::string_view text, i64 begin, i64 end) {
  bool touches_left =
      begin > 0 && unicode::is_word_character(utf8_decode(text, character_before(text, begin)));
  bool touches_right =
      end < static_cast<i64>(text.size()) && unicode::is_word_character(utf8_decode(text, end));
  return !touches_left && !touches_right;
}

i64 skip_spaces_left(std::string_view text, i64 end, i64 least) {
  while (end > least) {
    i64 before = character_before(text, end);
    if ((char_flags(utf8_decode(text, before)) & kCharSpace) == 0) break;
    end = before;
  }
  return end;
}

i64 skip_spaces_right(std::string_view text, i64 at) {
  while (at < static_cast<i64>(text.size()) &&
         (char_flags(utf8_decode(text, at)) & kCharSpace) != 0)
    at += utf8_size(static_cast<u8>(text[at]));
  return at;
}

}  // namespace

void split_special(const Vocab& vocab, const SpecialMatcher& special, const Fragment& whole,
                   bool with_control, std::vector<Fragment>& fragments) {
  std::string_view text = whole.text;
  i64 size = static_cast<i64>(text.size());
  i64 begin = 0;
  auto finish_text = [&](i64 end) {
    if (end > begin)
      fragments.push_back({text.substr(begin, end - begin), -1, whole.begins_input && begin == 0});
  };
  for (i64 at = special.next_begin(text, 0); at < size; at = special.next_begin(text, at)) {
    SpecialMatcher::Match match = special.match_at(text, at, with_control);
    i64 end = at + std::max<i64>(match.size, 1);
    u8 flags = match.id < 0 ? u8{0} : match_flags_of(vocab, match.id);
    bool is_taken =
        match.id >= 0 && ((flags & kMatchWholeWord) == 0 || stands_alone(text, at, end));
    if (is_taken) {
      finish_text((flags & kMatchLeftSpace) != 0 ? skip_spaces_left(text, at, begin) : at);
      fragments.push_back({{}, match.id, false});
      if ((flags & kMatchRightSpace) != 0) end = skip_spaces_right(text, end);
      begin = end;
    }
    at = end;
  }
  finish_text(size);
}

}  // namespace tg
