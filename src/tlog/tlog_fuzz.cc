// Any bytes as a note, a verifier key, a checkpoint, proofs and a resource's path: an error, or
// something that prints back the same.
#include <cstdlib>

#include "tlog/checkpoint.h"
#include "tlog/tile.h"

namespace {

template <typename T, typename F>
void expect_same(const tg::Result<T>& parsed, F print, std::string_view text) {
  if (parsed.ok() && print(*parsed) != text) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  using namespace tg::tlog;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto print = [](const auto& value) { return to_text(value); };
  tg::Result<Note> note = parse_note(text);
  expect_same(note, print, text);
  if (note.ok()) {
    check_note(*note, VerifierKey{.name = note->signatures[0].name, .public_key = {}});
    expect_same(parse_checkpoint(note->text), print, note->text);
  }
  expect_same(parse_verifier_key(text), print, text);
  expect_same(parse_checkpoint(text), print, text);
  expect_same(parse_consistency_proof(text), print, text);
  expect_same(
      parse_path(text), [](const Resource& r) { return to_path(r); }, text);
  tg::Result<LogProof> proof = parse_log_proof(text);
  expect_same(proof, print, text);
  if (proof.ok()) {
    Hasher hasher(Suite::kEd25519Sha256);
    VerifierKey key{.name = "fuzz", .public_key = std::vector<tg::u8>(32)};
    if (check_log_proof(hasher, *proof, "entry", key).ok()) std::abort();
  }
  return 0;
}
