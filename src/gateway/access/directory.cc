#include "gateway/access/directory.h"

namespace tg::gateway {

void Directory::add(const Digest& hash, Entry entry) {
  has_admin_ = has_admin_ || entry.key.standing->scopes.has(Scope::kAdminRead);
  by_hash_.emplace(hash, std::move(entry));
}

std::optional<KeyInfo> Directory::find(std::string_view key, Timestamp now) const {
  auto found = by_hash_.find(sha256(key));
  if (found == by_hash_.end()) return std::nullopt;
  const Entry& entry = found->second;
  if (entry.expires && now >= *entry.expires) return std::nullopt;
  return entry.key;
}

}  // namespace tg::gateway
