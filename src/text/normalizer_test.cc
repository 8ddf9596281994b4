#include "text/normalizer.h"

#include <gtest/gtest.h>

namespace tg {
namespace {

using Kind = NormalizeStep::Kind;

struct Case {
  NormalizeStep step;
  const char* text;
  const char* expected;
};

TEST(Normalizer, DoesEachStep) {
  const Case kCases[] = {
      {{Kind::kNfc, "", ""}, "e\u0301", "\u00e9"},
      {{Kind::kNfd, "", ""}, "\u00e9", "e\u0301"},
      {{Kind::kNfkc, "", ""}, "\ufb01e\u0301", "fi\u00e9"},
      {{Kind::kNfkd, "", ""}, "\ufb01\u00e9", "fie\u0301"},
      {{Kind::kLowercase, "", ""}, "A\u00c9\u0130\u03a3", "a\u00e9i\u0307\u03c3"},
      {{Kind::kStripAccents, "", ""}, "e\u0301\u0903", "e\u0903"},
      {{Kind::kStripMarks, "", ""}, "e\u0301\u0903\u00e9", "e\u00e9"},
      {{Kind::kCleanControl, "", ""}, "a\tb\u00a0c\u200dd\ufffd\x0b\u2028", "a b cd "},
      {{Kind::kSpaceCjk, "", ""}, "a\u4e2d\u3042", "a \u4e2d \u3042"},
      {{Kind::kReplace, "aa", "b"}, "aaa aa", "ba b"},
      {{Kind::kReplace, "a", ""}, "banana", "bnn"},
      {{Kind::kPrepend, "", "\u2581"}, "a", "\u2581a"},
      {{Kind::kPrepend, "", "\u2581"}, "", ""},
      {{Kind::kStripLeft, "", ""}, "\u3000 a ", "a "},
      {{Kind::kStripRight, "", ""}, " a\n\u3000", " a"},
      {{Kind::kStripRight, "", ""}, " \n", ""},
      {{Kind::kJoinSpaces, "", "_"}, "a b  c   \n ", "a b_c_\n "},
  };
  for (const Case& c : kCases) {
    Normalizer normalizer = Normalizer::create({c.step}, "").value();
    EXPECT_EQ(normalizer.apply(c.text).value(), c.expected) << c.text;
  }
}

TEST(Normalizer, StepsFollowEachOther) {
  Normalizer bert = Normalizer::create(bert_normalizers({}), "").value();
  EXPECT_EQ(bert.apply("\u00c9t\u00e9\u4e2d\u0130").value(), "ete \u4e2d i");
  EXPECT_TRUE(Normalizer::create({}, "").value().is_identity());
}

TEST(Normalizer, JoinsWords) {
  EXPECT_EQ(joined_words(" \n"), "");
  EXPECT_EQ(joined_words(" a\n\u3000b "), "a b");
  EXPECT_EQ(joined_words("a \u2581b"), "a\u2581b");
}

TEST(Normalizer, RefusesBadSteps) {
  auto error = [](std::vector<NormalizeStep> steps, std::string_view charsmap) {
    return Normalizer::create(std::move(steps), charsmap).error().message;
  };
  EXPECT_EQ(error({{Kind::kReplace, "", "a"}}, ""), "vocab: a normalizer replaces the empty text");
  EXPECT_EQ(error({{Kind::kPrepend, "", "\xFF"}}, ""), "vocab: a normalizer's text is not UTF-8");
  EXPECT_EQ(error({{Kind::kPrepend, "", std::string(2000, 'a')}}, ""),
            "vocab: a normalizer's text of 2000 bytes, more than 1024");
  EXPECT_EQ(error(std::vector<NormalizeStep>(65), ""), "vocab: 65 normalizers");
  EXPECT_EQ(error({{Kind::kCharsmap, "", ""}}, "abc"),
            "precompiled_charsmap: ends at byte 3, but 4 bytes were expected at offset 0");
}

// Small steps, again and again, must not make much out of little.
TEST(Normalizer, BoundsItsOutput) {
  std::vector<NormalizeStep> steps(8, {Kind::kReplace, "a", std::string(64, 'a')});
  Result<std::string> text = Normalizer::create(steps, "").value().apply("aaaa");
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().message, "normalize: text exceeds 33554432 bytes");
}

}  // namespace
}  // namespace tg
