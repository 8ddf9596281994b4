// Signed notes (C2SP signed-note): a text, an empty line, and one line
// "— <key name> <base64(key id, signature)>" for every signature. Signatures by unknown keys are
// kept and ignored, so that witnesses can add theirs.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tlog/suite.h"

namespace tg::tlog {

inline constexpr std::size_t kNoteBytesMax = 16'384;
inline constexpr std::size_t kNoteSignaturesMax = 64;

// Base64 with padding, one encoding only.
std::string to_base64(std::span<const u8> bytes);
Result<std::vector<u8>> from_base64(std::string_view text);
Result<Hash> hash_from_base64(std::string_view text);

// What a key's signature covers: the note's text; for a witness, the time and the text (C2SP
// tlog-cosignature, Ed25519 only).
enum class KeyUse : u8 { kNote, kCosignature };

// A key as people exchange it: "<name>+<key id, 8 hex>+<base64(type, public key)>". The type is one
// byte, 1 for Ed25519 notes and 4 for cosignatures; SM2 has no byte assigned, hence 0xff and a
// name.
struct VerifierKey {
  std::string name;  // no spaces, no plus
  Suite suite = Suite::kEd25519Sha256;
  KeyUse use = KeyUse::kNote;
  std::vector<u8> public_key;
  friend bool operator==(const VerifierKey&, const VerifierKey&) = default;
};
std::string to_text(const VerifierKey& key);
Result<VerifierKey> parse_verifier_key(std::string_view text);
// First four bytes of SHA-256(name, newline, type, public key), big-endian.
u32 key_id(const VerifierKey& key);

struct NoteSignature {
  std::string name;
  u32 key = 0;
  std::vector<u8> bytes;
};
struct Note {
  std::string text;  // what was signed, newline at the end
  std::vector<NoteSignature> signatures;
};
std::string to_text(const Note& note);
// Splits a note at its last empty line; verifies nothing. kLimit above the limits.
Result<Note> parse_note(std::string_view text);

enum class NoteCheck : u8 { kSigned, kNotSigned, kBadSignature };
// Whether `key` signed: kNotSigned if no line carries its name and id, kBadSignature if one does
// and fails.
NoteCheck check_note(const Note& note, const VerifierKey& key);

// Signs notes under a name.
class NoteSigner {
 public:
  // kInvalid for a name with spaces or plus signs, or a bad seed (PrivateKey::create).
  static Result<NoteSigner> create(std::string name, Suite suite, std::span<const u8> seed);

  const VerifierKey& verifier() const { return verifier_; }
  const std::string& name() const { return verifier_.name; }
  Suite suite() const { return verifier_.suite; }
  // REQUIRES: text ends with a newline.
  NoteSignature sign(std::string_view text) const;

 private:
  NoteSigner(VerifierKey verifier, PrivateKey key)
      : verifier_(std::move(verifier)), key_(std::move(key)) {}
  VerifierKey verifier_;
  PrivateKey key_;
};

// A witness's line on a checkpoint: it saw this tree at this time, consistent with all it saw
// before. REQUIRES: suite ed25519-sha256.
NoteSignature cosign(std::string_view text, const std::string& name, const PrivateKey& key,
                     u64 unix_seconds);

}  // namespace tg::tlog
