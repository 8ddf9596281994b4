#include "meter/receipt_file.h"

#include <fmt/format.h>

#include "base/bytes.h"

namespace tg::meter {

namespace {

constexpr std::string_view kVersion1Magic = "tokengrid-receipt/1\n";
constexpr std::string_view kProofStart = "\n\nc2sp.org/tlog-proof@";

Error refused(std::string why) {
  return Error{Code::kInvalid, std::move(why)};
}

Result<ReceiptFile> parse_version_1(std::string_view text) {
  ReceiptFile out;
  TG_ASSIGN(out.note, tlog::parse_note(text));
  if (out.note.signatures.size() != 1)
    return refused("receipt: version 1 has exactly one signature");
  out.text = out.note.text;
  TG_ASSIGN(out.receipt, parse_receipt(out.text));
  return out;
}

// --- checks -------------------------------------------------------------------------------------

Status check_signature(const ReceiptFile& file, const tlog::VerifierKey& key) {
  const Receipt& r = file.receipt;
  const tlog::Note& note = r.version == 1 ? file.note : file.proof.checkpoint;
  if (key.use != tlog::KeyUse::kNote) return refused("the key is a witness's");
  // The receipt says under which suite it was made: a key of another proves nothing of it.
  if (key.suite != r.suite)
    return refused(fmt::format("the receipt is of {}, the key of {}", tlog::name(r.suite),
                               tlog::name(key.suite)));
  switch (tlog::check_note(note, key)) {
    case tlog::NoteCheck::kSigned: break;
    case tlog::NoteCheck::kNotSigned: return refused("it is not signed by " + key.name);
    case tlog::NoteCheck::kBadSignature: return refused("the signature does not match");
  }
  if (r.meter != key.name) return refused("it names another meter than its key");
  return {};
}

Status check_inclusion(tlog::Hasher& hasher, const ReceiptFile& file) {
  const Receipt& r = file.receipt;
  TG_ASSIGN(tlog::Checkpoint checkpoint, tlog::parse_checkpoint(file.proof.checkpoint.text));
  if (checkpoint.origin != origin_of(r.log, r.meter))
    return refused("the checkpoint is of another log: " + checkpoint.origin);
  if (nonce_of(hasher, file.salt) != r.nonce) return refused("the salt is not this receipt's");
  tlog::Hash leaf = hasher.leaf(page_entry(hasher, r, file.text));
  if (!tlog::verify_inclusion(hasher, leaf, file.proof.index, checkpoint.head.size, file.proof.path,
                              checkpoint.head.root))
    return refused("the path does not lead to the checkpoint's root");
  return {};
}

Status check_witnesses(const ReceiptFile& file, std::span<const tlog::VerifierKey> witnesses) {
  for (const tlog::VerifierKey& witness : witnesses) {
    if (witness.use != tlog::KeyUse::kCosignature)
      return refused("the key of " + witness.name + " is not a witness's");
    if (tlog::check_note(file.proof.checkpoint, witness) != tlog::NoteCheck::kSigned)
      return refused(witness.name + " did not cosign this checkpoint");
  }
  return {};
}

Check check_continuity_of(const ReceiptFile& file, const ReceiptFile* earlier) {
  Status own = check_registers(file.receipt);
  if (!own.ok() || earlier == nullptr) return check_of(own);
  return check_of(check_continuity(earlier->receipt, file.receipt));
}

// One side of the exchange: the buyer's bytes, and what the receipt says of them.
struct Bound {
  Side side;
  const char* what;
  std::optional<std::string_view> bytes;
  std::optional<tlog::Hash> hash;
  i64 length = 0;
};

Status check_bound(tlog::Hasher& hasher, const Salt& salt, const Bound& bound) {
  i64 length = static_cast<i64>(bound.bytes->size());
  if (bound.length != length)
    return refused(
        fmt::format("{} has {} bytes, the receipt says {}", bound.what, length, bound.length));
  if (bound_bytes(hasher, salt, bound.side, *bound.bytes) != *bound.hash)
    return refused(fmt::format("the receipt binds other bytes than {}", bound.what));
  return {};
}

// A receipt that binds nothing is not wrong, it only says less.
Check check_binding(tlog::Hasher& hasher, const ReceiptFile& file, const Evidence& evidence) {
  const Binding& b = file.receipt.binding;
  const Bound sides[] = {
      {Side::kInput, "what was sent", evidence.sent, b.input, b.input_bytes},
      {Side::kOutput, "what was received", evidence.received, b.output, b.output_bytes}};
  Check out = not_made("no bytes given");
  for (const Bound& bound : sides) {
    if (!bound.bytes || !bound.hash) continue;
    out = check_of(check_bound(hasher, file.salt, bound));
    if (out.failed()) return out;
  }
  for (const Bound& bound : sides) {
    if (bound.bytes && !bound.hash)
      return not_made(fmt::format("the receipt does not bind {}", bound.what));
  }
  return out;
}

}  // namespace

// --- the file -----------------------------------------------------------------------------------

std::string to_text(const ReceiptFile& file) {
  if (file.receipt.version == 1) return tlog::to_text(file.note);
  return file.text + "\n" + tlog::to_text(file.proof);
}

Result<ReceiptFile> parse_receipt_file(std::string_view text) {
  if (text.size() > kReceiptFileMax) {
    return Error{Code::kLimit,
                 fmt::format("receipt: {} bytes, the limit is {}", text.size(), kReceiptFileMax)};
  }
  if (text.starts_with(kVersion1Magic)) return parse_version_1(text);
  std::size_t cut = text.find(kProofStart);
  if (cut == std::string_view::npos) return refused("receipt: no proof follows the receipt");
  ReceiptFile out;
  out.text = text.substr(0, cut + 1);
  TG_ASSIGN(out.receipt, parse_receipt(out.text));
  TG_ASSIGN(out.proof, tlog::parse_log_proof(text.substr(cut + 2)));
  if (out.proof.extra.size() != out.salt.size())
    return refused("receipt: the proof's extra data is not a salt");
  std::copy(out.proof.extra.begin(), out.proof.extra.end(), out.salt.begin());
  return out;
}

Result<Receipt> parse_stored(std::string_view document) {
  if (document.starts_with(kVersion1Magic)) {
    TG_ASSIGN(ReceiptFile file, parse_version_1(document));
    return std::move(file.receipt);
  }
  TG_ASSIGN(Draft draft, parse_draft(document));
  return std::move(draft.receipt);
}

std::string page_entry(tlog::Hasher& hasher, const Receipt& r, std::string_view text) {
  return fmt::format("tokengrid-page/1\nmeter {} page {}\nreceipt {}:{}\n", r.meter, r.page,
                     tlog::hash_name(hasher.suite()), to_hex(hasher.of(text)));
}

std::string document_entry(tlog::Hasher& hasher, std::string_view document) {
  return fmt::format("tokengrid-document/1\ndocument {}:{}\n", tlog::hash_name(hasher.suite()),
                     to_hex(hasher.of(document)));
}

std::string origin_of(std::string_view log, std::string_view meter) {
  return fmt::format("{}/{}", log, meter);
}

// --- verification -------------------------------------------------------------------------------

Check check_of(const Status& status) {
  if (status.ok()) return {.result = Check::Result::kPassed, .detail = {}};
  return {.result = Check::Result::kFailed, .detail = status.error().message};
}

Check not_made(std::string why) {
  return {.result = Check::Result::kNotMade, .detail = std::move(why)};
}

Verification verify(const ReceiptFile& file, const Evidence& evidence) {
  const Receipt& r = file.receipt;
  bool in_a_log = r.version != 1;
  const char* old = "version 1 receipts are signed one by one, in no log";
  tlog::Hasher hasher(r.suite);
  Verification out;
  out.signature =
      evidence.key ? check_of(check_signature(file, *evidence.key)) : not_made("no key given");
  out.inclusion = in_a_log ? check_of(check_inclusion(hasher, file)) : not_made(old);
  out.witnesses = !in_a_log ? not_made(old)
                  : evidence.witnesses.empty()
                      ? not_made("no witness's key given")
                      : check_of(check_witnesses(file, evidence.witnesses));
  out.continuity = in_a_log ? check_continuity_of(file, evidence.earlier) : not_made(old);
  // Of a supplier whose program nobody knows no work is stated: then tokens alone are priced.
  const unit::CostMatrix nothing;
  const unit::CostMatrix* cost = r.program == Digest{} ? &nothing : evidence.cost;
  out.arithmetic =
      cost != nullptr ? check_of(check_arithmetic(r, *cost)) : not_made("no program given");
  out.binding = in_a_log ? check_binding(hasher, file, evidence)
                         : not_made("version 1 receipts bind no bytes");
  return out;
}

}  // namespace tg::meter
