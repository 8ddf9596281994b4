#include "node/net/tls.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

namespace tg::node {
namespace {

constexpr i64 kSecondsOfAYear = 366 * 24 * 3'600;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};

// A key and a certificate of this process alone: it proves nothing by itself.
Status use_own_certificate(asio::ssl::context& context) {
  std::unique_ptr<EVP_PKEY, FreeKey> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  std::unique_ptr<X509, FreeCertificate> certificate(X509_new());
  if (key == nullptr || certificate == nullptr) return Error{Code::kIo, "no key for TLS"};
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3'600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 10 * kSecondsOfAYear);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const unsigned char* text = reinterpret_cast<const unsigned char*>("tokengrid");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  bool is_set = X509_sign(certificate.get(), key.get(), nullptr) > 0 &&
                SSL_CTX_use_certificate(context.native_handle(), certificate.get()) == 1 &&
                SSL_CTX_use_PrivateKey(context.native_handle(), key.get()) == 1;
  if (!is_set) return Error{Code::kIo, "a certificate for TLS cannot be made"};
  return {};
}

Status use_files(asio::ssl::context& context, const NodeTls& files) {
  error_code error;
  context.use_certificate_chain_file(files.certificate, error);
  if (error) return Error{Code::kInvalid, files.certificate + ": " + error.message()};
  context.use_private_key_file(files.key, asio::ssl::context::pem, error);
  if (error) return Error{Code::kInvalid, files.key + ": " + error.message()};
  return {};
}

}  // namespace

Status configure_tls(asio::ssl::context& context, const NodeTls& files, bool is_server) {
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_3_VERSION);
  if (files.certificate.empty() != files.key.empty())
    return Error{Code::kInvalid, "a node's certificate and key come together"};
  TG_TRY(files.certificate.empty() ? use_own_certificate(context) : use_files(context, files));
  error_code error;
  if (files.ca.empty()) {
    context.set_verify_mode(asio::ssl::verify_none, error);
    return {};
  }
  context.load_verify_file(files.ca, error);
  if (error) return Error{Code::kInvalid, files.ca + ": " + error.message()};
  asio::ssl::verify_mode mode = asio::ssl::verify_peer;
  if (is_server) mode |= asio::ssl::verify_fail_if_no_peer_cert;
  context.set_verify_mode(mode, error);
  if (error) return Error{Code::kIo, "TLS: " + error.message()};
  return {};
}

Result<std::vector<u8>> session_exporter(TlsStream& stream) {
  constexpr std::string_view kLabel = "EXPORTER-tokengrid-node/1";
  std::vector<u8> bytes(32);
  i32 done = SSL_export_keying_material(stream.native_handle(), bytes.data(), bytes.size(),
                                        kLabel.data(), kLabel.size(), nullptr, 0, 0);
  if (done != 1) return Error{Code::kIo, "TLS gives no exporter"};
  return bytes;
}

}  // namespace tg::node
