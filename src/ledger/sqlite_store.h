// The Store in one SQLite file: WAL, synchronous=FULL, locked against other processes. The table
// `journal` is the truth; account balances are kept beside it so that a contradiction shows.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "ledger/store.h"

namespace tg::ledger {

inline constexpr const char* kSqliteFileName = "ledger.sqlite";

class SqliteStore final : public Store {
 public:
  // Opens or creates <directory>/ledger.sqlite. kUnavailable if another process has it open,
  // kUnsupported if a newer version wrote it, kCorrupt if it is not a ledger.
  static Result<std::unique_ptr<SqliteStore>> open(const std::string& directory);

  ~SqliteStore() override;
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  Result<AuditReport> load(StateMachine& state) override;
  // REQUIRES: load() succeeded before.
  Status commit(const Effects& effects, std::span<DocumentWrite> documents) override;
  Result<std::string> read_document(u128 id) override;
  Result<std::vector<StoredDocument>> documents_after(u64 sequence, i64 limit) override;
  // PRAGMA quick_check: reads the whole file.
  Status check_medium() override;

  const std::string& path() const;

 private:
  struct State;
  explicit SqliteStore(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace tg::ledger
