// What a buyer gets and keeps, one text file: the receipt, an empty line, and the proof that it is
// a page of the meter's log (C2SP tlog-proof, the receipt's salt as its extra data). Everything to
// verify it offline but the meter's key and the program's cost matrix.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "meter/receipt.h"
#include "tlog/checkpoint.h"

namespace tg::meter {

inline constexpr std::size_t kReceiptFileMax = 32'768;

struct ReceiptFile {
  std::string text;  // of `receipt`, as committed to or signed
  Receipt receipt;
  // Versions 2 and 3.
  tlog::LogProof proof;
  Salt salt{};
  // Version 1: the note that carries the text.
  tlog::Note note;
};
std::string to_text(const ReceiptFile& file);
// Accepts exactly what to_text writes, of either version.
Result<ReceiptFile> parse_receipt_file(std::string_view text);

// The receipt in a ledger's document: a draft, or a version 1 note.
Result<Receipt> parse_stored(std::string_view document);

// The log's entry of a page: meter, number, and the hash of the receipt's text, which its nonce
// keeps from being guessed. Says nothing of who, what or how much.
std::string page_entry(tlog::Hasher& hasher, const Receipt& receipt, std::string_view text);
// The log's entry of a document that is no draft: a version 1 receipt.
std::string document_entry(tlog::Hasher& hasher, std::string_view document);
// "<log>/<meter>": the name a meter's log signs checkpoints under.
std::string origin_of(std::string_view log, std::string_view meter);

// One check: passed, failed, or not made, and why.
struct Check {
  enum class Result : u8 { kPassed, kFailed, kNotMade };
  Result result = Result::kNotMade;
  std::string detail;  // "" if passed

  bool passed() const { return result == Result::kPassed; }
  bool failed() const { return result == Result::kFailed; }
};
Check check_of(const Status& status);
Check not_made(std::string why);

// What the verifier was given besides the file.
struct Evidence {
  std::optional<tlog::VerifierKey> key;      // the meter's
  std::vector<tlog::VerifierKey> witnesses;  // each must have cosigned
  const ReceiptFile* earlier = nullptr;      // another receipt of the same meter
  const unit::CostMatrix* cost = nullptr;    // of the receipt's program
  std::optional<std::string_view> sent;      // the buyer's own bytes
  std::optional<std::string_view> received;
};

// By level of money.md §5.9: L0 signature; L1 inclusion, witnesses, continuity; L2 arithmetic (to
// the ledger's posts, which only who has the ledger can check); L3 binding (the tokens recounted
// from the bytes need the tokenizer). None of them proves that the meter read honestly.
struct Verification {
  Check signature;
  Check inclusion;
  Check witnesses;
  Check continuity;
  Check arithmetic;
  Check binding;
};
Verification verify(const ReceiptFile& file, const Evidence& evidence);

}  // namespace tg::meter
