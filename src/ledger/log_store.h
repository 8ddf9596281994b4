// The Store as one append-only file of chained frames (log_frame.h): a commit is one write and one
// fdatasync; the frame gets its place when the batch is staged, is made and digested when it is
// sealed. The file is the journal; balances follow from it. The machine it loads reads old entries
// back from it. Snapshots beside it (snapshot.h) make opening quick and may be deleted.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "env/append_file.h"
#include "ledger/snapshot_keeper.h"
#include "ledger/store.h"

namespace tg::ledger {

inline constexpr const char* kLogFileName = "ledger.log";

class LogStore final : public Store {
 public:
  // Opens or creates <directory>/ledger.log. kUnavailable if another process has it open.
  static Result<std::unique_ptr<LogStore>> open(const std::string& directory,
                                                SnapshotOptions options = {});
  // The same in a file that is open already, for example a simulated one.
  static std::unique_ptr<LogStore> over(AppendFile file);
  static std::unique_ptr<LogStore> over(AppendFile file, SnapshotFiles snapshots,
                                        SnapshotOptions options);
  // Every whole frame of the log in `directory` into `state`, which must be empty, each entry
  // decided again; whole snapshots must agree. Locks and changes nothing: another process may be
  // writing.
  static Result<AuditReport> read(const std::string& directory, StateMachine& state);

  // How much of the journal stays in memory. REQUIRES: nothing was loaded.
  void set_window(Journal::Window window);

  ~LogStore() override;
  LogStore(const LogStore&) = delete;
  LogStore& operator=(const LogStore&) = delete;

  // kCorrupt also if the file is no ledger. The first time, a last frame that a crash tore is cut
  // off (nobody was told of it); one that is whole but altered is kCorrupt.
  Result<AuditReport> load(StateMachine& state) override;
  Result<AuditReport> replay(StateMachine& state) override;
  // REQUIRES: load() succeeded before.
  Status commit(const Effects& effects, std::span<DocumentWrite> documents) override;
  void stage(const Effects& effects, std::span<DocumentWrite> documents) override;
  void seal() override;
  Status sync() override;
  bool keeps_balances() const override { return false; }
  void offer_snapshot(const StateMachine& state) override;
  bool wants_snapshot(const StateMachine& state) const override;
  Result<std::string> read_document(u128 id) override;
  Result<std::vector<StoredDocument>> documents_after(u64 sequence, i64 limit) override;
  // Reads every frame and follows the chain of digests.
  Status check_medium() override;

  const std::string& path() const;

 private:
  struct State;
  explicit LogStore(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace tg::ledger
