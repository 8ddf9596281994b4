#include "gateway/access/directory.h"

namespace tg::gateway {

void Directory::add(const Digest& hash, Entry entry) {
  has_admin_ = has_admin_ || entry.key.standing->scopes.has(Scope::kAdminRead);
  // Of a rotated key's secrets the one that is valid longer.
  auto known = by_id_.find(entry.key.id);
  bool is_better = known == by_id_.end() || !entry.expires;
  if (!is_better) {
    const std::optional<Timestamp>& other = by_hash_.at(known->second).expires;
    is_better = other && *other < *entry.expires;
  }
  if (is_better) by_id_[entry.key.id] = hash;
  by_hash_.emplace(hash, std::move(entry));
}

std::optional<KeyInfo> Directory::find(std::string_view key, Timestamp now) const {
  auto found = by_hash_.find(sha256(key));
  if (found == by_hash_.end()) return std::nullopt;
  const Entry& entry = found->second;
  if (entry.expires && now >= *entry.expires) return std::nullopt;
  return entry.key;
}

std::optional<KeyInfo> Directory::find_id(const std::string& id, Timestamp now) const {
  auto found = by_id_.find(id);
  if (found == by_id_.end()) return std::nullopt;
  const Entry& entry = by_hash_.at(found->second);
  if (entry.expires && now >= *entry.expires) return std::nullopt;
  return entry.key;
}

}  // namespace tg::gateway
