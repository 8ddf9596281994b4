// A meter's Ed25519 key and the signed-note form of its receipts: text, an empty line, and
// "— <meter> <base64(4-byte key id, 64-byte signature)>" (C2SP signed-note).
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace tg::meter {

inline constexpr i64 kNoteBytesMax = 4'096;

using PublicKey = std::array<u8, 32>;

// First four bytes of SHA-256(name, newline, 0x01, public key), big-endian.
u32 key_id(std::string_view name, const PublicKey& key);

class Signer {
 public:
  // From a 32-byte private seed. `name` has no spaces, plus signs or newlines.
  static Result<Signer> create(std::string name, std::span<const u8> seed);

  const std::string& name() const { return name_; }
  const PublicKey& public_key() const { return public_key_; }
  // The signed note. REQUIRES: text is not empty and ends with a newline.
  std::string sign(std::string_view text) const;

 private:
  struct Key;
  std::string name_;
  PublicKey public_key_{};
  std::shared_ptr<Key> key_;  // Shared so that signers copy; OpenSSL keys are immutable.
};

struct Note {
  std::string text;  // What was signed, newline at the end.
  std::string signer;
  u32 key = 0;
  std::array<u8, 64> signature{};
};

// Splits a note of at most kNoteBytesMax bytes with exactly one signature; does not verify it.
Result<Note> parse_note(std::string_view note);
bool verify_note(const Note& note, const PublicKey& key);

// "<name>+<hex key id>+<base64(0x01, public key)>", the verifier key of C2SP signed-note, and back.
std::string verifier_key(std::string_view name, const PublicKey& key);
struct VerifierKey {
  std::string name;
  PublicKey key{};
};
Result<VerifierKey> parse_verifier_key(std::string_view text);

}  // namespace tg::meter
