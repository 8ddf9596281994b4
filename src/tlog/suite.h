// The cryptography of a log by name, so that a jurisdiction or a break changes a name and not a
// format: `ed25519-sha256`, and `sm2-sm3` (GB/T 32918, 32905). A suite fixes the hash of the tree
// and of commitments, and the signature of checkpoints. Both hash to 32 bytes, sign in 64.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"

namespace tg::tlog {

enum class Suite : u8 { kEd25519Sha256, kSm2Sm3 };
inline constexpr Suite kSuites[] = {Suite::kEd25519Sha256, Suite::kSm2Sm3};

std::string_view name(Suite suite);       // "ed25519-sha256"
std::string_view hash_name(Suite suite);  // "sha256"
std::optional<Suite> suite_by_name(std::string_view name);

using Hash = std::array<u8, 32>;
using SignatureBytes = std::array<u8, 64>;  // Ed25519 as RFC 8032; SM2 as r, s, big-endian

// The hash of a suite. Holds what OpenSSL needs, so that a small hash costs a small hash: keep one
// per thread. Movable.
class Hasher {
 public:
  explicit Hasher(Suite suite);
  ~Hasher();
  Hasher(Hasher&& other) noexcept;
  Hasher& operator=(Hasher&& other) noexcept;

  Suite suite() const { return suite_; }
  Hash of(std::span<const u8> bytes);
  Hash of(std::string_view text);
  // RFC 6962 §2.1: H(0x00 || entry), H(0x01 || left || right), and H() of no entries at all.
  Hash leaf(std::string_view entry);
  Hash node(const Hash& left, const Hash& right);
  Hash empty_tree() { return of(std::string_view{}); }
  Hash hmac(std::span<const u8> key, std::span<const u8> bytes);

 private:
  struct State;
  void begin();
  void add(std::span<const u8> bytes);
  Hash end();

  Suite suite_;
  std::unique_ptr<State> state_;
};

// A private key from a 32-byte seed: Ed25519's own, or SM2's scalar, big-endian.
class PrivateKey {
 public:
  // kInvalid if the seed is not 32 bytes, or no scalar of the curve.
  static Result<PrivateKey> create(Suite suite, std::span<const u8> seed);

  Suite suite() const { return suite_; }
  // 32 bytes, or 65: 0x04, x, y.
  const std::vector<u8>& public_key() const { return public_key_; }
  SignatureBytes sign(std::string_view message) const;

 private:
  struct Key;
  Suite suite_ = Suite::kEd25519Sha256;
  std::vector<u8> public_key_;
  std::shared_ptr<Key> key_;  // Shared so that signers copy; OpenSSL keys are immutable.
};

// False also for bytes that are no public key.
bool verify_signature(Suite suite, std::span<const u8> public_key, std::string_view message,
                      std::span<const u8> signature);

}  // namespace tg::tlog
