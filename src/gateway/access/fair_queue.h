// Who is served next when requests wait for a supplier's capacity: deficit round robin (Shreedhar
// and Varghese 1995) in Standard Tokens, nested three deep: service classes, in each the
// organisations, in each the projects, in each first come first served. Every waiting request is
// served within a bounded amount of others' work, whatever its class: a class has a share, not a
// right to go first.
//
// Requests are bound to capacity only when it is there, so the order follows who waits then. Costs
// are estimates; charge() corrects them when the truth is known. Pure, one owner, and an operation
// takes constant time on average: a turn is worth at least the dearest request that waits.
#pragma once

#include <array>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>

#include "base/types.h"
#include "fleet/supplier.h"

namespace tg::gateway {

// Shares of the classes while all three wait: 16 : 4 : 1.
inline constexpr std::array<i64, 3> kClassWeights = {16, 4, 1};

struct FairTenant {
  fleet::ServiceClass service = fleet::ServiceClass::kStandard;
  u64 organisation = 0;
  u64 project = 0;
  i64 organisation_weight = 1;  // > 0
  i64 project_weight = 1;       // > 0
};

class FairQueue {
 public:
  FairQueue();
  ~FairQueue();
  FairQueue(const FairQueue&) = delete;
  FairQueue& operator=(const FairQueue&) = delete;

  // REQUIRES: cost > 0, no entry of that id waits.
  void push(u64 id, const FairTenant& tenant, i64 cost);
  // Whose turn it is; the entry leaves the queue.
  std::optional<u64> pop();
  // False if it does not wait.
  bool erase(u64 id);
  // What a served request took more (or less) than its cost; tenants of whom nothing waits start
  // anew anyway.
  void charge(const FairTenant& tenant, i64 difference);

  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

 private:
  struct Entry;
  struct Node;
  using Fifo = std::list<Entry>;

  Node& child(Node& parent, u64 key, i64 weight);
  Node* find(Node& parent, u64 key);
  const Entry& front(Node& node);
  Node& remove_empty(Node& leaf);

  std::unique_ptr<Node> root_;
  std::unordered_map<u64, std::pair<Node*, Fifo::iterator>> entries_;
  i64 quantum_ = 1;  // The dearest entry since the queue was last empty.
};

}  // namespace tg::gateway
