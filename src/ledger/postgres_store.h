// The Store in a PostgreSQL database that several gateways share. Each keeps the whole ledger in
// memory; the database orders their commits. begin() takes the lock on the one row of `head` and
// brings the machine up to what others committed, so that every batch is decided on all that went
// before it; commit() appends and gives the lock back. A gateway that is cut off holds no lock for
// longer than kIdleLockMs, and its commit then fails: nobody decides on an old state.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "env/file.h"
#include "ledger/store.h"

namespace tg::ledger {

// In the ledger's folder: libpq's connection string or URI, one line.
inline constexpr const char* kPostgresFileName = "ledger.postgresql";
// Beside it: the name under which this folder's gateway commits, made on the first opening.
inline constexpr const char* kGatewayFileName = "ledger.gateway";
// After this long inside a batch the server ends the session and with it the batch.
inline constexpr i64 kIdleLockMs = 10'000;
// Less than what an answer may take: the server says this often that it is others who keep a lock,
// and is asked again until a session that is idle with it has been ended.
inline constexpr i64 kLockWaitMs = 2'000;

class PostgresStore final : public Store {
 public:
  // Connects and makes the tables (schema tokengrid_ledger) if there are none. kInvalid if the
  // server does not promise durability (fsync or full_page_writes off), kUnavailable if there is no
  // server, kUnsupported if a newer version made the tables.
  // `gateway` names who commits, for the next process of the same gateway to know its own holds; up
  // to 64 of a-z 0-9 - _ . and unique among the gateways, or empty. `lock`, if given, is what keeps
  // a second process from using the same name; it is held as long as the store. If there may be no
  // server yet, it is load() that says so, as often as it is asked.
  static Result<std::unique_ptr<PostgresStore>> open(const std::string& address,
                                                     const std::string& gateway = "",
                                                     std::unique_ptr<File> lock = nullptr,
                                                     bool may_be_away = false);

  ~PostgresStore() override;
  PostgresStore(const PostgresStore&) = delete;
  PostgresStore& operator=(const PostgresStore&) = delete;

  // The first time, or after a failure: all there is, and the machine becomes the one that begin()
  // keeps up to date; connects again if need be. Later (an audit): all there is, again; between
  // begin() and commit() that is what the machine has.
  Result<AuditReport> load(StateMachine& state) override;
  Status begin(StateMachine& state) override;
  bool is_shared() const override { return true; }
  bool is_own(u64 position) const override;
  // Without begin() before, fails if anyone else has committed meanwhile.
  Status commit(const Effects& effects, std::span<DocumentWrite> documents) override;
  Result<std::string> read_document(u128 id) override;
  Result<std::vector<StoredDocument>> documents_after(u64 sequence, i64 limit) override;
  // Asks the server only whether it answers: its own tools check its files.
  Status check_medium() override;

 private:
  struct State;
  explicit PostgresStore(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace tg::ledger
