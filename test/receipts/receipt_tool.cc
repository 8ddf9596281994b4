// The C++ half of differential.py: makes receipts, good ones and ones that are wrong below their
// signature, and says what the library thinks of any file.
//
//   receipt_tool make DIR                          files in DIR/<suite>/
//   receipt_tool check DIR < names of files        one line each: a result per level, or "refused"
#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "base/bytes.h"
#include "env/disk.h"
#include "env/random.h"
#include "isa/assemble.h"
#include "meter/receipt_log.h"

namespace tg::meter {
namespace {

constexpr u64 kFileBytesMax = 1 << 20;
constexpr u64 kSeed = 20261121;
constexpr i64 kReceipts = 48;

Status write(const std::string& path, std::string_view text) {
  return write_file_durably(path, as_bytes(text), 0644);
}

Result<isa::VerifiedProgram> program() {
  TG_ASSIGN(
      std::string text,
      read_file(std::string(TG_SOURCE_DIR) + "/src/isa/testdata/every_moe.tga", kFileBytesMax));
  TG_ASSIGN(isa::Program assembled, isa::assemble(text));
  return isa::verify(std::move(assembled));
}

// A settled request of random size, as market/settle makes it.
Result<Draft> make_draft(SeededRandom& random, tlog::Suite suite, u64 number,
                         const isa::VerifiedProgram& p) {
  Draft draft;
  random.fill(draft.salt);
  Receipt& r = draft.receipt;
  r.suite = suite;
  r.device = "cpu_avx512";
  r.request = u128{random.next()} << 64 | number;
  r.buyer = random.next();
  r.seller = random.next();
  r.model = "every-moe";
  r.program = p.id();
  r.tariff = "list/1";
  r.factor_ppm = 1 + random.below(2'000'000);
  r.time = Timestamp{1'767'225'600'000'000'000 + static_cast<i64>(number) * 7'001'000'000};
  r.prompt_tokens = static_cast<i64>(random.below(9'000));
  r.cached_tokens = static_cast<i64>(random.below(static_cast<u64>(r.prompt_tokens) + 1));
  for (u64 choices = 1 + random.below(3); choices > 0; --choices)
    r.output_tokens.push_back(static_cast<i64>(random.below(700)));
  r.outcome = static_cast<Outcome>(random.below(9));
  TG_ASSIGN(unit::NominalWork work, unit::nominal_work(p.cost(), {.prompt = r.prompt_tokens,
                                                                  .cached = r.cached_tokens,
                                                                  .outputs = r.output_tokens}));
  r.nominal_nst = work.total.value;
  r.input_nst = work.input.value;
  r.output_nst = work.output.value;
  r.billable_nst = billable(r.outcome, work, output_tokens(r)).value;
  r.actual_nst = static_cast<i64>(random.below(1'000'000));
  r.held = static_cast<i64>(random.below(static_cast<u64>(2 * r.nominal_nst + 2)));
  r.billed = billed_amount(r.billable_nst, r.factor_ppm, r.held);
  r.hold = random.next();
  r.post = r.billed > 0 ? random.next() + 1 : 0;
  tlog::Hasher hasher(suite);
  std::string sent = fmt::format("sent {}", number);
  std::string received = fmt::format("received {}", number);
  r.binding = bind(
      suite, draft.salt, Content{.digest = hasher.of(sent), .bytes = static_cast<i64>(sent.size())},
      Content{.digest = hasher.of(received), .bytes = static_cast<i64>(received.size())});
  return draft;
}

// The same as market/settle.h makes it now: priced by classes of use, paid by several accounts.
Status make_version_3(SeededRandom& random, Receipt& r, const isa::VerifiedProgram& p) {
  r.version = 3;
  r.tariff.clear();
  r.factor_ppm = 0;
  r.post = 0;
  r.choice = static_cast<i64>(random.below(3));
  r.is_embedding = random.below(5) == 0;
  r.output_tokens.resize(1);
  if (r.is_embedding) r.output_tokens[0] = static_cast<i64>(random.below(2));
  if (!r.is_embedding)
    r.reasoning_tokens = static_cast<i64>(random.below(static_cast<u64>(r.output_tokens[0]) + 1));
  r.written_tokens =
      static_cast<i64>(random.below(static_cast<u64>(r.prompt_tokens - r.cached_tokens) + 1));
  r.is_estimated = random.below(2) == 0;
  r.usage_flags = static_cast<u32>(random.next());
  r.pricing = {.card = "list", .version = 1 + random.below(9), .digest = sha256("card")};
  r.pricing.in_money = random.below(2) == 0;
  PriceSegment segment;
  for (u64 segments = 1 + random.below(3); segments > 0; --segments) {
    segment.prices = {};
    for (std::size_t i = 0; i < kTokenClasses; ++i)
      if (random.below(3) != 0)
        segment.prices.values[i] = static_cast<i64>(random.below(30'000'000));
    if (random.below(2) == 0)
      segment.prices[RatedClass::kWork] = static_cast<i64>(random.below(2'000'000'000'000'000));
    r.pricing.segments.push_back(segment);
    segment.output_from += static_cast<i64>(random.below(300));
    segment.reasoning_from += static_cast<i64>(random.below(100));
  }
  std::span<const i64> outputs;
  if (!r.is_embedding) outputs = r.output_tokens;
  TG_ASSIGN(unit::NominalWork work, unit::nominal_work(p.cost(), {.prompt = r.prompt_tokens,
                                                                  .cached = r.cached_tokens,
                                                                  .outputs = outputs,
                                                                  .embedding = r.is_embedding}));
  r.nominal_nst = work.total.value;
  r.input_nst = work.input.value;
  r.output_nst = work.output.value;
  r.billable_nst = billable(r.outcome, work, r.output_tokens[0]).value;
  TG_ASSIGN(i64 due, charge_of(r, p.cost()));
  r.mode = "sliced";
  r.held = random.below(4) == 0 ? due / 2 : due + static_cast<i64>(random.below(1'000));
  r.max_cost = r.held + static_cast<i64>(random.below(2));
  r.slices = static_cast<i64>(random.below(20));
  r.billed = std::min(due, r.held);
  i64 left = r.billed;
  for (u64 payments = random.below(4); payments > 0 && left > 0; --payments) {
    i64 part = static_cast<i64>(random.below(static_cast<u64>(left) + 1));
    r.paid.push_back({.account = random.next(), .amount = part});
    left -= part;
  }
  if (left > 0) r.paid.push_back({.account = random.next(), .amount = left});
  return {};
}

// A figure that the meter might state wrongly while everything above it holds.
void spoil(Receipt& r, u64 which) {
  i64 Receipt::*const kFields[] = {&Receipt::nominal_nst,   &Receipt::input_nst,
                                   &Receipt::output_nst,    &Receipt::billable_nst,
                                   &Receipt::billed,        &Receipt::prompt_tokens,
                                   &Receipt::cached_tokens, &Receipt::held};
  r.*kFields[which % std::size(kFields)] += 1 + static_cast<i64>(which / std::size(kFields)) * 1000;
  // Such a draft would be no page.
  r.prompt_tokens = std::max(r.prompt_tokens, r.cached_tokens + r.written_tokens);
}

Status make_suite(const std::string& folder, tlog::Suite suite, const isa::VerifiedProgram& p) {
  SeededRandom random(kSeed);
  TG_TRY(ensure_writable_directory(folder));
  TG_ASSIGN(tlog::NoteSigner signer,
            tlog::NoteSigner::create("gw-1", suite, std::vector<u8>(32, 3)));
  TG_TRY(write(folder + "/key", tlog::to_text(signer.verifier())));
  TG_TRY(write(folder + "/program.tgp", as_text(p.bytes())));
  TG_ASSIGN(tlog::PrivateKey witness,
            tlog::PrivateKey::create(tlog::Suite::kEd25519Sha256, std::vector<u8>(32, 4)));
  tlog::VerifierKey witness_key{
      .name = "w.example", .use = tlog::KeyUse::kCosignature, .public_key = witness.public_key()};
  TG_TRY(write(folder + "/witness", tlog::to_text(witness_key)));
  TG_ASSIGN(ReceiptLog log, ReceiptLog::open(folder + "/log", "grid.example/2026", signer));
  std::vector<std::string> documents;
  for (u64 i = 0; i < kReceipts; ++i) {
    TG_ASSIGN(Draft draft, make_draft(random, suite, i, p));
    if (i % 3 != 1) TG_TRY(make_version_3(random, draft.receipt, p));
    if (i >= kReceipts / 2) spoil(draft.receipt, i - kReceipts / 2);
    documents.push_back(to_text(draft));
    // Groups of different sizes, so that proofs have different shapes.
    if (i % 5 == 0) {
      TG_TRY(log.append(std::span(documents).last(documents.size() - log.size())));
    }
  }
  TG_TRY(log.append(std::span(documents).last(documents.size() - log.size())));
  for (u64 i = 0; i < kReceipts; ++i) {
    TG_ASSIGN(std::string text, log.receipt_file(i, documents[i]));
    TG_ASSIGN(ReceiptFile file, parse_receipt_file(text));
    if (i % 2 == 0) {
      file.proof.checkpoint.signatures.push_back(
          tlog::cosign(file.proof.checkpoint.text, "w.example", witness, 1'767'300'000 + i));
    }
    TG_TRY(write(folder + fmt::format("/{}-{:02}", i < kReceipts / 2 ? "good" : "spoilt", i),
                 to_text(file)));
  }
  if (suite != tlog::Suite::kEd25519Sha256) return {};
  TG_ASSIGN(Draft old, make_draft(random, suite, 99, p));
  old.receipt.version = 1;
  old.receipt.log = "grid.example/2026";
  old.receipt.meter = "gw-1";
  std::string text = to_text(old.receipt);
  return write(folder + "/good-old",
               tlog::to_text(tlog::Note{.text = text, .signatures = {signer.sign(text)}}));
}

std::string_view word(const Check& check) {
  return check.passed() ? "ok" : check.failed() ? "failed" : "not checked";
}

Status check_all(const std::string& folder) {
  TG_ASSIGN(std::string key_text, read_file(folder + "/key", kFileBytesMax));
  TG_ASSIGN(std::string witness_text, read_file(folder + "/witness", kFileBytesMax));
  TG_ASSIGN(tlog::VerifierKey key, tlog::parse_verifier_key(key_text));
  TG_ASSIGN(tlog::VerifierKey witness, tlog::parse_verifier_key(witness_text));
  TG_ASSIGN(std::string bytes, read_file(folder + "/program.tgp", kFileBytesMax));
  TG_ASSIGN(isa::VerifiedProgram p, isa::load(as_bytes(bytes)));
  TG_ASSIGN(std::string earlier_text, read_file(folder + "/good-03", kFileBytesMax));
  TG_ASSIGN(ReceiptFile earlier, parse_receipt_file(earlier_text));
  for (std::string name; std::getline(std::cin, name);) {
    TG_ASSIGN(std::string text, read_file(name, kFileBytesMax));
    Result<ReceiptFile> file = parse_receipt_file(text);
    if (!file.ok()) {
      fmt::print("refused: {}\n", file.error().message);
      continue;
    }
    Evidence evidence{.key = key,
                      .witnesses = {witness},
                      .earlier = &earlier,
                      .cost = &p.cost(),
                      .sent = "sent 4",
                      .received = "received 4"};
    Verification v = verify(*file, evidence);
    if (file->receipt.program != p.id()) v.arithmetic = check_of(Error{Code::kInvalid, "program"});
    fmt::print("{},{},{},{},{},{}\n", word(v.signature), word(v.inclusion), word(v.continuity),
               word(v.witnesses), word(v.arithmetic), word(v.binding));
  }
  return {};
}

Status run(const std::string& command, const std::string& folder) {
  if (command == "check") return check_all(folder);
  TG_ASSIGN(isa::VerifiedProgram p, program());
  for (tlog::Suite suite : tlog::kSuites)
    TG_TRY(make_suite(folder + "/" + std::string(tlog::name(suite)), suite, p));
  return {};
}

}  // namespace
}  // namespace tg::meter

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  tg::Status done = tg::meter::run(argv[1], argv[2]);
  if (!done.ok()) fmt::print(stderr, "receipt_tool: {}\n", done.error().message);
  return done.ok() ? 0 : 1;
}
