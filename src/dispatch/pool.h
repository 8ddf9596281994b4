// Several suppliers behind one: the pool as a supplier of its own, so that a gateway over a fleet
// is a gateway over one engine. One thread turns PoolCore's crank, its own or that of a loop that
// lends it: requests and suppliers' events come in through mailboxes, orders go to the suppliers,
// events to each request's mailbox.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>

#include "dispatch/pool_core.h"
#include "env/clock.h"
#include "env/lent_work.h"

namespace tg::dispatch {

struct PoolMember {
  PoolSupplier facts;
  std::shared_ptr<fleet::Supplier> supplier;
};

struct PoolStatus {
  PoolCounters counters;
  i64 open = 0;
  i64 waiting = 0;
  i64 first_tokens = 0;
  f64 coverage = 0;  // share of them that came within the p90 forecast
  Arrivals arrivals;
  i64 waiting_tokens = 0;  // prompts of those that wait, less what is cached somewhere
  std::vector<PoolCore::MemberStatus> members;
};

class Pool final : public fleet::Supplier, public LentWork {
 public:
  // The clock must outlive the pool. `members` may be empty: they can join.
  Pool(PoolSettings settings, std::vector<PoolMember> members, Clock& clock);
  // Cancels what is open, says so to its owners, and joins. Members are destroyed afterwards.
  ~Pool() override;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  Status submit(fleet::SupplyRequest request) override;
  void cancel(u64 id) override;
  Status extend(u64 id, i64 funded_tokens, bool is_final) override;
  fleet::SupplierLoad load() const override;
  std::string explain(const fleet::SupplyRequest& request) const override;
  std::string metrics() const override;
  std::string scaling() const override;
  LentWork* lent_work() override { return this; }

  std::vector<int> borrow(NearReader* near) override;
  void turn(u32 readable) override;
  void give_back() override;

  // A supplier comes, or comes back under its name; one that leaves is let go when its orders are
  // done. Any thread.
  void join(PoolMember member);
  void leave(const std::string& name);
  // It finishes what it has, and is given nothing more until it joins again. Any thread.
  void drain(const std::string& name);
  // What whoever starts and ends its suppliers says of that, shown by scaling() and metrics().
  void set_scaling(std::string json, std::string metrics);

  PoolStatus status() const;
  // Ended attempts since the last call, for whoever books them; at most kRecordsMax are kept.
  std::vector<SupplyRecord> take_records();
  static constexpr std::size_t kRecordsMax = 65'536;

 private:
  struct Cancel {
    u64 id;
  };
  struct Extend {
    u64 id;
    i64 funded_tokens;
    bool is_final;
  };
  struct Leave {
    std::string name;
  };
  struct Drain {
    std::string name;
  };
  using Command = std::variant<fleet::SupplyRequest, Cancel, Extend, PoolMember, Leave, Drain>;

  void run();
  bool is_borrower() const;
  bool push(Command& command);
  bool push_always(Command command);
  void wait_while_lent();
  void obey(Command& command, i64 now_ns);
  void obey_named(const std::string& name, bool leaves, i64 now_ns);
  void look_at_loads(i64 now_ns);
  void release_gone();
  void carry_out(i64 now_ns);
  void deliver();
  void shut_down();

  Clock& clock_;
  Mailbox<Command> inbox_;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> events_;

  // Whose turn it is. It is not contended: at most while the work changes hands.
  std::mutex turn_mutex_;
  std::vector<std::shared_ptr<fleet::Supplier>> suppliers_;  // by index
  i64 ticked_ns_ = 0;
  std::vector<Command> commands_;  // scratch
  std::vector<fleet::SupplierEvent> arrived_;

  mutable std::mutex mutex_;  // of what follows
  mutable PoolCore core_;
  std::vector<SupplyRecord> records_;
  std::string scaling_;
  std::string scaling_metrics_;

  std::mutex lent_mutex_;
  std::condition_variable lent_changed_;
  bool is_lent_ = false;
  std::atomic<std::thread::id> borrower_;
  std::thread thread_;
};

}  // namespace tg::dispatch
