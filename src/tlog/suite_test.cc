// Both suites against the answers their standards publish.
#include "tlog/suite.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/bytes.h"

namespace tg::tlog {
namespace {

std::vector<u8> hex(std::string_view text) {
  return from_hex(text).value();
}

TEST(Suite, HashesOfTheStandards) {
  struct Case {
    Suite suite;
    const char* text;
    const char* digest;
  };
  // FIPS 180-4 and GB/T 32905-2016, annex A.
  for (Case c : {Case{Suite::kEd25519Sha256, "abc",
                      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                 Case{Suite::kSm2Sm3, "abc",
                      "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"}}) {
    Hasher hasher(c.suite);
    EXPECT_EQ(to_hex(hasher.of(std::string_view(c.text))), c.digest);
    EXPECT_EQ(to_hex(hasher.of(std::string_view(c.text))), c.digest) << "and again";
  }
}

TEST(Suite, HmacOfRfc4231) {
  Hasher hasher(Suite::kEd25519Sha256);
  EXPECT_EQ(to_hex(hasher.hmac(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"))),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// Ours is written out; both suites, and keys on either side of a block's length.
TEST(Suite, HmacIsWhatOpenSslSays) {
  for (Suite suite : kSuites) {
    Hasher hasher(suite);
    const EVP_MD* kind = suite == Suite::kSm2Sm3 ? EVP_sm3() : EVP_sha256();
    for (std::size_t length : {1, 32, 63, 64, 65, 200}) {
      std::vector<u8> key(length, 7);
      std::string_view text = "what is said";
      Hash expected;
      unsigned size = 0;
      ASSERT_NE(HMAC(kind, key.data(), static_cast<int>(length), as_bytes(text).data(), text.size(),
                     expected.data(), &size),
                nullptr);
      EXPECT_EQ(to_hex(hasher.hmac(key, as_bytes(text))), to_hex(expected)) << length;
    }
  }
}

TEST(Suite, NamesRoundTrip) {
  for (Suite suite : kSuites) EXPECT_EQ(suite_by_name(name(suite)), suite);
  EXPECT_FALSE(suite_by_name("ed25519"));
}

TEST(Suite, Ed25519OfRfc8032) {
  PrivateKey key =
      PrivateKey::create(Suite::kEd25519Sha256,
                         hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
          .value();
  EXPECT_EQ(to_hex(key.public_key()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  EXPECT_EQ(to_hex(key.sign("r")),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
}

TEST(Suite, Sm2OfItsStandard) {
  // GM/T 0003.5-2012, annex: key, and a signature of "message digest" by the default identity.
  PrivateKey key =
      PrivateKey::create(Suite::kSm2Sm3,
                         hex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"))
          .value();
  EXPECT_EQ(to_hex(key.public_key()),
            "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
            "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13");
  std::vector<u8> known =
      hex("F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
          "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA");
  EXPECT_TRUE(verify_signature(Suite::kSm2Sm3, key.public_key(), "message digest", known));
  EXPECT_FALSE(verify_signature(Suite::kSm2Sm3, key.public_key(), "message digesT", known));
}

TEST(Suite, SignsAndVerifiesAndRefusesEveryFlippedBit) {
  for (Suite suite : kSuites) {
    std::vector<u8> seed(32, 7);
    PrivateKey key = PrivateKey::create(suite, seed).value();
    SignatureBytes signature = key.sign("a text\n");
    EXPECT_TRUE(verify_signature(suite, key.public_key(), "a text\n", signature)) << name(suite);
    EXPECT_FALSE(verify_signature(suite, key.public_key(), "a Text\n", signature));
    for (std::size_t bit = 0; bit < 8 * signature.size(); bit += 5) {
      SignatureBytes changed = signature;
      changed[bit / 8] = static_cast<u8>(changed[bit / 8] ^ (1u << bit % 8));
      EXPECT_FALSE(verify_signature(suite, key.public_key(), "a text\n", changed)) << bit;
    }
  }
}

TEST(Suite, RefusesWhatIsNoKey) {
  for (Suite suite : kSuites) {
    EXPECT_FALSE(PrivateKey::create(suite, std::vector<u8>(31, 1)).ok());
    EXPECT_FALSE(verify_signature(suite, std::vector<u8>(7), "x", SignatureBytes{}));
    EXPECT_FALSE(verify_signature(suite, std::vector<u8>(65, 4), "x", SignatureBytes{}));
  }
  EXPECT_FALSE(PrivateKey::create(Suite::kSm2Sm3, std::vector<u8>(32, 0)).ok());
  EXPECT_FALSE(PrivateKey::create(Suite::kSm2Sm3, std::vector<u8>(32, 0xff)).ok());
}

}  // namespace
}  // namespace tg::tlog
