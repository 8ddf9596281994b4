// NATS with JetStream, as much as a fleet needs: leases that expire, adverts, durable records. A
// bus that is away is no failure of the service: calls return errors, and work again when it is
// back. Money never travels on it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::node {

inline constexpr i64 kLeaseMs = 5'000;  // without renewal
inline constexpr const char* kLeaseBucket = "tokengrid_nodes";
inline constexpr const char* kUsageStream = "TOKENGRID_USAGE";
inline constexpr const char* kUsageSubjects = "tokengrid.usage.>";

struct Lease {
  std::string key;
  std::string value;
};

// One thread at a time.
class Bus {
 public:
  // Tries to reach "nats://host:port" from now on; kInvalid for a URL that cannot be one.
  static Result<std::unique_ptr<Bus>> connect(const std::string& url, const std::string& name);
  ~Bus();
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  bool is_connected() const;
  // A lease lives for kLeaseMs after it was last written. Keys are letters, digits, '-' and '_'.
  Status put_lease(const std::string& key, const std::string& value);
  Status delete_lease(const std::string& key);
  Result<std::vector<Lease>> leases();
  // To whoever listens now.
  Status advertise(const std::string& subject, const std::string& text);
  // Kept on the server's disk before this returns; the same id twice within two minutes counts
  // once.
  Status publish_durably(const std::string& subject, const std::string& text,
                         const std::string& id);

 private:
  struct State;
  explicit Bus(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The name with everything that is not allowed in a key replaced.
std::string lease_key(const std::string& name);

}  // namespace tg::node
