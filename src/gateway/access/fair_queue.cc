#include "gateway/access/fair_queue.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::gateway {

struct FairQueue::Entry {
  u64 id = 0;
  i64 cost = 0;
};

// A class, an organisation or a project; only the last kind has entries, only the others children.
struct FairQueue::Node {
  Node* parent = nullptr;
  u64 key = 0;
  i64 weight = 1;
  i64 deficit = 0;  // What it may still take in this turn; below 0 it owes.
  Fifo entries;
  std::unordered_map<u64, std::unique_ptr<Node>> children;
  std::list<Node*> ring;             // The children, the one whose turn it is first.
  std::list<Node*>::iterator place;  // In the parent's ring.

  bool is_empty() const { return entries.empty() && ring.empty(); }
};

FairQueue::FairQueue() : root_(std::make_unique<Node>()) {}
FairQueue::~FairQueue() = default;

FairQueue::Node* FairQueue::find(Node& parent, u64 key) {
  auto found = parent.children.find(key);
  return found == parent.children.end() ? nullptr : found->second.get();
}

// Newcomers join at the end of the round with nothing saved up.
FairQueue::Node& FairQueue::child(Node& parent, u64 key, i64 weight) {
  TG_ASSERT(weight > 0);
  std::unique_ptr<Node>& slot = parent.children[key];
  if (slot == nullptr) {
    slot = std::make_unique<Node>();
    slot->parent = &parent;
    slot->key = key;
    slot->place = parent.ring.insert(parent.ring.end(), slot.get());
  }
  slot->weight = weight;
  return *slot;
}

void FairQueue::push(u64 id, const FairTenant& tenant, i64 cost) {
  TG_ASSERT(cost > 0);
  TG_ASSERT(!entries_.contains(id));
  std::size_t service = static_cast<std::size_t>(tenant.service);
  Node& of_class = child(*root_, service, kClassWeights[service]);
  Node& organisation = child(of_class, tenant.organisation, tenant.organisation_weight);
  Node& project = child(organisation, tenant.project, tenant.project_weight);
  Fifo::iterator at = project.entries.insert(project.entries.end(), Entry{id, cost});
  entries_.emplace(id, std::pair(&project, at));
  quantum_ = std::max(quantum_, cost);
}

// The next entry below `node`, after turning its ring until the child in front can pay for it. A
// child that owes much is passed over for as many rounds as its debt is turns long.
const FairQueue::Entry& FairQueue::front(Node& node) {
  if (!node.entries.empty()) return node.entries.front();
  TG_ASSERT(!node.ring.empty());
  for (;;) {
    Node& next = *node.ring.front();
    const Entry& entry = front(next);
    if (next.deficit >= entry.cost) return entry;
    next.deficit += quantum_ * next.weight;
    if (next.deficit >= entry.cost) return entry;
    node.ring.splice(node.ring.end(), node.ring, node.ring.begin());
  }
}

std::optional<u64> FairQueue::pop() {
  if (empty()) return std::nullopt;
  Entry entry = front(*root_);
  auto found = entries_.find(entry.id);
  TG_ASSERT(found != entries_.end());
  Node* project = found->second.first;
  project->entries.erase(found->second.second);
  entries_.erase(found);
  for (Node* node = project; node->parent != nullptr; node = node->parent) {
    node->deficit -= entry.cost;
  }
  for (Node* node = &remove_empty(*project); node->parent != nullptr; node = node->parent) {
    // The turn is over when it cannot pay for the next one.
    std::list<Node*>& ring = node->parent->ring;
    if (node->deficit < front(*node).cost) ring.splice(ring.end(), ring, node->place);
  }
  return entry.id;
}

// From the leaf upwards; the first that stays.
FairQueue::Node& FairQueue::remove_empty(Node& leaf) {
  Node* node = &leaf;
  while (node->parent != nullptr && node->is_empty()) {
    Node* parent = node->parent;
    parent->ring.erase(node->place);
    parent->children.erase(node->key);
    node = parent;
  }
  if (empty()) quantum_ = 1;
  return *node;
}

bool FairQueue::erase(u64 id) {
  auto found = entries_.find(id);
  if (found == entries_.end()) return false;
  Node* project = found->second.first;
  project->entries.erase(found->second.second);
  entries_.erase(found);
  remove_empty(*project);
  return true;
}

void FairQueue::charge(const FairTenant& tenant, i64 difference) {
  Node* node = root_.get();
  for (u64 key : {static_cast<u64>(tenant.service), tenant.organisation, tenant.project}) {
    node = find(*node, key);
    if (node == nullptr) return;
    // Neither a debt nor a credit lasts longer than a few turns: one bad estimate must not lock a
    // tenant out.
    i64 bound = 4 * quantum_ * node->weight;
    node->deficit = std::clamp(node->deficit - difference, -bound, bound);
  }
}

}  // namespace tg::gateway
