#include "ledger/snapshot_keeper.h"

#include <utility>

#include "base/assert.h"
#include "base/log.h"

namespace tg::ledger {

SnapshotKeeper::SnapshotKeeper(SnapshotFiles files, SnapshotOptions options)
    : files_(std::move(files)), options_(options) {
  TG_ASSERT(files_[0] != nullptr && files_[1] != nullptr);
}

SnapshotKeeper::~SnapshotKeeper() {
  wait();
}

void SnapshotKeeper::wait() {
  if (writer_.joinable()) writer_.join();
}

static std::optional<Snapshot> read_or_warn(const File& file, const SnapshotHeader& header) {
  Result<Snapshot> snapshot = Snapshot::read(file, header);
  if (snapshot.ok()) return std::move(snapshot).value();
  log_warn("ledger", "snapshot passed over: {}", snapshot.error().message);
  return std::nullopt;
}

static std::optional<SnapshotHeader> header_or_warn(const File& file) {
  Result<SnapshotHeader> header = Snapshot::read_header(file);
  if (header.ok()) return *header;
  if (header.error().code != Code::kNotFound)
    log_warn("ledger", "snapshot passed over: {}", header.error().message);
  return std::nullopt;
}

Result<std::optional<Snapshot>> SnapshotKeeper::newest() {
  wait();
  std::optional<SnapshotHeader> headers[2] = {header_or_warn(*files_[0]),
                                              header_or_warn(*files_[1])};
  auto commits = [&](int slot) { return headers[slot] ? headers[slot]->mark.commits : 0; };
  int newer = commits(1) > commits(0) ? 1 : 0;
  for (int slot : {newer, 1 - newer}) {
    if (!headers[slot]) continue;
    std::optional<Snapshot> snapshot = read_or_warn(*files_[slot], *headers[slot]);
    if (!snapshot) continue;
    slot_next_ = 1 - slot;
    entries_taken_ = snapshot->header().entries;
    return snapshot;
  }
  return std::optional<Snapshot>();
}

std::vector<Snapshot> SnapshotKeeper::all() {
  wait();
  std::vector<Snapshot> out;
  for (const std::unique_ptr<File>& file : files_) {
    std::optional<SnapshotHeader> header = header_or_warn(*file);
    std::optional<Snapshot> snapshot = header ? read_or_warn(*file, *header) : std::nullopt;
    if (snapshot) out.push_back(std::move(*snapshot));
  }
  return out;
}

bool SnapshotKeeper::is_due(u64 entries) const {
  u64 since = entries - entries_taken_;
  return since >= options_.entries_min && since >= entries_taken_ / 4 && !is_writing_;
}

void SnapshotKeeper::take(const LogMark& mark, StateImage image) {
  TG_ASSERT(is_due(image.entries()));
  wait();
  entries_taken_ = image.entries();
  int slot = slot_next_;
  if (!options_.is_in_background) return write(slot, mark, image);
  is_writing_ = true;
  writer_ = std::thread([this, slot, mark, taken = std::move(image)] {
    write(slot, mark, taken);
    is_writing_ = false;
  });
}

// A failure costs the next opening some time and nothing else.
void SnapshotKeeper::write(int slot, const LogMark& mark, const StateImage& image) {
  Status written = write_snapshot(*files_[slot], mark, image);
  if (!written.ok()) return log_warn("ledger", "no snapshot: {}", written.error().message);
  slot_next_ = 1 - slot;
}

}  // namespace tg::ledger
