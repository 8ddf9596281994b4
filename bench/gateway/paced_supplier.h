// An engine that computes nothing: every stream gets a token per interval, from a thread of its own
// as the embedded engine's come. What is left of a streamed token's cost is the gateway's.
#pragma once

#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "fleet/supplier.h"

namespace tg::bench {

class PacedSupplier final : public fleet::Supplier {
 public:
  // Interval 0: a reply comes whole, at once.
  explicit PacedSupplier(i64 interval_ms);
  ~PacedSupplier() override;

  Status submit(fleet::SupplyRequest request) override;
  void cancel(u64 id) override;
  fleet::SupplierLoad load() const override;
  Status extend(u64, i64, bool) override { return {}; }

 private:
  struct Stream {
    fleet::SupplyRequest request;
    i64 sent = 0;
    std::size_t slot = 0;
  };

  void run();
  void send_due();
  // False once it has ended.
  static bool send_next(Stream& stream, i64 count);
  static void end(Stream& stream, fleet::FinishReason reason);

  const i64 interval_ms_;
  mutable std::mutex mutex_;
  bool is_stopping_ = false;
  std::map<u64, Stream> streams_;
  // Ids by the millisecond of the interval at which their next token is due.
  std::vector<std::vector<u64>> slots_;
  std::size_t slot_ = 0;
  std::thread thread_;
};

}  // namespace tg::bench
