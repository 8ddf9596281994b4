// SHA-256 and HMAC-SHA-256 over OpenSSL's EVP, and the 32-byte digest type that names programs and
// receipts.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/types.h"

namespace tg {

using Digest = std::array<u8, 32>;

Digest sha256(std::span<const u8> bytes);
Digest sha256(std::string_view text);
Digest hmac_sha256(std::span<const u8> key, std::span<const u8> bytes);
std::string to_hex(const Digest& digest);

// Incremental SHA-256, for files larger than memory.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const u8> bytes);
  // The digest of all updates; the object must not be used afterwards.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tg
