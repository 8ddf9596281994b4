// Pages from drafts: gapless numbers, registers that add up, files that verify offline, and what
// happens to them when a bit flips, a document lies or the process ends.
#include "meter/receipt_log.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/bytes.h"
#include "env/random.h"
#include "meter/receipt_testing.h"

namespace tg::meter {
namespace {

tlog::NoteSigner meter_key(tlog::Suite suite, u8 seed = 1) {
  return tlog::NoteSigner::create("gw-1", suite, std::vector<u8>(32, seed)).value();
}

// A version 1 receipt as it was once signed and stored.
std::string old_note() {
  std::string text = to_text(sample_version_1());
  tlog::NoteSigner signer = meter_key(tlog::Suite::kEd25519Sha256);
  return tlog::to_text(tlog::Note{.text = text, .signatures = {signer.sign(text)}});
}

class ReceiptLogTest : public testing::TestWithParam<tlog::Suite> {
 protected:
  void SetUp() override {
    std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    std::replace(name.begin(), name.end(), '/', '_');
    folder_ = testing::TempDir() + "tg_receipt_log_" + name;
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<ReceiptLog> open(const std::string& name = "grid.example/2026") {
    return ReceiptLog::open(folder_, name, meter_key(GetParam()));
  }
  std::vector<std::string> drafts(u64 from, u64 to) {
    std::vector<std::string> out;
    for (u64 i = from; i < to; ++i) {
      SampleRequest request{.request = i + 1, .prompt = static_cast<i64>(600 + i)};
      out.push_back(to_text(sample_draft(request, GetParam())));
    }
    return out;
  }
  ReceiptFile file(ReceiptLog& log, u64 index, const std::string& document) {
    return parse_receipt_file(log.receipt_file(index, document).value()).value();
  }

  unit::CostMatrix cost_ = sample_cost();
  std::string folder_;
};

TEST_P(ReceiptLogTest, PagesAreGaplessAndVerifyOffline) {
  // I-20, I-21.
  std::vector<std::string> documents = drafts(0, 300);
  {
    ReceiptLog log = open().value();
    ASSERT_TRUE(log.append(std::span(documents).first(100)).ok());
  }
  ReceiptLog log = open("another name").value();
  EXPECT_EQ(log.name(), "grid.example/2026") << "a log keeps its name";
  ASSERT_TRUE(log.append(std::span(documents).subspan(100)).ok());
  Registers sum;
  std::optional<ReceiptFile> earlier;
  for (u64 i = 0; i < documents.size(); ++i) {
    ReceiptFile f = file(log, log.find(i + 1).value(), documents[i]);
    EXPECT_EQ(f.receipt.page, i + 1);
    EXPECT_EQ(f.receipt.begin, sum);
    sum = f.receipt.end;
    Evidence evidence{.key = log.log().verifier(),
                      .witnesses = {},
                      .earlier = earlier ? &*earlier : nullptr,
                      .cost = &cost_,
                      .sent = "what was asked",
                      .received = "what was answered"};
    Verification v = verify(f, evidence);
    for (const Check* check :
         {&v.signature, &v.inclusion, &v.continuity, &v.arithmetic, &v.binding})
      ASSERT_TRUE(check->passed()) << i << ": " << check->detail;
    EXPECT_EQ(v.witnesses.result, Check::Result::kNotMade);
    earlier = std::move(f);
  }
  EXPECT_EQ(log.registers(), sum);
  EXPECT_EQ(log.pages(), 300u);
}

TEST_P(ReceiptLogTest, EverySingleBitChangeFailsVerification) {
  // I-24.
  ReceiptLog log = open().value();
  std::vector<std::string> documents = drafts(0, 5);
  ASSERT_TRUE(log.append(documents).ok());
  std::string good = log.receipt_file(2, documents[2]).value();
  Evidence evidence{.key = log.log().verifier(), .witnesses = {}, .cost = &cost_};
  auto accepts = [&](const std::string& text) {
    Result<ReceiptFile> f = parse_receipt_file(text);
    if (!f.ok()) return false;
    Verification v = verify(*f, evidence);
    return v.signature.passed() && v.inclusion.passed() && v.continuity.passed() &&
           v.arithmetic.passed();
  };
  ASSERT_TRUE(accepts(good));
  for (std::size_t i = 0; i < good.size(); ++i) {
    // SM2 takes milliseconds; one bit of each byte is enough for it.
    for (int bit = 0; bit < 8; bit += GetParam() == tlog::Suite::kSm2Sm3 ? 8 : 1) {
      std::string changed = good;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      EXPECT_FALSE(accepts(changed)) << i << "." << bit;
    }
  }
}

TEST_P(ReceiptLogTest, SaysWhatDoesNotHold) {
  ReceiptLog log = open().value();
  std::vector<std::string> documents = drafts(0, 5);
  ASSERT_TRUE(log.append(documents).ok());
  ReceiptFile f = file(log, 2, documents[2]);
  Evidence evidence{.key = meter_key(GetParam(), 2).verifier(), .witnesses = {}};
  EXPECT_TRUE(verify(f, evidence).signature.failed()) << "another key";
  for (tlog::Suite suite : tlog::kSuites) {
    if (suite == GetParam()) continue;
    evidence.key = meter_key(suite).verifier();
    EXPECT_TRUE(verify(f, evidence).signature.failed()) << "another suite";
  }
  evidence.key = log.log().verifier();
  EXPECT_TRUE(verify(f, evidence).signature.passed());
  EXPECT_EQ(verify(f, evidence).arithmetic.result, Check::Result::kNotMade);
  ReceiptFile later = file(log, 3, documents[3]);
  evidence.earlier = &later;
  EXPECT_TRUE(verify(f, evidence).continuity.failed()) << "it does not come before";
  evidence.earlier = nullptr;
  evidence.sent = "what was Asked";
  EXPECT_TRUE(verify(f, evidence).binding.failed());
  evidence.sent = "what was asked";
  EXPECT_TRUE(verify(f, evidence).binding.passed());
  evidence.received = "what was asked";
  EXPECT_TRUE(verify(f, evidence).binding.failed()) << "the sides are told apart";
  f.receipt.binding.output.reset();
  EXPECT_EQ(verify(f, evidence).binding.result, Check::Result::kNotMade) << "it only says less";
  f.receipt.binding.output.emplace();
  EXPECT_TRUE(verify(f, evidence).binding.failed());
  f.proof.index = 3;
  EXPECT_TRUE(verify(f, evidence).inclusion.failed());
  EXPECT_TRUE(verify(f, evidence).signature.passed()) << "levels are apart";
}

TEST_P(ReceiptLogTest, WitnessesMustHaveCosigned) {
  ReceiptLog log = open().value();
  std::vector<std::string> documents = drafts(0, 1);
  ASSERT_TRUE(log.append(documents).ok());
  ReceiptFile f = file(log, 0, documents[0]);
  tlog::PrivateKey witness =
      tlog::PrivateKey::create(tlog::Suite::kEd25519Sha256, std::vector<u8>(32, 5)).value();
  tlog::VerifierKey key{
      .name = "w.example", .use = tlog::KeyUse::kCosignature, .public_key = witness.public_key()};
  Evidence evidence{.key = log.log().verifier(), .witnesses = {key}};
  EXPECT_TRUE(verify(f, evidence).witnesses.failed());
  f.proof.checkpoint.signatures.push_back(
      tlog::cosign(f.proof.checkpoint.text, key.name, witness, 1'767'225'601));
  f = parse_receipt_file(to_text(f)).value();
  EXPECT_TRUE(verify(f, evidence).witnesses.passed());
  EXPECT_TRUE(verify(f, evidence).signature.passed());
  evidence.witnesses.push_back(log.log().verifier());
  EXPECT_TRUE(verify(f, evidence).witnesses.failed()) << "the log is not its own witness";
}

TEST_P(ReceiptLogTest, TheLogSaysNothingOfTheReceipts) {
  ReceiptLog log = open().value();
  std::vector<std::string> documents = drafts(0, 2);
  ASSERT_TRUE(log.append(documents).ok());
  tlog::Hasher hasher(GetParam());
  std::string entry = log.log().entry(0).value();
  ReceiptFile f = file(log, 0, documents[0]);
  EXPECT_EQ(entry, "tokengrid-page/1\nmeter gw-1 page 1\nreceipt " +
                       std::string(tlog::hash_name(GetParam())) + ":" + to_hex(hasher.of(f.text)) +
                       "\n");
  // The same request with another salt is another entry: nothing can be guessed and tried.
  Draft draft = parse_draft(documents[0]).value();
  draft.salt[0] ^= 1;
  std::filesystem::remove_all(folder_ + "2");
  ReceiptLog other =
      ReceiptLog::open(folder_ + "2", "grid.example/2026", meter_key(GetParam())).value();
  std::vector<std::string> salted{to_text(draft)};
  ASSERT_TRUE(other.append(salted).ok());
  EXPECT_NE(other.log().entry(0).value(), entry);
  std::filesystem::remove_all(folder_ + "2");
}

TEST_P(ReceiptLogTest, OldReceiptsAreTakenAsTheyAre) {
  ReceiptLog log = open().value();
  std::vector<std::string> documents = drafts(0, 2);
  documents.insert(documents.begin() + 1, old_note());
  documents.push_back("not a receipt at all");
  ASSERT_TRUE(log.append(documents).ok());
  EXPECT_EQ(log.size(), 4u);
  EXPECT_EQ(log.pages(), 2u);
  EXPECT_EQ(log.receipt_file(1, documents[1]).value(), documents[1]);
  EXPECT_EQ(file(log, 2, documents[2]).receipt.page, 2u);
  ReceiptFile f = parse_receipt_file(documents[1]).value();
  Evidence evidence{
      .key = meter_key(tlog::Suite::kEd25519Sha256).verifier(), .witnesses = {}, .cost = &cost_};
  Verification v = verify(f, evidence);
  EXPECT_TRUE(v.signature.passed() && v.arithmetic.passed());
  EXPECT_EQ(v.inclusion.result, Check::Result::kNotMade);
  EXPECT_EQ(v.continuity.result, Check::Result::kNotMade);
  for (std::size_t i = 0; i < documents[1].size(); ++i) {
    std::string changed = documents[1];
    changed[i] = static_cast<char>(changed[i] ^ 1);
    Result<ReceiptFile> parsed = parse_receipt_file(changed);
    EXPECT_FALSE(parsed.ok() && verify(*parsed, evidence).signature.passed()) << i;
  }
}

TEST_P(ReceiptLogTest, NoticesDocumentsThatAreNotTheOnesItTook) {
  ReceiptLog log = open().value();
  std::vector<std::string> documents = drafts(0, 3);
  documents.push_back("text");
  ASSERT_TRUE(log.append(documents).ok());
  for (u64 i = 0; i < documents.size(); ++i) {
    EXPECT_TRUE(log.check_document(i, documents[i]).ok());
    for (u64 j = 0; j < documents.size(); ++j) {
      EXPECT_EQ(log.check_document(i, documents[j]).ok(), i == j);
    }
  }
  Draft forged = parse_draft(documents[1]).value();
  forged.receipt.billed -= 1;
  EXPECT_EQ(log.receipt_file(1, to_text(forged)).error().code, Code::kCorrupt);
  EXPECT_EQ(log.check_document(9, "text").error().code, Code::kCorrupt);
  EXPECT_FALSE(log.find(77).has_value());
}

TEST_P(ReceiptLogTest, RecordsWithoutEntriesAreDropped) {
  std::vector<std::string> documents = drafts(0, 20);
  std::string checkpoint;
  {
    ReceiptLog log = open().value();
    ASSERT_TRUE(log.append(std::span(documents).first(10)).ok());
    checkpoint = tlog::to_text(log.log().checkpoint());
  }
  {
    // As if the process ended between the records of a group and its entries.
    std::filesystem::resize_file(folder_ + "/pages", 128 * 14 + 60);
    ReceiptLog log = open().value();
    EXPECT_EQ(log.size(), 10u);
    EXPECT_EQ(log.pages(), 10u);
    EXPECT_EQ(tlog::to_text(log.log().checkpoint()), checkpoint);
    ASSERT_TRUE(log.append(std::span(documents).subspan(10)).ok());
    EXPECT_EQ(file(log, 19, documents[19]).receipt.page, 20u);
  }
  std::filesystem::resize_file(folder_ + "/pages", 128 * 19);
  EXPECT_EQ(open().error().code, Code::kCorrupt);
}

TEST_P(ReceiptLogTest, FindsEveryRequestAmongMany) {
  // More than the index starts with, so that it grows; and again after reopening.
  std::vector<std::string> documents = drafts(0, 1'500);
  {
    ReceiptLog log = open().value();
    ASSERT_TRUE(log.append(documents).ok());
    for (u64 i = 0; i < documents.size(); ++i) ASSERT_EQ(log.find(i + 1), i);
  }
  ReceiptLog log = open().value();
  for (u64 i = 0; i < documents.size(); ++i) ASSERT_EQ(log.find(i + 1), i);
  EXPECT_FALSE(log.find(1'501).has_value());
}

INSTANTIATE_TEST_SUITE_P(Suites, ReceiptLogTest, testing::ValuesIn(tlog::kSuites),
                         [](const testing::TestParamInfo<tlog::Suite>& suite) {
                           return std::string(tlog::hash_name(suite.param));
                         });

}  // namespace
}  // namespace tg::meter
