#include "text/charsmap.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/bytes.h"
#include "text/normalizer.h"

namespace tg {
namespace {

// Builds the blob for a few replacements, as Darts-clone lays it out: a node's children stand at a
// base, which no other node has, combined by exclusive or with their byte; byte 0 is the value.
class Builder {
 public:
  std::string build(const std::map<std::string, std::string>& replacements) {
    for (const auto& [from, to] : replacements) {
      offsets_[from] = static_cast<u32>(strings_.size());
      strings_ += to + '\0';
    }
    place(0, "");
    u32 count = (units_.rbegin()->first / 256 + 1) * 256;
    std::vector<u8> out;
    append_u32(out, count * 4);
    for (u32 i = 0; i < count; ++i) append_u32(out, units_.count(i) > 0 ? units_[i] : 0);
    return std::string(as_text(out)) + strings_;
  }

 private:
  void place(u32 node, const std::string& prefix) {
    std::set<u8> labels;
    for (const auto& [from, offset] : offsets_) {
      if (from.compare(0, prefix.size(), prefix) != 0) continue;
      labels.insert(from.size() == prefix.size() ? u8{0} : static_cast<u8>(from[prefix.size()]));
    }
    u32 base = 1;
    auto is_taken = [&] {
      if (bases_.count(base) > 0) return true;
      for (u8 label : labels)
        if (base == label || units_.count(base ^ label) > 0) return true;
      return false;
    };
    while (is_taken()) ++base;
    bases_.insert(base);
    units_[node] |= (node ^ base) << 10;
    if (labels.count(0) > 0) {
      units_[node] |= 1 << 8;
      units_[base] = offsets_[prefix] | u32{1} << 31;
    }
    for (u8 label : labels)
      if (label != 0) units_[base ^ label] = label;
    for (u8 label : labels)
      if (label != 0) place(base ^ label, prefix + static_cast<char>(label));
  }

  std::map<std::string, u32> offsets_;
  std::string strings_;
  std::map<u32, u32> units_;
  std::set<u32> bases_;
};

std::string small_blob() {
  return Builder().build({{"\u00a0", " "},
                          {"\ufb01", "fi"},
                          {"e\u0301", "\u00e9"},
                          {"e", "E"},
                          {"\u200b", ""},
                          {"\u337f", "\u682a\u5f0f\u4f1a\u793e"}});
}

TEST(Charsmap, ReplacesTheLongestEntry) {
  Charsmap map = Charsmap::create(small_blob()).value();
  Charsmap::Match match = map.longest("xe\u0301y", 1);
  EXPECT_EQ(match.replacement, "\u00e9");
  EXPECT_EQ(match.size, 3);
  EXPECT_EQ(map.longest("ex", 0).replacement, "E");
  EXPECT_EQ(map.longest("x", 0).size, 0);
  EXPECT_EQ(map.longest(std::string_view("\0", 1), 0).size, 0);
  Normalizer normalizer =
      Normalizer::create({{NormalizeStep::Kind::kCharsmap, "", ""}}, small_blob()).value();
  EXPECT_EQ(normalizer.apply("\ufb01\u00a0\u200be\u0301e\u337f\u3380").value(),
            "fi \u00e9E\u682a\u5f0f\u4f1a\u793e\u3380");
}

TEST(Charsmap, RefusesWhatContradictsItself) {
  std::string blob = small_blob();
  auto error = [](const std::string& bytes) { return Charsmap::create(bytes).error().message; };
  EXPECT_EQ(error(""),
            "precompiled_charsmap: ends at byte 0, but 4 bytes were expected at offset 0");
  EXPECT_EQ(error(std::string("\x08\0\0\0abcd", 8)), "precompiled_charsmap: array of 8 bytes in 8");
  EXPECT_EQ(error(std::string("\x03\0\0\0abcd", 8)), "precompiled_charsmap: array of 3 bytes in 8");
  EXPECT_EQ(error(blob + "x"), "precompiled_charsmap: the strings do not end in a zero byte");
  EXPECT_EQ(error(blob + std::string("\xFF\0", 2)),
            "precompiled_charsmap: the strings are not UTF-8");
}

// Whatever the units say, lookups stay inside and replacements stay whole strings.
TEST(Charsmap, SurvivesAnyUnits) {
  std::string blob = small_blob();
  for (std::size_t at = 4; at < blob.size() - 64; ++at) {
    for (char value : {'\x00', '\x01', '\x7F', '\xFF'}) {
      std::string bad = blob;
      bad[at] = value;
      Result<Charsmap> map = Charsmap::create(bad);
      if (!map.ok()) continue;
      for (std::string_view text : {"e\u0301", "\u00a0\ufb01", "\u337f\u200b"})
        EXPECT_TRUE(is_utf8(map->longest(text, 0).replacement));
    }
  }
}

}  // namespace
}  // namespace tg
