// API keys: who may ask, and which ledger account pays. One SQLite file that the server reads and a
// command line may change meanwhile. Only a key's SHA-256 is stored; the key is shown once.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "env/clock.h"
#include "env/random.h"

namespace tg::gateway {

struct KeyInfo {
  std::string id;      // "key_" + 16 hex digits
  std::string prefix;  // The key's first characters, for people to tell keys apart.
  std::string name;
  std::string account_name;
  u128 account = 0;  // Ledger account.
  Timestamp created;
  std::optional<Timestamp> expires;
  std::optional<Timestamp> revoked;
};

struct AccountName {
  std::string name;
  u128 id = 0;
};

struct NewKey {
  std::string name;
  std::string account;  // An account's name; made if it does not exist.
  std::optional<Timestamp> expires = {};
};

struct CreatedKey {
  std::string plaintext;  // "tg-" + 64 hex digits: 256 random bits. Never stored.
  KeyInfo info;
};

// One thread per object; several objects and processes may share the file.
class KeyStore {
 public:
  static constexpr i64 kNameBytesMax = 128;
  // How late a change made by another process may be noticed.
  static constexpr i64 kRefreshNs = 500'000'000;

  // Opens or creates gateway.db in `directory` (mode 0600). kCorrupt or kUnsupported names the file
  // and its version.
  static Result<std::unique_ptr<KeyStore>> open(const std::string& directory, Random& random);
  ~KeyStore();
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;

  // kInvalid for names that are empty, too long or hold control characters.
  Result<CreatedKey> create(const NewKey& key, Timestamp now);
  // All keys, oldest first.
  Result<std::vector<KeyInfo>> list();
  // By id ("key_...") or by prefix if that names exactly one. kNotFound otherwise; revoking again
  // keeps the first time.
  Status revoke(std::string_view id_or_prefix, Timestamp now);

  // The account of that name, made with a random id if there is none.
  Result<AccountName> ensure_account(const std::string& name);
  Result<std::vector<AccountName>> accounts();

  // Looks the key up in memory: its hash decides, so time tells nothing about stored keys. nullopt
  // for unknown, revoked and expired ones. Rereads the file when another process changed it, at
  // most every kRefreshNs.
  std::optional<KeyInfo> authenticate(std::string_view key, Timestamp now);

 private:
  struct State;
  explicit KeyStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tg::gateway
