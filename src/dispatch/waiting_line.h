// Requests that are admitted and not sent: by class, then by fair share of tenants, then by due
// time. A tenant's share is the work sent for it, by start-time fair queueing; who has waited
// longer than its class's patience goes first, whatever its share. Bounded; a pure structure: time
// is an argument.
#pragma once

#include <array>
#include <map>
#include <set>
#include <vector>

#include "base/types.h"
#include "fleet/supplier.h"

namespace tg::dispatch {

inline constexpr std::size_t kServiceClasses = 3;

struct Waiting {
  u64 id = 0;
  u64 tenant = 0;
  fleet::ServiceClass service = fleet::ServiceClass::kStandard;
  f64 work = 1;    // > 0; in any one unit, such as expected ST
  f64 weight = 1;  // > 0; of its tenant
  i64 arrived_ns = 0;
  i64 due_ns = 0;  // order within the tenant
};

struct LineLimits {
  i64 waiting_max = 100'000;
  i64 tenant_waiting_max = 100'000;
  std::array<i64, kServiceClasses> patience_ns = {5'000'000'000, 30'000'000'000, 600'000'000'000};
};

class WaitingLine {
 public:
  explicit WaitingLine(const LineLimits& limits = {}) : limits_(limits) {}

  enum class Admission { kWaits, kFull, kTenantFull };
  // `is_admitted`: it was here before, and the limits do not hold for it.
  Admission push(const Waiting& w, bool is_admitted = false);
  // Removes it; false if it is not here. REQUIRES: the tenant and class it was pushed with.
  bool remove(const Waiting& w);
  i64 size() const { return size_; }
  f64 work() const { return work_; }
  // Up to `count` of them in order of turn, at most `depth` of one tenant.
  void look(i64 now_ns, i64 count, i64 depth, std::vector<Waiting>& out) const;
  // It was sent: its tenant's share grows, and it leaves.
  void sent(const Waiting& w);

 private:
  struct Tenant {
    std::map<std::pair<i64, u64>, Waiting> by_due;
    f64 share = 0;  // virtual time of its next request
  };
  struct Line {
    std::map<u64, Tenant> tenants;
    std::set<std::pair<f64, u64>> by_share;     // of tenants with requests here
    std::set<std::pair<i64, u64>> by_arrival;   // (arrival, id)
    std::map<u64, std::pair<u64, i64>> places;  // id to tenant and due time
    f64 now = 0;                                // virtual time
  };

  Line& line_of(const Waiting& w) { return lines_[static_cast<std::size_t>(w.service)]; }

  LineLimits limits_;
  std::array<Line, kServiceClasses> lines_;
  i64 size_ = 0;
  f64 work_ = 0;
};

}  // namespace tg::dispatch
