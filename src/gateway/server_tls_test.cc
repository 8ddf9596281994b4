// The server over TLS, with a certificate made on the spot.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstdio>

#include "gateway/server.h"
#include "gateway/testing/json.h"

namespace tg::gateway {
namespace {

// A self-signed certificate for "localhost" and its key, as PEM files.
void write_certificate(const std::string& certificate_path, const std::string& key_path) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3'600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  ASSERT_GT(X509_sign(certificate, key, EVP_sha256()), 0);
  std::FILE* file = std::fopen(certificate_path.c_str(), "w");
  PEM_write_X509(file, certificate);
  std::fclose(file);
  file = std::fopen(key_path.c_str(), "w");
  PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

class TlsTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    options_.tls_certificate = folder_ + "/cert.pem";
    options_.tls_key = folder_ + "/key.pem";
    write_certificate(options_.tls_certificate, options_.tls_key);
  }
  // Sends over a fresh TLS connection and reads until `end` has been seen or the peer closes.
  std::string ask_tls(std::string_view bytes, std::string_view end) {
    SSL_CTX* context = SSL_CTX_new(TLS_client_method());
    SSL* ssl = SSL_new(context);
    i32 fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_->port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval limit{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    std::string got;
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
      SSL_set_fd(ssl, fd);
      if (SSL_connect(ssl) == 1) {
        SSL_write(ssl, bytes.data(), static_cast<i32>(bytes.size()));
        char buffer[4096];
        while (got.find(end) == got.npos) {
          i32 n = SSL_read(ssl, buffer, sizeof(buffer));
          if (n <= 0) break;
          got.append(buffer, static_cast<std::size_t>(n));
        }
        SSL_shutdown(ssl);
      }
    }
    ::close(fd);
    SSL_free(ssl);
    SSL_CTX_free(context);
    return got;
  }
};

TEST_F(TlsTest, StreamsOverTls) {
  supplier_.set_script({.text = "secret"});
  start();
  std::string got = ask_tls(chat(R"(,"stream":true)"), "[DONE]");
  EXPECT_NE(got.find("\"content\":\"s\""), got.npos) << got;
  EXPECT_NE(got.find("[DONE]"), got.npos);
  EXPECT_EQ(billing_.closed().at(0).outcome, Outcome::kCompleted);
}

TEST_F(TlsTest, AnAbortOverTlsIsCancelled) {
  supplier_.set_script({.text = "x", .hang = true});
  start();
  ask_tls(chat(R"(,"stream":true)"), "\"content\":\"x\"");
  EXPECT_TRUE(eventually([&] { return billing_.closed().size() == 1; }));
  EXPECT_EQ(supplier_.cancelled().size(), 1u);
  EXPECT_EQ(billing_.closed().at(0).outcome, Outcome::kBuyerAbort);
}

TEST_F(TlsTest, PlainHttpOnATlsPortIsCutOff) {
  start();
  EXPECT_EQ(ask("GET /health HTTP/1.1\r\n\r\n").status, 0);
}

TEST_F(TlsTest, NamesABadCertificate) {
  options_.tls_certificate = folder_ + "/none.pem";
  Result<std::unique_ptr<Server>> server = Server::start(options_, parts());
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.error().message.find("none.pem"), std::string::npos);
  options_.tls_key = "";
  EXPECT_EQ(Server::start(options_, parts()).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace tg::gateway
