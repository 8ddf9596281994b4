// A whole server on a free port, with scripted neighbours.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "gateway/server.h"
#include "gateway/testing/fake_billing.h"
#include "gateway/testing/fake_model.h"
#include "gateway/testing/fake_supplier.h"
#include "gateway/testing/http_client.h"

namespace tg::gateway {

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "tg_gateway_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    KeyStore& keys = *open_keys();
    key_ = keys.create({.name = "test", .account = "alice"}, clock_.now()).value().plaintext;
    other_key_ = keys.create({.name = "other", .account = "bob"}, clock_.now()).value().plaintext;
    options_.limits.cancel_ms = 500;
  }
  void TearDown() override {
    if (server_) server_->stop(2'000);
    EXPECT_FALSE(billing_.has_violation());
    EXPECT_EQ(billing_.open_count(), 0);
    server_.reset();
    keys_.reset();
    std::filesystem::remove_all(folder_);
  }

  KeyStore* open_keys() {
    keys_ = KeyStore::open(folder_, random_).value();
    return keys_.get();
  }
  ServerParts parts() {
    std::vector<ServedModel> models;
    models.push_back(fake_model("tiny", &supplier_));
    models.push_back(fake_model("org/other", &supplier_));
    models.push_back(fake_model("tools", &supplier_));
    models.back().chat_template = tool_template();
    return {.models = std::move(models),
            .keys = KeyStore::open(folder_, random_).value(),
            .billing = billing_.billing(),
            .clock = clock_,
            .random = random_,
            .replies = ReplyBook::open(folder_).value(),
            .batches = BatchBook::open(folder_).value()};
  }
  void start() { server_ = Server::start(options_, parts()).value(); }

  std::string post(std::string_view path, std::string_view body, std::string_view extra = "") {
    std::string text = "POST " + std::string(path) + " HTTP/1.1\r\nhost: x\r\n";
    text += "authorization: Bearer " + key_ + "\r\ncontent-type: application/json\r\n";
    text += std::string(extra) + "content-length: " + std::to_string(body.size()) + "\r\n\r\n";
    return text + std::string(body);
  }
  std::string get(std::string_view path, std::string_view key) {
    return "GET " + std::string(path) + " HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " +
           std::string(key) + "\r\n\r\n";
  }
  std::string chat(std::string_view more = "") {
    return post(
        "/v1/chat/completions",
        R"({"model":"tiny","messages":[{"role":"user","content":"hi"}])" + std::string(more) + "}");
  }
  Reply ask(std::string_view bytes) {
    HttpClient client(server_->port());
    return client.ask(bytes);
  }
  static bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 2'000; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  std::string folder_;
  SystemClock clock_;
  OsRandom random_;
  FakeSupplier supplier_;
  FakeBilling billing_;
  std::unique_ptr<KeyStore> keys_;
  std::string key_;
  std::string other_key_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

// The text of a chat stream's deltas of one choice, and its finish reason.
struct Streamed {
  std::string text;
  std::string finish;
  i64 roles = 0;
};

}  // namespace tg::gateway
