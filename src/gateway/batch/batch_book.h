// batches.db: files that clients uploaded, batches of requests, and what came of each line, so that
// a batch goes on after a restart where it was. Everything belongs to an owner: a project and the
// account that pays.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "env/clock.h"

namespace tg::gateway {

struct StoredFile {
  std::string id;  // "file-" + 32 hex digits
  std::string owner;
  std::string filename;
  std::string purpose;
  i64 bytes = 0;
  i64 created_s = 0;
  i64 expires_s = 0;  // 0: never.
};
// What may be asked of a file's life, in seconds from its creation.
inline constexpr i64 kFileLifeMinS = 3'600;
inline constexpr i64 kFileLifeMaxS = 30 * 86'400;

enum class BatchStatus : u8 {
  kValidating,
  kFailed,
  kInProgress,
  kFinalizing,
  kCompleted,
  kExpired,
  kCancelling,
  kCancelled,
};
inline constexpr std::size_t kBatchStatuses = 8;
std::string_view name(BatchStatus status);  // As OpenAI writes it.
bool is_over(BatchStatus status);

struct BatchUsage {
  i64 input_tokens = 0;
  i64 cached_tokens = 0;
  i64 output_tokens = 0;
  i64 reasoning_tokens = 0;
};

struct Batch {
  std::string id;  // "batch_" + 32 hex digits
  std::string owner;
  std::string key;  // Id of the key that made it: its limits and budgets apply.
  std::string endpoint;
  std::string input_file;
  std::string metadata = "null";  // JSON
  BatchStatus status = BatchStatus::kValidating;
  std::string model;
  std::string errors = "null";  // JSON: why it failed.
  std::string output_file;      // "" until there is one.
  std::string error_file;
  i64 total = 0;
  i64 completed = 0;
  i64 failed = 0;
  BatchUsage usage;
  i64 expires_s = 0;
  i64 output_life_s = 0;                        // Of its files; 0: they stay.
  std::array<i64, kBatchStatuses> entered_s{};  // When it came to each status; 0: it has not.

  void enter(BatchStatus next, i64 now_s) {
    status = next;
    entered_s[static_cast<std::size_t>(next)] = now_s;
  }
};

struct BatchResult {
  i64 line = 0;
  bool is_failure = false;
  std::string text;  // One line of the output or the error file.
  BatchUsage usage;
};

struct ListQuery {
  std::string after;  // Id; "": from the beginning.
  i64 limit = 20;
  bool is_ascending = false;
  std::string purpose = {};  // Files; "": any.
};

// One thread at a time.
class BatchBook {
 public:
  static constexpr i64 kOwnerBytesMax = i64{1} << 30;  // Of an owner's files.
  static constexpr i64 kOwnerFilesMax = 10'000;
  static constexpr i64 kOwnerBatchesMax = 100;  // That are not over.

  // Opens or creates batches.db in `directory`, mode 0600.
  static Result<std::unique_ptr<BatchBook>> open(const std::string& directory);
  ~BatchBook();
  BatchBook(const BatchBook&) = delete;
  BatchBook& operator=(const BatchBook&) = delete;

  // kLimit if the owner has too much already.
  Status put_file(const StoredFile& file, std::string_view content);
  // kNotFound for unknown ones and other owners'.
  Result<StoredFile> file(std::string_view id, std::string_view owner);
  Result<std::string> content(std::string_view id, std::string_view owner);
  Status erase_file(std::string_view id, std::string_view owner);
  // Files whose time is up at `now_s`, but for those that an open batch reads. To be called before
  // whatever looks for files.
  Status erase_expired(i64 now_s);
  // Newest first unless asked otherwise; one more than the limit, if there is one.
  Result<std::vector<StoredFile>> files(std::string_view owner, const ListQuery& query);

  // kLimit if too many of the owner's are not over.
  Status put_batch(const Batch& batch);
  Status update(const Batch& batch);
  Result<Batch> batch(std::string_view id, std::string_view owner);
  Result<std::vector<Batch>> batches(std::string_view owner, const ListQuery& query);
  // Those of all owners that are not over, oldest first.
  Result<std::vector<Batch>> open_batches();

  // Once per line: a second result of a line is not kept.
  Status put_result(std::string_view batch, const BatchResult& result);
  Result<std::vector<i64>> lines_done(std::string_view batch);
  // In one step: the results become files, and the batch is as given, with their ids and counts.
  Status finish(Batch& batch, const StoredFile& output, const StoredFile& errors);

 private:
  struct State;
  explicit BatchBook(std::unique_ptr<State> state);
  Result<std::vector<Batch>> select_batches(const std::string& where,
                                            const std::vector<std::string>& values);
  Status insert_file(const StoredFile& file, std::string_view content);
  Result<std::string> results(std::string_view batch, bool is_failure);
  Status count(Batch& batch);
  Status finish_within(Batch& batch, const StoredFile& output, const StoredFile& errors);
  std::unique_ptr<State> state_;
};

}  // namespace tg::gateway
