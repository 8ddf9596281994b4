// A gateway.db with many keys, written in one transaction. For tests and benches only.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/bytes.h"
#include "gateway/keys.h"
#include "gateway/sqlite.h"

namespace tg::gateway {

// Keys spread evenly over the projects, projects over ten teams of ten organisations; each key and
// project has limits that are never reached.
class ManyKeys {
 public:
  ManyKeys(i64 keys, i64 projects) : keys_(keys) {
    folder_ = std::filesystem::temp_directory_path() /
              ("tg_many_keys_" + std::to_string(::getpid()) + "_" + std::to_string(keys));
    std::filesystem::remove_all(folder_);
    open()->ensure_account("many").value();
    Database db = Database::open(folder_ + "/gateway.db", 1'000).value();
    TG_ASSERT(db.execute("BEGIN").ok());
    for (i64 i = 0; i < 10; ++i) {
      add_unit(db, "org_", 0, "", 1'000'000 + i);
      add_unit(db, "team_", 1, id("org_", 1'000'000 + i), 2'000'000 + i);
    }
    for (i64 i = 0; i < projects; ++i) {
      add_unit(db, "proj_", 2, id("team_", 2'000'000 + i % 10), 3'000'000 + i);
    }
    for (i64 i = 0; i < keys; ++i) add_key(db, i, id("proj_", 3'000'000 + i % projects));
    TG_ASSERT(db.execute("COMMIT").ok());
  }
  ~ManyKeys() { std::filesystem::remove_all(folder_); }
  ManyKeys(const ManyKeys&) = delete;
  ManyKeys& operator=(const ManyKeys&) = delete;

  i64 keys() const { return keys_; }
  std::string key(i64 number) const { return "tg-" + id("", 5'000'000 + number); }
  std::unique_ptr<KeyStore> open() { return KeyStore::open(folder_, random_).value(); }

 private:
  static std::string id(const std::string& prefix, i64 number) {
    return prefix + to_hex(static_cast<u128>(number)).substr(16);
  }
  static void add_unit(Database& db, const std::string& prefix, i64 level,
                       const std::string& parent, i64 number) {
    Statement insert =
        db.prepare(
              "INSERT INTO units (id, level, parent, name, created_ns, requests_per_minute) "
              "VALUES (?, ?, ?, ?, 0, 1000000000)")
            .value();
    insert.text(id(prefix, number)).integer(level).text(parent).text(id("n", number));
    TG_ASSERT(insert.step().ok());
  }
  void add_key(Database& db, i64 number, const std::string& project) {
    Statement insert =
        db.prepare(
              "INSERT INTO keys (id, hash, prefix, name, account, project, created_ns, "
              "tokens_per_minute) VALUES (?, ?, ?, 'k', 'many', ?, 0, 1000000000000)")
            .value();
    insert.text(id("key_", 4'000'000 + number)).text(to_hex(sha256(key(number))));
    insert.text(key(number).substr(0, 11)).text(project);
    TG_ASSERT(insert.step().ok());
  }

  i64 keys_;
  std::string folder_;
  OsRandom random_;
};

}  // namespace tg::gateway
