#include "base/hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.h"
#include "base/bytes.h"

namespace tg {

// OpenSSL 3 looks an algorithm up by its name whenever it is not handed one that was: a second of a
// short text's hash.
static const EVP_MD* sha256_kind() {
  static const EVP_MD* const kind = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  return kind;
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  TG_ASSERT(state_->context != nullptr);
  TG_ASSERT(EVP_DigestInit_ex2(state_->context, sha256_kind(), nullptr) == 1);
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
  struct Context {
    EVP_MD_CTX* pointer = EVP_MD_CTX_new();
    ~Context() { EVP_MD_CTX_free(pointer); }
  };
  thread_local Context context;
  Digest digest;
  unsigned length = 0;
  TG_ASSERT(EVP_DigestInit_ex2(context.pointer, sha256_kind(), nullptr) == 1);
  TG_ASSERT(EVP_DigestUpdate(context.pointer, bytes.data(), bytes.size()) == 1);
  TG_ASSERT(EVP_DigestFinal_ex(context.pointer, digest.data(), &length) == 1);
  TG_ASSERT(length == digest.size());
  return digest;
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
