// Errors, checked integers, bytes, hashes and JSON output.
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/hash.h"
#include "base/json_out.h"
#include "base/philox.h"
#include "base/result.h"

namespace tg {
namespace {

Result<int> half(int n) {
  if (n % 2 != 0) return Error{Code::kInvalid, "odd: " + std::to_string(n)};
  return n / 2;
}

Result<int> quarter(int n) {
  TG_ASSIGN(int h, half(n));
  return half(h);
}

TEST(Result, AssignPassesErrorsUp) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(6).error().message, "odd: 3");
}

TEST(Checked, NamesOverflow) {
  EXPECT_EQ(checked_add<i64>(1, 2), 3);
  EXPECT_FALSE(checked_add<i64>(INT64_MAX, 1).has_value());
  EXPECT_FALSE(checked_mul<u64>(UINT64_MAX, 2).has_value());
  EXPECT_FALSE(checked_sub<u64>(1, 2).has_value());
}

TEST(Checked, RoundsHalfToEven) {
  EXPECT_TRUE(div_round_half_even(5, 2) == 2);
  EXPECT_TRUE(div_round_half_even(7, 2) == 4);
  EXPECT_TRUE(div_round_half_even(8, 3) == 3);
  EXPECT_TRUE(div_round_half_even(~u128{0}, ~u128{0}) == 1);
}

TEST(Checked, Prints128Bits) {
  EXPECT_EQ(to_string(~u128{0}), "340282366920938463463374607431768211455");
  EXPECT_EQ(to_string(i128{-5}), "-5");
  EXPECT_EQ(to_string(u128{0}), "0");
  u128 part = 10'000'000'000'000'000'000u;
  EXPECT_EQ(to_string(part - 1), "9999999999999999999");
  EXPECT_EQ(to_string(part), "10000000000000000000");
  EXPECT_EQ(to_string(part * part + 7), "100000000000000000000000000000000000007");
}

TEST(Reader, NamesTheShortRead) {
  std::vector<u8> bytes;
  append_u32(bytes, 0x01020304);
  Reader reader(bytes, "thing");
  EXPECT_EQ(reader.u16_le().value(), 0x0304);
  Result<u64> missing = reader.u64_le();
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message,
            "thing: ends at byte 4, but 8 bytes were expected at offset 2");
  EXPECT_EQ(reader.u16_le().value(), 0x0102);
}

TEST(Bytes, Hex) {
  std::array<u8, 3> three{};
  EXPECT_TRUE(decode_hex("00fFa1", three));
  EXPECT_EQ(three, (std::array<u8, 3>{0x00, 0xff, 0xa1}));
  for (const char* wrong : {"", "00ffa", "00ffa1b2", "00ffg1",
                            "00ff\xff"
                            "1",
                            "0 ffa1"})
    EXPECT_FALSE(decode_hex(wrong, three)) << wrong;
  EXPECT_EQ(from_hex("0g").error().message, "hex: not a hex digit at position 0");
  EXPECT_EQ(from_hex("001/").error().message, "hex: not a hex digit at position 2");
  u128 id = u128{0x0123456789abcdef} << 64 | 0xfedcba9876543210;
  EXPECT_TRUE(id_from_hex(to_hex(id)).value() == id);
  EXPECT_FALSE(id_from_hex("0123456789abcdeffedcba987654321x").ok());
}

TEST(Bytes, Utf8) {
  EXPECT_TRUE(is_utf8("h\xC3\xA9llo \xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_utf8("\xC0\x80"));
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_utf8("\xE2\x82"));
  EXPECT_FALSE(is_utf8("\xF5\x80\x80\x80"));
}

TEST(Hash, KnownAnswers) {
  EXPECT_EQ(to_hex(sha256("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  // RFC 4231, case 2.
  EXPECT_EQ(to_hex(hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Json, WritesNestedValues) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("a").number(-1).key("b").begin_array().boolean(true).null().end_array();
  json.key("c")
      .string("x\"\n\x01\xFF")
      .key("d")
      .begin_object()
      .end_object()
      .key("e")
      .real(0.5)
      .end_object();
  EXPECT_EQ(
      out, "{\"a\":-1,\"b\":[true,null],\"c\":\"x\\\"\\n\\u0001\xEF\xBF\xBD\",\"d\":{},\"e\":0.5}");
}

// Plain bytes go eight at a time: whatever stands among them is seen wherever it stands.
TEST(Json, EscapesAtEveryPlace) {
  for (int byte = 0; byte < 0x80; ++byte) {
    for (std::size_t at = 0; at < 20; ++at) {
      std::string text(20, 'x');
      text[at] = static_cast<char>(byte);
      std::string escaped;
      append_json_string(escaped, text.substr(at, 1));
      std::string got;
      append_json_string(got, text);
      std::string before(at, 'x'), after(19 - at, 'x');
      EXPECT_EQ(got, "\"" + before + escaped.substr(1, escaped.size() - 2) + after + "\"");
      bool is_escaped = byte < 0x20 || byte == '"' || byte == '\\';
      EXPECT_EQ(escaped.size() > 3, is_escaped) << byte;
    }
  }
}

TEST(Philox, KnownAnswers) {
  // Random123 distribution, kat_vectors, philox4x32 10 rounds.
  EXPECT_EQ(philox4x32_10({0, 0}, {0, 0, 0, 0}),
            (std::array<u32, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(
      philox4x32_10({0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
      (std::array<u32, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

}  // namespace
}  // namespace tg
