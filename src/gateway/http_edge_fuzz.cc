// Any bytes on a connection of a whole server: malformed, pipelined, chunked, oversized, no UTF-8,
// deep JSON. It answers what begins like HTTP with HTTP, ends the connection in time, closes every
// hold, and goes on serving. In the input, 0xFF is the text of a valid key, and 0xFE a pause, so
// that what follows arrives by itself.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/assert.h"
#include "gateway/server.h"
#include "gateway/testing/fake_billing.h"
#include "gateway/testing/fake_model.h"

namespace tg::gateway {
namespace {

// Answers within submit(), keeps nothing.
class QuickSupplier final : public fleet::Supplier {
 public:
  Status submit(fleet::SupplyRequest request) override {
    fleet::SupplierEvent event;
    event.request = request.id;
    for (i64 i = 0; i < std::min<i64>(3, request.max_tokens); ++i) {
      event.tokens.push_back('a' + static_cast<TokenId>(i));
      if (request.sampling.logprobs < 0) continue;
      event.logprobs.push_back({'a' + static_cast<TokenId>(i), -0.5f});
      event.top_logprobs.push_back({{'x', -2.0f}});
    }
    i64 count = static_cast<i64>(event.tokens.size());
    if (!request.is_embedding) request.events->try_push(event);
    fleet::SupplierEvent last;
    last.request = request.id;
    last.kind = fleet::SupplierEvent::Kind::kFinished;
    last.reason =
        count < request.max_tokens ? fleet::FinishReason::kStop : fleet::FinishReason::kLength;
    last.usage.prompt_tokens = static_cast<i64>(request.prompt.size());
    last.usage.output_tokens = count;
    if (request.is_embedding) last.embedding = {1, 2, 3};
    request.events->try_push(last);
    return {};
  }
  void cancel(u64) override {}
  fleet::SupplierLoad load() const override { return {}; }
};

// Lives as long as the process: libFuzzer ends it without taking anything down.
struct World {
  World() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tg_edge_fuzz_XXXXXX").string();
    TG_ASSERT(::mkdtemp(pattern.data()) != nullptr);
    std::unique_ptr<KeyStore> keys = KeyStore::open(pattern, random).value();
    key = keys->create({.name = "k", .account = "a"}, clock.now()).value().plaintext;
    std::vector<ServedModel> models;
    models.push_back(fake_model("m", &supplier));
    models.push_back(fake_model("e", &supplier));
    models.back().embedding_width = 3;
    models.back().generates = false;
    ServerOptions options;
    options.limits.header_bytes_max = 4'096;
    options.limits.body_bytes_max = 64 * 1'024;
    options.limits.idle_ms = 1'000;
    options.limits.header_ms = 500;
    options.limits.body_ms = 500;
    server = Server::start(options, {.models = std::move(models),
                                     .keys = std::move(keys),
                                     .billing = billing.billing(),
                                     .clock = clock,
                                     .random = random,
                                     .replies = ReplyBook::open(pattern).value(),
                                     .batches = BatchBook::open(pattern).value()})
                 .value();
  }
  SystemClock clock;
  OsRandom random;
  QuickSupplier supplier;
  FakeBilling billing;
  std::string key;
  std::unique_ptr<Server> server;
};

int connect_to(u16 port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  TG_ASSERT(fd >= 0);
  timeval limit{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  // Resets at once, so that thousands of runs a second leave no ports waiting.
  linger abrupt{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &abrupt, sizeof(abrupt));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int connected = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  TG_ASSERT(connected == 0);
  return fd;
}

void send_pieces(int fd, std::string_view text, const std::string& key) {
  std::string piece;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    bool is_end = i == text.size();
    u8 c = is_end ? 0 : static_cast<u8>(text[i]);
    if (!is_end && c != 0xFE) {
      if (c == 0xFF) {
        piece += key;
      } else {
        piece.push_back(static_cast<char>(c));
      }
      continue;
    }
    if (!piece.empty() && ::send(fd, piece.data(), piece.size(), MSG_NOSIGNAL) < 0) return;
    piece.clear();
    if (!is_end) ::usleep(100);
  }
}

std::string read_all(int fd) {
  constexpr std::size_t kBytesMax = 1 << 20;
  std::string out;
  char buffer[16 * 1'024];
  for (;;) {
    ssize_t got = ::recv(fd, buffer, sizeof(buffer), 0);
    bool is_late = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    TG_ASSERT(!is_late);  // The server neither answered nor ended the connection.
    if (got <= 0) return out;
    if (out.size() < kBytesMax) out.append(buffer, static_cast<std::size_t>(got));
  }
}

std::string talk(World& world, std::string_view text) {
  int fd = connect_to(world.server->port());
  send_pieces(fd, text, world.key);
  ::shutdown(fd, SHUT_WR);
  std::string answer = read_all(fd);
  ::close(fd);
  return answer;
}

}  // namespace
}  // namespace tg::gateway

// The server's threads allocate when they like, so libFuzzer takes every run for a leaking one and
// stops them all to look: 28 runs a second instead of 430. The limit on memory finds leaks too.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace tg::gateway;
  static World* world = new World;
  static tg::i64 runs = 0;
  std::string answer = talk(*world, {reinterpret_cast<const char*>(data), size});
  TG_ASSERT(answer.empty() || answer.starts_with("HTTP/1.1 "));
  if (++runs % 256 != 0) return 0;
  std::string health = talk(*world, "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
  TG_ASSERT(health.starts_with("HTTP/1.1 200 "));
  // What clients left behind is settled soon.
  for (int i = 0; i < 1'000 && world->billing.open_count() > 0; ++i) ::usleep(10'000);
  TG_ASSERT(world->billing.open_count() == 0 && !world->billing.has_violation());
  world->billing.forget();
  return 0;
}
