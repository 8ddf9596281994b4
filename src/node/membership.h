// Who is in the fleet, by leases on the bus: a node renews its lease every second and takes it back
// when it drains; gateways read the leases, and keep what they have when the bus is away, because
// their connections say more than its silence. Leases are authenticated by the join token.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "env/clock.h"
#include "fleet/supplier.h"
#include "node/bus/bus.h"

namespace tg::node {

inline constexpr std::size_t kAdvertBytesMax = 16'384;

struct Advert {
  std::string name;
  std::string address;  // "host:port" of its node protocol
  std::string model;
  Digest program{};
  std::string zone;
  std::string key;  // it signs with, as tlog::VerifierKey writes it
  friend bool operator==(const Advert&, const Advert&) = default;
};
// One JSON object and its HMAC by the join token.
std::string advert_text(const Advert& advert, const std::string& token);
// kDenied if another token made it, kInvalid for anything else.
Result<Advert> parse_advert(std::string_view text, const std::string& token);

// A node's end.
class Membership {
 public:
  // The first lease is written as soon as the bus is there. Supplier and clock must outlive it.
  static Result<std::unique_ptr<Membership>> announce(const std::string& nats_url,
                                                      const std::string& token, Advert advert,
                                                      const fleet::Supplier& supplier,
                                                      Clock& clock);
  // Takes the lease back.
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  // Takes the lease back now.
  void drain();

 private:
  Membership(std::unique_ptr<Bus> bus, std::string token, Advert advert,
             const fleet::Supplier& supplier, Clock& clock);
  void run();

  std::unique_ptr<Bus> bus_;
  const std::string token_;
  const Advert advert_;
  const fleet::Supplier& supplier_;
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_stopped_ = false;
  bool is_draining_ = false;
  std::thread thread_;
};

// A gateway's end: call look() now and then.
class MemberWatch {
 public:
  explicit MemberWatch(std::string token) : token_(std::move(token)) {}
  struct Change {
    std::vector<Advert> joined;     // new, or with another address or key than before
    std::vector<std::string> left;  // names
  };
  // What has changed since the last look; nothing if the bus is away or has just come back, when
  // nodes may not have renewed their leases yet.
  Change look(Bus& bus, i64 now_ns);

 private:
  std::string token_;
  std::vector<Advert> known_;
  std::vector<i64> seen_ns_;  // parallel: when its lease was last there
  i64 back_ns_ = 0;           // since when the bus has been answering
};

// Supplies ended, on their way to the durable stream; kept here until the server has them.
class UsageOutbox {
 public:
  UsageOutbox(std::string gateway, u64 instance)
      : gateway_(std::move(gateway)), instance_(instance) {}
  // One JSON object. Beyond kOutboxMax the oldest are dropped, and counted.
  void add(std::string json);
  // Publishes what it can; returns how many are left.
  std::size_t flush(Bus& bus);
  u64 dropped() const { return dropped_; }
  static constexpr std::size_t kOutboxMax = 1 << 17;

 private:
  std::string gateway_;
  u64 instance_;
  u64 next_ = 0;  // number of the first that waits
  std::vector<std::string> waiting_;
  u64 dropped_ = 0;
};

}  // namespace tg::node
