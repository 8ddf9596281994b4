#include "dispatch/pool.h"

#include <poll.h>

#include <iterator>

#include "base/log.h"
#include "dispatch/pool_metrics.h"

namespace tg::dispatch {
namespace {

constexpr i64 kInboxMax = 16'384;
// Suppliers do not wait for the pool, and cancel what they cannot deliver.
constexpr i64 kEventsMax = 1 << 20;
constexpr int kTickMs = 20;
constexpr i64 kTickNs = 20'000'000;
// How often the core's orders may bring forth others before the rest waits for the next turn.
constexpr int kRoundsMax = 64;

}  // namespace

Pool::Pool(PoolSettings settings, std::vector<PoolMember> members, Clock& clock)
    : clock_(clock),
      inbox_(kInboxMax),
      events_(std::make_shared<Mailbox<fleet::SupplierEvent>>(kEventsMax)),
      core_(std::move(settings)) {
  i64 now_ns = clock_.monotonic_ns();
  for (PoolMember& member : members) {
    Command command(std::move(member));
    obey(command, now_ns);
  }
  look_at_loads(now_ns);
  thread_ = std::thread([this] { run(); });
}

Pool::~Pool() {
  inbox_.close();
  give_back();
  thread_.join();
}

Status Pool::submit(fleet::SupplyRequest request) {
  TG_ASSERT(request.events != nullptr);
  if (request.prompt.empty() || request.max_tokens <= 0)
    return Error{Code::kInvalid, "a request needs a prompt and room for output"};
  Command command(std::move(request));
  if (push(command)) return {};
  return Error{Code::kUnavailable, "the pool's inbox is full or closed"};
}

void Pool::cancel(u64 id) {
  push_always(Cancel{id});
}

Status Pool::extend(u64 id, i64 funded_tokens, bool is_final) {
  if (push_always(Extend{id, funded_tokens, is_final})) return {};
  return Error{Code::kUnavailable, "the pool is shutting down"};
}

bool Pool::is_borrower() const {
  return borrower_.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

// False if there is no room. Whoever lends its thread has a turn soon, and need not be woken.
bool Pool::push(Command& command) {
  return is_borrower() ? inbox_.try_push_quietly(command) : inbox_.try_push(command);
}

// Waits for room; who lends its thread makes it.
bool Pool::push_always(Command command) {
  if (push(command)) return true;
  if (!is_borrower()) return inbox_.push(std::move(command));
  turn(0);
  return push(command);
}

void Pool::join(PoolMember member) {
  inbox_.push(std::move(member));
}

void Pool::leave(const std::string& name) {
  inbox_.push(Leave{name});
}

void Pool::drain(const std::string& name) {
  inbox_.push(Drain{name});
}

void Pool::set_scaling(std::string json, std::string metrics) {
  std::lock_guard lock(mutex_);
  scaling_ = std::move(json);
  scaling_metrics_ = std::move(metrics);
}

std::string Pool::scaling() const {
  std::lock_guard lock(mutex_);
  return scaling_;
}

fleet::SupplierLoad Pool::load() const {
  std::lock_guard lock(mutex_);
  return core_.load();
}

std::string Pool::explain(const fleet::SupplyRequest& request) const {
  std::lock_guard lock(mutex_);
  return core_.explain(request, clock_.monotonic_ns());
}

PoolStatus Pool::status() const {
  std::lock_guard lock(mutex_);
  PoolStatus status{.counters = core_.counters(),
                    .open = core_.open(),
                    .waiting = core_.waiting(),
                    .first_tokens = core_.in_flight().first_tokens(),
                    .coverage = core_.in_flight().coverage(),
                    .arrivals = core_.arrivals(),
                    .waiting_tokens = core_.waiting_tokens(),
                    .members = {}};
  for (u32 i = 0; i < core_.view().size(); ++i) status.members.push_back(core_.member_status(i));
  return status;
}

std::string Pool::metrics() const {
  std::string text = pool_metrics(status());
  std::lock_guard lock(mutex_);
  return text + scaling_metrics_;
}

std::vector<SupplyRecord> Pool::take_records() {
  std::lock_guard lock(mutex_);
  return std::exchange(records_, {});
}

// --- whose thread -------------------------------------------------------------------------------

std::vector<int> Pool::borrow(NearReader* near) {
  std::lock_guard lock(lent_mutex_);
  if (is_lent_ || inbox_.closed()) return {};
  is_lent_ = true;
  borrower_ = std::this_thread::get_id();
  // Suppliers whose connections are on the borrower's loop.
  events_->set_near(near);
  return {inbox_.fd(), events_->fd()};
}

void Pool::give_back() {
  {
    std::lock_guard lock(lent_mutex_);
    is_lent_ = false;
    borrower_ = std::thread::id();
    events_->set_near(nullptr);
  }
  lent_changed_.notify_all();
}

void Pool::wait_while_lent() {
  std::unique_lock lock(lent_mutex_);
  lent_changed_.wait(lock, [&] { return !is_lent_; });
}

void Pool::run() {
  while (!inbox_.closed()) {
    wait_while_lent();
    pollfd watched[2] = {{inbox_.fd(), POLLIN, 0}, {events_->fd(), POLLIN, 0}};
    ::poll(watched, 2, kTickMs);
    turn((watched[0].revents != 0 ? 1u : 0u) | (watched[1].revents != 0 ? 2u : 0u));
  }
  shut_down();
}

void Pool::turn(u32 readable) {
  std::lock_guard turning(turn_mutex_);
  commands_.clear();
  arrived_.clear();
  // The one that is not readable has nothing that was pushed by others, or will be at once.
  if ((readable & 1u) != 0 || inbox_.has_values()) inbox_.drain(commands_);
  if ((readable & 2u) != 0 || events_->has_values()) events_->drain(arrived_);
  i64 now_ns = clock_.monotonic_ns();
  bool is_tick = now_ns - ticked_ns_ >= kTickNs;
  if (is_tick) look_at_loads(now_ns);
  for (Command& command : commands_) obey(command, now_ns);
  {
    std::lock_guard lock(mutex_);
    for (fleet::SupplierEvent& event : arrived_) core_.event(std::move(event), now_ns);
    if (is_tick) core_.tick(now_ns);
  }
  if (is_tick) ticked_ns_ = now_ns;
  carry_out(now_ns);
  if (is_tick) release_gone();
  deliver();
}

void Pool::obey(Command& command, i64 now_ns) {
  std::lock_guard lock(mutex_);
  if (fleet::SupplyRequest* request = std::get_if<fleet::SupplyRequest>(&command)) {
    core_.submit(std::move(*request), now_ns);
  } else if (const Cancel* cancel = std::get_if<Cancel>(&command)) {
    core_.cancel(cancel->id, now_ns);
  } else if (const Extend* extend = std::get_if<Extend>(&command)) {
    core_.extend(extend->id, extend->funded_tokens, extend->is_final);
  } else if (PoolMember* member = std::get_if<PoolMember>(&command)) {
    u32 index = core_.join(member->facts, now_ns);
    if (suppliers_.size() <= index) suppliers_.resize(index + 1);
    suppliers_[index] = std::move(member->supplier);
    core_.report(index, suppliers_[index]->load(), now_ns);
  } else if (const Drain* drain = std::get_if<Drain>(&command)) {
    obey_named(drain->name, false, now_ns);
  } else {
    obey_named(std::get<Leave>(command).name, true, now_ns);
  }
}

void Pool::obey_named(const std::string& name, bool leaves, i64 now_ns) {
  for (u32 i = 0; i < core_.names().size(); ++i) {
    if (core_.names()[i] != name || suppliers_[i] == nullptr) continue;
    if (leaves)
      core_.leave(i, now_ns);
    else
      core_.drain(i, now_ns);
  }
}

void Pool::look_at_loads(i64 now_ns) {
  for (u32 i = 0; i < suppliers_.size(); ++i) {
    if (suppliers_[i] == nullptr) continue;
    fleet::SupplierLoad load = suppliers_[i]->load();
    std::lock_guard lock(mutex_);
    core_.report(i, load, now_ns);
  }
}

// Its requests have been given up and their cancels carried out.
void Pool::release_gone() {
  for (u32 i = 0; i < suppliers_.size(); ++i) {
    if (suppliers_[i] == nullptr) continue;
    std::shared_ptr<fleet::Supplier> gone;
    std::lock_guard lock(mutex_);
    if (core_.is_gone(i)) gone = std::exchange(suppliers_[i], nullptr);
  }
}

// A refused order goes elsewhere, which is another order.
void Pool::carry_out(i64 now_ns) {
  for (int round = 0; round < kRoundsMax; ++round) {
    std::vector<PoolOrder> orders;
    {
      std::lock_guard lock(mutex_);
      orders = core_.take_orders();
    }
    if (orders.empty()) return;
    for (PoolOrder& order : orders) {
      TG_ASSERT(suppliers_[order.supplier] != nullptr);
      fleet::Supplier& supplier = *suppliers_[order.supplier];
      if (order.kind == PoolOrder::Kind::kCancel) {
        supplier.cancel(order.attempt);
      } else if (order.kind == PoolOrder::Kind::kExtend) {
        Status extended =
            supplier.extend(order.attempt, order.funded_tokens, order.is_funding_final);
        if (!extended.ok()) log_info("pool", "not extended: {}", extended.error().message);
      } else {
        order.request.events = events_;
        Status sent = supplier.submit(std::move(order.request));
        if (sent.ok()) continue;
        std::lock_guard lock(mutex_);
        core_.refused(order.attempt, sent.error(), now_ns);
      }
    }
  }
}

void Pool::deliver() {
  std::vector<PoolDelivery> deliveries;
  std::vector<SupplyRecord> records;
  {
    std::lock_guard lock(mutex_);
    deliveries = core_.take_deliveries();
    records = core_.take_records();
    for (SupplyRecord& record : records) {
      if (!record.dispute.empty()) log_warn("pool", "{}: {}", record.supplier, record.dispute);
      if (records_.size() < kRecordsMax) records_.push_back(std::move(record));
    }
  }
  for (PoolDelivery& delivery : deliveries) {
    u64 id = delivery.event.request;
    bool is_last = delivery.event.kind == fleet::SupplierEvent::Kind::kFinished;
    if (delivery.to->try_push(delivery.event)) continue;
    log_warn("pool", "request {}: events cannot be delivered, cancelled", id);
    std::lock_guard lock(mutex_);
    if (!is_last) core_.cancel(id, clock_.monotonic_ns());
  }
}

// Whoever submitted is told how it ended, also what still waited in the inbox.
void Pool::shut_down() {
  std::lock_guard turning(turn_mutex_);
  i64 now_ns = clock_.monotonic_ns();
  std::vector<Command> commands;
  inbox_.drain(commands);
  for (Command& command : commands) obey(command, now_ns);
  {
    std::lock_guard lock(mutex_);
    core_.end_all(now_ns);
  }
  carry_out(now_ns);
  deliver();
}

}  // namespace tg::dispatch
