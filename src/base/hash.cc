#include "base/hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.h"
#include "base/bytes.h"

namespace tg {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  TG_ASSERT(state_->context != nullptr);
  TG_ASSERT(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(state_->context);
}

void Sha256::update(std::span<const u8> bytes) {
  TG_ASSERT(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  Digest digest;
  unsigned length = 0;
  TG_ASSERT(EVP_DigestFinal_ex(state_->context, digest.data(), &length) == 1);
  TG_ASSERT(length == digest.size());
  return digest;
}

Digest sha256(std::span<const u8> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

Digest sha256(std::string_view text) {
  return sha256(as_bytes(text));
}

Digest hmac_sha256(std::span<const u8> key, std::span<const u8> bytes) {
  Digest digest;
  unsigned length = 0;
  const u8* out = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(),
                       bytes.size(), digest.data(), &length);
  TG_ASSERT(out != nullptr && length == digest.size());
  return digest;
}

std::string to_hex(const Digest& digest) {
  return to_hex(std::span<const u8>(digest));
}

}  // namespace tg
