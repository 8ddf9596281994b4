// All keys that may be used, as the event loop sees them: an immutable picture of gateway.db, where
// a key's SHA-256 leads to everything that applies to it in one step.
#pragma once

#include <cstring>
#include <unordered_map>

#include "base/hash.h"
#include "gateway/access/identity.h"

namespace tg::gateway {

// Who asks, as the rest of the gateway sees it.
struct KeyInfo {
  std::string id;    // "key_" + 16 hex digits
  u128 account = 0;  // Ledger account that pays.
  std::shared_ptr<const Standing> standing;
};

class Directory {
 public:
  struct Entry {
    KeyInfo key;
    std::optional<Timestamp> expires;
  };

  void add(const Digest& hash, Entry entry);

  // The key's hash decides, so time tells nothing about stored keys. nullopt for unknown and
  // expired ones; revoked ones are not here.
  std::optional<KeyInfo> find(std::string_view key, Timestamp now) const;
  // The key of that id, whatever its secret.
  std::optional<KeyInfo> find_id(const std::string& id, Timestamp now) const;
  // Secrets, of which a rotated key has two.
  std::size_t size() const { return by_hash_.size(); }
  // Whether any key may use the admin API.
  bool has_admin() const { return has_admin_; }

 private:
  struct DigestHash {
    std::size_t operator()(const Digest& digest) const {
      std::size_t first = 0;
      std::memcpy(&first, digest.data(), sizeof(first));
      return first;
    }
  };
  std::unordered_map<Digest, Entry, DigestHash> by_hash_;
  std::unordered_map<std::string, Digest> by_id_;  // One of its secrets.
  bool has_admin_ = false;
};

}  // namespace tg::gateway
