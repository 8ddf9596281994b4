#include "dispatch/waiting_line.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::dispatch {

namespace {

// Idle tenants are forgotten when there are so many: their shares are behind the clock anyway.
constexpr std::size_t kIdleTenantsMax = 10'000;

}  // namespace

WaitingLine::Admission WaitingLine::push(const Waiting& w, bool is_admitted) {
  TG_ASSERT(w.work > 0);
  TG_ASSERT(w.weight > 0);
  if (!is_admitted && size_ >= limits_.waiting_max) return Admission::kFull;
  Line& line = line_of(w);
  if (line.tenants.size() > kIdleTenantsMax) {
    std::erase_if(line.tenants, [](const auto& t) { return t.second.by_due.empty(); });
  }
  Tenant& tenant = line.tenants[w.tenant];
  bool is_tenant_full = static_cast<i64>(tenant.by_due.size()) >= limits_.tenant_waiting_max;
  if (!is_admitted && is_tenant_full) return Admission::kTenantFull;
  if (tenant.by_due.empty()) {
    tenant.share = std::max(tenant.share, line.now);
    line.by_share.emplace(tenant.share, w.tenant);
  }
  bool is_new = tenant.by_due.emplace(std::pair{w.due_ns, w.id}, w).second;
  TG_ASSERT(is_new);
  line.by_arrival.emplace(w.arrived_ns, w.id);
  line.places.emplace(w.id, std::pair{w.tenant, w.due_ns});
  ++size_;
  work_ += w.work;
  return Admission::kWaits;
}

bool WaitingLine::remove(const Waiting& w) {
  Line& line = line_of(w);
  auto found = line.tenants.find(w.tenant);
  if (found == line.tenants.end()) return false;
  Tenant& tenant = found->second;
  if (tenant.by_due.erase({w.due_ns, w.id}) == 0) return false;
  line.by_arrival.erase({w.arrived_ns, w.id});
  line.places.erase(w.id);
  if (tenant.by_due.empty()) line.by_share.erase({tenant.share, w.tenant});
  --size_;
  work_ = size_ == 0 ? 0 : work_ - w.work;
  return true;
}

void WaitingLine::sent(const Waiting& w) {
  bool was_here = remove(w);
  TG_ASSERT(was_here);
  Line& line = line_of(w);
  Tenant& tenant = line.tenants[w.tenant];
  if (!tenant.by_due.empty()) line.by_share.erase({tenant.share, w.tenant});
  line.now = std::max(line.now, tenant.share);
  tenant.share += w.work / w.weight;
  if (!tenant.by_due.empty()) line.by_share.emplace(tenant.share, w.tenant);
}

void WaitingLine::look(i64 now_ns, i64 count, i64 depth, std::vector<Waiting>& out) const {
  out.clear();
  std::size_t most = static_cast<std::size_t>(count);
  std::set<u64> ripe;
  for (std::size_t c = 0; c < kServiceClasses; ++c) {
    const Line& line = lines_[c];
    for (const auto& [arrived_ns, id] : line.by_arrival) {
      if (out.size() >= most || now_ns - arrived_ns <= limits_.patience_ns[c]) break;
      auto [tenant, due_ns] = line.places.at(id);
      out.push_back(line.tenants.at(tenant).by_due.at({due_ns, id}));
      ripe.insert(id);
    }
  }
  for (const Line& line : lines_) {
    for (const auto& [share, tenant] : line.by_share) {
      i64 taken = 0;
      for (const auto& [key, w] : line.tenants.at(tenant).by_due) {
        if (out.size() >= most) return;
        if (taken++ >= depth) break;
        if (ripe.contains(w.id)) continue;
        out.push_back(w);
      }
    }
  }
}

}  // namespace tg::dispatch
