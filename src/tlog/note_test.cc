// Notes, checkpoints and proofs as text: what is published round trips, what is not canonical is
// refused, and who did not sign is told apart from who signed something else.
#include "tlog/note.h"

#include <gtest/gtest.h>

#include "tlog/checkpoint.h"
#include "tlog/tile.h"

namespace tg::tlog {
namespace {

constexpr std::string_view kDash = "\xE2\x80\x94 ";

NoteSigner signer(Suite suite, u8 seed = 1, std::string name = "example.com/log") {
  return NoteSigner::create(std::move(name), suite, std::vector<u8>(32, seed)).value();
}

TEST(Note, VerifiesThePublishedExamples) {
  // The example of golang.org/x/mod/sumdb/note, the form's first implementation.
  VerifierKey key =
      parse_verifier_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
          .value();
  Note note = parse_note(
                  "If you think cryptography is the answer to your problem,\n"
                  "then you don't know what your problem is.\n\n" +
                  std::string(kDash) +
                  "PeterNeumann "
                  "x08go/ZJkuBS9UG/"
                  "SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")
                  .value();
  EXPECT_EQ(check_note(note, key), NoteCheck::kSigned);
  note.text[0] = 'i';
  EXPECT_EQ(check_note(note, key), NoteCheck::kBadSignature);
}

TEST(Note, RoundTripsInBothSuites) {
  for (Suite suite : kSuites) {
    NoteSigner log = signer(suite);
    Note note{.text = "first\n\nsecond\n", .signatures = {log.sign("first\n\nsecond\n")}};
    std::string text = to_text(note);
    Note back = parse_note(text).value();
    EXPECT_EQ(back.text, note.text) << "the last empty line divides";
    EXPECT_EQ(to_text(back), text);
    EXPECT_EQ(check_note(back, log.verifier()), NoteCheck::kSigned);
    EXPECT_EQ(check_note(back, signer(suite, 2).verifier()), NoteCheck::kNotSigned);
    EXPECT_EQ(parse_verifier_key(to_text(log.verifier())).value(), log.verifier());
  }
}

TEST(Note, RefusesWhatIsNotCanonical) {
  std::string mark(kDash);
  struct Case {
    const char* what;
    std::string text;
  };
  for (const Case& c :
       {Case{"no signature", "a\n\n"}, Case{"no text end", "a\n\n" + mark + "n AAAAAAAA"},
        Case{"two spaces", "a\n\n" + mark + "n  AAAAAAAA\n"},
        Case{"plus in name", "a\n\n" + mark + "n+m AAAAAAAA\n"},
        Case{"not base64", "a\n\n" + mark + "n AAAAAAA!\n"},
        Case{"loose bits", "a\n\n" + mark + "n AAAAAAB=\n"},
        Case{"id only", "a\n\n" + mark + "n AAAAAA==\n"},
        Case{"tab", "a\tb\n\n" + mark + "n AAAAAAAA\n"},
        Case{"not utf-8", "\xff\n\n" + mark + "n AAAAAAAA\n"}}) {
    EXPECT_FALSE(parse_note(c.text).ok()) << c.what;
  }
  EXPECT_TRUE(parse_note("a\n\n" + mark + "n AAAAAAAA\n").ok());
  std::string many = "a\n\n";
  for (std::size_t i = 0; i <= kNoteSignaturesMax; ++i) many += mark + "n AAAAAAAA\n";
  EXPECT_EQ(parse_note(many).error().code, Code::kLimit);
  for (const char* key : {"", "a+b", "n+00000000+AQ==", "n+zzzzzzzz+", "n m+1+2"})
    EXPECT_FALSE(parse_verifier_key(key).ok()) << key;
}

TEST(Note, WitnessesCosign) {
  NoteSigner log = signer(Suite::kEd25519Sha256);
  PrivateKey witness = PrivateKey::create(Suite::kEd25519Sha256, std::vector<u8>(32, 9)).value();
  VerifierKey key{
      .name = "w.example", .use = KeyUse::kCosignature, .public_key = witness.public_key()};
  Note note{.text = "o\n0\nAAAA\n", .signatures = {log.sign("o\n0\nAAAA\n")}};
  EXPECT_EQ(check_note(note, key), NoteCheck::kNotSigned);
  note.signatures.push_back(cosign(note.text, key.name, witness, 1'700'000'000));
  Note back = parse_note(to_text(note)).value();
  EXPECT_EQ(check_note(back, key), NoteCheck::kSigned);
  EXPECT_EQ(check_note(back, log.verifier()), NoteCheck::kSigned) << "both stand side by side";
  back.signatures[1].bytes[7] ^= 1;
  EXPECT_EQ(check_note(back, key), NoteCheck::kBadSignature) << "the time is signed too";
  EXPECT_EQ(parse_verifier_key(to_text(key)).value(), key);
}

TEST(Checkpoint, RoundTripsAndRefuses) {
  Hasher hasher(Suite::kEd25519Sha256);
  Checkpoint checkpoint{.origin = "example.com/log", .head = {20'852'163, hasher.leaf("x")}};
  std::string text = to_text(checkpoint);
  EXPECT_EQ(to_text(parse_checkpoint(text).value()), text);
  std::string root = to_base64(checkpoint.head.root);
  for (const std::string& bad :
       {std::string(""), "o\n1\n" + root, "o\n01\n" + root + "\n", "o\n-1\n" + root + "\n",
        "o o\n1\n" + root + "\n", "\n1\n" + root + "\n", "o\n1\n" + root + "\nmore\n",
        std::string("o\n1\nAAAA\n"), "o\n99999999999999999999\n" + root + "\n"}) {
    EXPECT_FALSE(parse_checkpoint(bad).ok()) << bad;
  }
}

TEST(Proof, RoundTripsAndRefuses) {
  Hasher hasher(Suite::kEd25519Sha256);
  NoteSigner log = signer(Suite::kEd25519Sha256);
  Hash other = hasher.leaf("other");
  TreeHead head{2, hasher.node(hasher.leaf("entry"), other)};
  LogProof proof{.extra = {1, 2}, .index = 0, .path = {other}, .checkpoint = {}};
  proof.checkpoint.text = to_text(Checkpoint{.origin = "o", .head = head});
  proof.checkpoint.signatures = {log.sign(proof.checkpoint.text)};
  std::string text = to_text(proof);
  LogProof back = parse_log_proof(text).value();
  EXPECT_EQ(to_text(back), text);
  EXPECT_TRUE(check_log_proof(hasher, back, "entry", log.verifier()).ok());
  EXPECT_FALSE(check_log_proof(hasher, back, "other", log.verifier()).ok());
  EXPECT_FALSE(
      check_log_proof(hasher, back, "entry", signer(Suite::kEd25519Sha256, 2).verifier()).ok());
  EXPECT_FALSE(check_log_proof(hasher, back, "entry", signer(Suite::kSm2Sm3).verifier()).ok());
  for (std::size_t i = 0; i < text.size(); ++i)
    EXPECT_FALSE(parse_log_proof(text.substr(0, i)).ok()) << i;

  ConsistencyProof consistency{.from = 3, .to = 9, .hashes = {other, head.root}};
  std::string line = to_text(consistency);
  EXPECT_EQ(to_text(parse_consistency_proof(line).value()), line);
  EXPECT_FALSE(parse_consistency_proof(line + "\n").ok());
  EXPECT_FALSE(parse_consistency_proof("tokengrid-consistency/1\nfrom 03\nto 9\n").ok());
}

TEST(Tile, PathsRoundTrip) {
  struct Case {
    const char* path;
    Resource resource;
  };
  for (const Case& c :
       {Case{"checkpoint", {}}, Case{"tile/0/000", {ResourceKind::kTile, 0, 0, 256}},
        Case{"tile/2/x001/x234/067", {ResourceKind::kTile, 2, 1'234'067, 256}},
        Case{"tile/0/273.p/112", {ResourceKind::kTile, 0, 273, 112}},
        Case{"tile/entries/x001/000.p/1", {ResourceKind::kEntries, 0, 1'000, 1}}}) {
    EXPECT_EQ(parse_path(c.path).value(), c.resource) << c.path;
    EXPECT_EQ(to_path(c.resource), c.path);
  }
  for (const char* bad :
       {"", "tile", "tile/", "tile/0/", "tile/0/0", "tile/00/000", "tile/7/000", "tile/0/x000/001",
        "tile/0/1000", "tile/0/x001", "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/01",
        "tile/0/001.p/", "tile/entries/-01", "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        "/checkpoint", "tile/0/001/"}) {
    EXPECT_FALSE(parse_path(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace tg::tlog
