#include "tlog/suite.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <string>

#include "base/assert.h"
#include "base/bytes.h"

namespace tg::tlog {

namespace {

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* pointer) const { Free(pointer); }
};
using KeyPointer = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Deleter<EVP_PKEY_CTX, EVP_PKEY_CTX_free>>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, Deleter<EVP_MD_CTX, EVP_MD_CTX_free>>;
using DigestKind = std::unique_ptr<EVP_MD, Deleter<EVP_MD, EVP_MD_free>>;
using Number = std::unique_ptr<BIGNUM, Deleter<BIGNUM, BN_clear_free>>;
using Group = std::unique_ptr<EC_GROUP, Deleter<EC_GROUP, EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Deleter<EC_POINT, EC_POINT_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Deleter<ECDSA_SIG, ECDSA_SIG_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, Deleter<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>>;
using Parameters = std::unique_ptr<OSSL_PARAM, Deleter<OSSL_PARAM, OSSL_PARAM_free>>;

constexpr std::size_t kSeedBytes = 32;
constexpr std::size_t kSm2PointBytes = 65;
// The identity that GB/T 32918 hashes into every signature; this one is the standard's default.
constexpr std::string_view kSm2Identity = "1234567812345678";

}  // namespace

std::string_view name(Suite suite) {
  return suite == Suite::kSm2Sm3 ? "sm2-sm3" : "ed25519-sha256";
}

std::string_view hash_name(Suite suite) {
  return suite == Suite::kSm2Sm3 ? "sm3" : "sha256";
}

std::optional<Suite> suite_by_name(std::string_view text) {
  for (Suite suite : kSuites) {
    if (text == name(suite)) return suite;
  }
  return std::nullopt;
}

// --- hashes -------------------------------------------------------------------------------------

struct Hasher::State {
  DigestKind kind;
  DigestContext context;
};

Hasher::Hasher(Suite suite) : suite_(suite), state_(std::make_unique<State>()) {
  state_->kind.reset(EVP_MD_fetch(nullptr, suite == Suite::kSm2Sm3 ? "SM3" : "SHA2-256", nullptr));
  state_->context.reset(EVP_MD_CTX_new());
  TG_ASSERT(state_->kind != nullptr && state_->context != nullptr);
}

Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&& other) noexcept = default;
Hasher& Hasher::operator=(Hasher&& other) noexcept = default;

void Hasher::begin() {
  TG_ASSERT(EVP_DigestInit_ex2(state_->context.get(), state_->kind.get(), nullptr) == 1);
}

void Hasher::add(std::span<const u8> bytes) {
  TG_ASSERT(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
}

Hash Hasher::end() {
  Hash out;
  unsigned length = 0;
  TG_ASSERT(EVP_DigestFinal_ex(state_->context.get(), out.data(), &length) == 1);
  TG_ASSERT(length == out.size());
  return out;
}

Hash Hasher::of(std::span<const u8> bytes) {
  begin();
  add(bytes);
  return end();
}

Hash Hasher::of(std::string_view text) {
  return of(as_bytes(text));
}

Hash Hasher::leaf(std::string_view entry) {
  constexpr u8 kLeaf[1] = {0};
  begin();
  add(kLeaf);
  add(as_bytes(entry));
  return end();
}

Hash Hasher::node(const Hash& left, const Hash& right) {
  std::array<u8, 65> bytes;
  bytes[0] = 1;
  std::copy(left.begin(), left.end(), bytes.begin() + 1);
  std::copy(right.begin(), right.end(), bytes.begin() + 33);
  return of(bytes);
}

// RFC 2104. OpenSSL's own looks the algorithm up at every call, which takes longer than the hashes.
Hash Hasher::hmac(std::span<const u8> key, std::span<const u8> bytes) {
  constexpr std::size_t kBlockBytes = 64;  // Of SHA-256 and of SM3.
  constexpr u8 kInner = 0x36;
  constexpr u8 kOuter = 0x5c;
  std::array<u8, kBlockBytes> block{};
  Hash short_key;
  if (key.size() > kBlockBytes) {
    short_key = of(key);
    key = short_key;
  }
  std::copy(key.begin(), key.end(), block.begin());
  for (u8& byte : block) byte ^= kInner;
  begin();
  add(block);
  add(bytes);
  Hash inner = end();
  for (u8& byte : block) byte ^= kInner ^ kOuter;
  begin();
  add(block);
  add(inner);
  return end();
}

// --- keys ---------------------------------------------------------------------------------------

namespace {

KeyPointer sm2_key(std::span<const u8> point, const BIGNUM* scalar) {
  Builder builder(OSSL_PARAM_BLD_new());
  KeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "SM2", nullptr));
  if (!builder || !context) return nullptr;
  OSSL_PARAM_BLD* b = builder.get();
  if (OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "SM2", 0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()) != 1)
    return nullptr;
  if (scalar != nullptr && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_PRIV_KEY, scalar) != 1)
    return nullptr;
  Parameters parameters(OSSL_PARAM_BLD_to_param(b));
  EVP_PKEY* key = nullptr;
  int selection = scalar == nullptr ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEYPAIR;
  if (!parameters || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, selection, parameters.get()) != 1)
    return nullptr;
  return KeyPointer(key);
}

// The point of a scalar in [1, n-2], GB/T 32918's range of private keys; empty if it is not.
std::vector<u8> sm2_point(const BIGNUM* scalar) {
  Group group(EC_GROUP_new_by_curve_name(NID_sm2));
  TG_ASSERT(group != nullptr);
  Number last(BN_dup(EC_GROUP_get0_order(group.get())));
  TG_ASSERT(last != nullptr && BN_sub_word(last.get(), 2) == 1);
  if (BN_is_zero(scalar) || BN_cmp(scalar, last.get()) > 0) return {};
  Point point(EC_POINT_new(group.get()));
  TG_ASSERT(point != nullptr);
  TG_ASSERT(EC_POINT_mul(group.get(), point.get(), scalar, nullptr, nullptr, nullptr) == 1);
  std::vector<u8> out(kSm2PointBytes);
  std::size_t length = EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED,
                                          out.data(), out.size(), nullptr);
  TG_ASSERT(length == out.size());
  return out;
}

KeyPointer public_key_of(Suite suite, std::span<const u8> bytes) {
  if (suite == Suite::kSm2Sm3) {
    if (bytes.size() != kSm2PointBytes || bytes[0] != 4) return nullptr;
    return sm2_key(bytes, nullptr);
  }
  return KeyPointer(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
}

// A digest context ready to sign or verify with `key`: Ed25519 has no separate digest, SM2 has SM3
// and an identity.
struct Signing {
  KeyContext parameters;
  DigestContext context;
};
using Init = int (*)(EVP_MD_CTX*, EVP_PKEY_CTX**, const EVP_MD*, ENGINE*, EVP_PKEY*);

std::optional<Signing> prepare(Suite suite, EVP_PKEY* key, Init init) {
  Signing out;
  out.context.reset(EVP_MD_CTX_new());
  if (suite == Suite::kSm2Sm3) {
    out.parameters.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
    if (!out.parameters || EVP_PKEY_CTX_set1_id(out.parameters.get(), kSm2Identity.data(),
                                                static_cast<int>(kSm2Identity.size())) <= 0)
      return std::nullopt;
    EVP_MD_CTX_set_pkey_ctx(out.context.get(), out.parameters.get());
  }
  const EVP_MD* digest = suite == Suite::kSm2Sm3 ? EVP_sm3() : nullptr;
  if (init(out.context.get(), nullptr, digest, nullptr, key) != 1) return std::nullopt;
  return out;
}

SignatureBytes raw_from_der(std::span<const u8> der) {
  const u8* at = der.data();
  Signature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  TG_ASSERT(signature != nullptr);
  SignatureBytes out;
  TG_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out.data(), 32) == 32);
  TG_ASSERT(BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out.data() + 32, 32) == 32);
  return out;
}

std::vector<u8> der_from_raw(std::span<const u8> raw) {
  Signature signature(ECDSA_SIG_new());
  Number r(BN_bin2bn(raw.data(), 32, nullptr));
  Number s(BN_bin2bn(raw.data() + 32, 32, nullptr));
  TG_ASSERT(signature != nullptr && r != nullptr && s != nullptr);
  TG_ASSERT(ECDSA_SIG_set0(signature.get(), r.release(), s.release()) == 1);
  u8* bytes = nullptr;
  int length = i2d_ECDSA_SIG(signature.get(), &bytes);
  TG_ASSERT(length > 0);
  std::vector<u8> out(bytes, bytes + length);
  OPENSSL_free(bytes);
  return out;
}

}  // namespace

struct PrivateKey::Key {
  KeyPointer pointer;
};

Result<PrivateKey> PrivateKey::create(Suite suite, std::span<const u8> seed) {
  Error bad{Code::kInvalid, "key: a private key of " + std::string(name(suite)) +
                                " has 32 bytes below the curve's order, not " +
                                std::to_string(seed.size())};
  if (seed.size() != kSeedBytes) return bad;
  PrivateKey out;
  out.suite_ = suite;
  KeyPointer key;
  if (suite == Suite::kSm2Sm3) {
    Number scalar(BN_bin2bn(seed.data(), kSeedBytes, nullptr));
    TG_ASSERT(scalar != nullptr);
    out.public_key_ = sm2_point(scalar.get());
    if (!out.public_key_.empty()) key = sm2_key(out.public_key_, scalar.get());
  } else {
    key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
    out.public_key_.resize(32);
    std::size_t length = 32;
    TG_ASSERT(key && EVP_PKEY_get_raw_public_key(key.get(), out.public_key_.data(), &length) == 1);
  }
  if (!key) return bad;
  out.key_ = std::make_shared<Key>(Key{std::move(key)});
  return out;
}

SignatureBytes PrivateKey::sign(std::string_view message) const {
  std::optional<Signing> signing = prepare(suite_, key_->pointer.get(), EVP_DigestSignInit);
  TG_ASSERT(signing.has_value());
  std::array<u8, 80> buffer{};  // SM2's DER takes at most 72.
  std::size_t length = buffer.size();
  std::span<const u8> bytes = as_bytes(message);
  TG_ASSERT(EVP_DigestSign(signing->context.get(), buffer.data(), &length, bytes.data(),
                           bytes.size()) == 1);
  if (suite_ == Suite::kSm2Sm3) return raw_from_der(std::span<const u8>(buffer).first(length));
  SignatureBytes out;
  TG_ASSERT(length == out.size());
  std::copy_n(buffer.begin(), length, out.begin());
  return out;
}

bool verify_signature(Suite suite, std::span<const u8> public_key, std::string_view message,
                      std::span<const u8> signature) {
  if (signature.size() != sizeof(SignatureBytes)) return false;
  KeyPointer key = public_key_of(suite, public_key);
  if (!key) return false;
  std::optional<Signing> verifying = prepare(suite, key.get(), EVP_DigestVerifyInit);
  if (!verifying) return false;
  std::vector<u8> der;
  if (suite == Suite::kSm2Sm3) {
    der = der_from_raw(signature);
    signature = der;
  }
  std::span<const u8> bytes = as_bytes(message);
  return EVP_DigestVerify(verifying->context.get(), signature.data(), signature.size(),
                          bytes.data(), bytes.size()) == 1;
}

}  // namespace tg::tlog
