#include "text/unicode_forms.h"

#include <gtest/gtest.h>

#include "text/unicode.h"

namespace tg::unicode {
namespace {

struct Case {
  const char* text;
  const char* nfc;
  const char* nfd;
  const char* nfkc;
  const char* nfkd;
};

TEST(UnicodeForms, OfKnownTexts) {
  constexpr Case kCases[] = {
      {"", "", "", "", ""},
      {"abc", "abc", "abc", "abc", "abc"},
      {"\u00e9", "\u00e9", "e\u0301", "\u00e9", "e\u0301"},
      {"e\u0301", "\u00e9", "e\u0301", "\u00e9", "e\u0301"},
      // Marks go by class, whatever order they come in; one of the same class blocks the next.
      {"a\u0301\u0323", "\u1ea1\u0301", "a\u0323\u0301", "\u1ea1\u0301", "a\u0323\u0301"},
      {"a\u0302\u0301", "\u1ea5", "a\u0302\u0301", "\u1ea5", "a\u0302\u0301"},
      {"a\u0301\u0302", "\u00e1\u0302", "a\u0301\u0302", "\u00e1\u0302", "a\u0301\u0302"},
      {"\u0301a", "\u0301a", "\u0301a", "\u0301a", "\u0301a"},
      // Singletons do not come back.
      {"\u212b", "\u00c5", "A\u030a", "\u00c5", "A\u030a"},
      {"\u212a", "K", "K", "K", "K"},
      {"\u0958", "\u0915\u093c", "\u0915\u093c", "\u0915\u093c", "\u0915\u093c"},
      // Hangul.
      {"\ud55c", "\ud55c", "\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab"},
      {"\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab"},
      {"\ud558\u11ab", "\ud55c", "\u1112\u1161\u11ab", "\ud55c", "\u1112\u1161\u11ab"},
      {"\u1112\u1161\u11a7", "\ud558\u11a7", "\u1112\u1161\u11a7", "\ud558\u11a7",
       "\u1112\u1161\u11a7"},
      // Compatibility.
      {"\ufb01\u2460\uff21", "\ufb01\u2460\uff21", "\ufb01\u2460\uff21", "fi1A", "fi1A"},
      {"\u1e9b\u0323", "\u1e9b\u0323", "\u017f\u0323\u0307", "\u1e69", "s\u0323\u0307"},
      {"\uff76\uff9e", "\uff76\uff9e", "\uff76\uff9e", "\u30ac", "\u30ab\u3099"},
      {"\U0001d49c\u00a0", "\U0001d49c\u00a0", "\U0001d49c\u00a0", "A ", "A "},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(normalize(c.text, Form::kNfc), c.nfc) << c.text;
    EXPECT_EQ(normalize(c.text, Form::kNfd), c.nfd) << c.text;
    EXPECT_EQ(normalize(c.text, Form::kNfkc), c.nfkc) << c.text;
    EXPECT_EQ(normalize(c.text, Form::kNfkd), c.nfkd) << c.text;
  }
}

// UAX #15: each form keeps what is in it, and canonical forms differ by (de)composition only.
TEST(UnicodeForms, AgreeForEveryCharacter) {
  auto is_plain = [](u32 c) {
    bool is_ideograph = (c > 0x3400 && c < 0x9FFF) || (c > 0x17000 && c < 0x1B000);
    bool is_later_syllable = c > 0xAC80 && c < 0xD7A3;
    return is_ideograph || is_later_syllable || (c >= 0xD800 && c <= 0xF8FF) || c > 0x2FA1D ||
           (c > 0x20000 && c < 0x2F800);
  };
  for (u32 c = 1; c < kCodePointEnd; ++c) {
    if (is_plain(c)) continue;
    std::string text = "a";
    append_utf8(text, c);
    text += "\u0301";
    std::string nfc = normalize(text, Form::kNfc);
    std::string nfd = normalize(text, Form::kNfd);
    std::string nfkc = normalize(text, Form::kNfkc);
    ASSERT_EQ(normalize(nfc, Form::kNfc), nfc) << c;
    ASSERT_EQ(normalize(nfd, Form::kNfd), nfd) << c;
    ASSERT_EQ(normalize(nfd, Form::kNfc), nfc) << c;
    ASSERT_EQ(normalize(nfc, Form::kNfd), nfd) << c;
    ASSERT_EQ(normalize(nfkc, Form::kNfkc), nfkc) << c;
    ASSERT_EQ(normalize(nfd, Form::kNfkc), nfkc) << c;
  }
}

TEST(UnicodeForms, LowerCaseAndClasses) {
  auto lower = [](u32 c) {
    std::string out;
    append_lower(out, c);
    return out;
  };
  EXPECT_EQ(lower('A'), "a");
  EXPECT_EQ(lower('1'), "1");
  EXPECT_EQ(lower(0x130), "i\u0307");
  EXPECT_EQ(lower(0x3A3), "\u03c3");
  EXPECT_EQ(lower(0x1E9E), "\u00df");
  EXPECT_EQ(lower(0x10400), "\U00010428");
  for (u32 c : {u32{'a'}, u32{'_'}, 0x301u, 0x661u, 0x2167u, 0x200Du, 0x24B6u})
    EXPECT_TRUE(is_word_character(c)) << c;
  for (u32 c : {u32{' '}, u32{'-'}, 0xB2u, 0x2460u, 0x3000u, 0x378u})
    EXPECT_FALSE(is_word_character(c)) << c;
  EXPECT_TRUE(is_nonspacing_mark(0x301));
  EXPECT_FALSE(is_nonspacing_mark(0x903));   // Mc
  EXPECT_FALSE(is_nonspacing_mark(0x20DD));  // Me
  for (u32 c : {0x0u, 0x85u, 0x200Du, 0xFEFFu, 0xE000u, 0x10FFFDu}) EXPECT_TRUE(is_control(c)) << c;
  for (u32 c : {u32{' '}, 0x378u, 0xFFFDu, 0x2028u}) EXPECT_FALSE(is_control(c)) << c;
}

}  // namespace
}  // namespace tg::unicode
