#include "ledger/log_store.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "env/disk.h"
#include "ledger/id.h"
#include "ledger/id_index.h"
#include "ledger/log_frame.h"
#include "ledger/log_reader.h"
#include "ledger/log_source.h"

namespace tg::ledger {

namespace {

constexpr i64 kDocumentsPageMax = 10'000;
constexpr u64 kLogRoomBytesMax = u64{1} << 20;
// How far ahead of the entry in hand the places of later ids are fetched into the cache.
constexpr u32 kPrefetchEntries = 16;

struct DocumentPlace {
  u128 id = 0;
  u64 offset = 0;  // In the file.
  u32 bytes = 0;
};

// A batch on its way to the file.
struct StagedFrame {
  Status status;  // Why it cannot be written.
  u64 offset = 0;
  u64 size = 0;  // 0: the batch has nothing to write.
  u64 commit = 0;
  u64 entries_end = 0;  // How many entries the log has with this frame.
  // What seal() makes it of; nullptr if it has documents and so was made when it was staged.
  const Effects* effects = nullptr;
  std::vector<u8> bytes;
  bool is_sealed = false;
};

}  // namespace

struct LogStore::State {
  class Restorer;
  explicit State(AppendFile opened) : file(std::move(opened)) {}
  // Machines may outlive the store.
  ~State() { lend_source(nullptr); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void lend_source(std::shared_ptr<LogSource> next);
  Status settle_end(const LogEnd& end);
  void collect_documents(u64 offset, const FrameView& frame);
  Result<AuditReport> load(StateMachine& machine);
  Status write_frame(StagedFrame& frame, const Effects& effects,
                     std::span<DocumentWrite> documents);
  void seal();
  Status sync();
  Status settle_document(DocumentWrite& write);
  const DocumentPlace* find_document(u128 id) const;
  Result<std::string> read_document(const DocumentPlace& place) const;
  Result<std::string> read_staged_document(const DocumentPlace& place) const;

  std::unique_ptr<SnapshotKeeper> snapshots;  // nullptr: none are kept.
  bool is_settled = false;                    // a torn end was cut, or there was none
  Journal::Window window;
  std::shared_ptr<LogSource> source;  // Shared with the machine that was loaded.

  // stage() goes ahead of the file, by up to all of these frames:
  std::array<StagedFrame, kStagedMax> frames;
  u64 staged_count = 0;
  u64 next_offset = 0;  // where the next frame will lie
  u64 commits = 0;
  std::vector<DocumentPlace> documents;  // In order of storing.
  IdIndex document_index;
  std::vector<const Document*> new_documents;  // of the batch being staged
  std::map<u128, const Document*> new_documents_by_id;

  // seal() follows, perhaps on another thread; it has these, and the oldest frame without a digest:
  u64 sealed_count = 0;
  Digest digest{};

  // sync() follows that, perhaps on a third; it has these, and of `frames` the oldest to read:
  AppendFile file;
  u64 synced_count = 0;
  bool can_commit = false;
  bool has_failed = false;
};

// --- opening ------------------------------------------------------------------------------------

Result<std::unique_ptr<LogStore>> LogStore::open(const std::string& directory,
                                                 SnapshotOptions options) {
  TG_TRY(ensure_writable_directory(directory));
  TG_ASSIGN(AppendFile file, AppendFile::open(directory + "/" + kLogFileName, kLogRoomBytesMax));
  SnapshotFiles snapshots;
  for (std::size_t i = 0; i < snapshots.size(); ++i) {
    TG_ASSIGN(snapshots[i], open_locked_file(directory + "/" + kSnapshotFileNames[i]));
  }
  return over(std::move(file), std::move(snapshots), options);
}

std::unique_ptr<LogStore> LogStore::over(AppendFile file, SnapshotFiles snapshots,
                                         SnapshotOptions options) {
  std::unique_ptr<LogStore> store = over(std::move(file));
  store->state_->snapshots = std::make_unique<SnapshotKeeper>(std::move(snapshots), options);
  return store;
}

std::unique_ptr<LogStore> LogStore::over(AppendFile file) {
  return std::unique_ptr<LogStore>(new LogStore(std::make_unique<State>(std::move(file))));
}

LogStore::LogStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
LogStore::~LogStore() = default;

void LogStore::set_window(Journal::Window window) {
  state_->window = window;
}

const std::string& LogStore::path() const {
  return state_->file.path();
}

// --- loading ------------------------------------------------------------------------------------

Result<AuditReport> LogStore::load(StateMachine& machine) {
  TG_ASSERT(machine.journal_size() == 0 && machine.accounts().empty());
  state_->can_commit = false;
  Result<AuditReport> report = state_->load(machine);
  state_->can_commit = report.ok() && !state_->has_failed;
  return report;
}

void LogStore::State::lend_source(std::shared_ptr<LogSource> next) {
  if (source != nullptr) source->close();
  source = std::move(next);
}

static Status restore_account(const FrameView& frame, u32 i, StateMachine& machine) {
  TG_ASSIGN(ChangedAccount changed, frame.account(i));
  u64 known = machine.accounts().size();
  bool fits = changed.is_new ? changed.number == known + 1
                             : changed.number >= 1 && changed.number <= known &&
                                   machine.accounts()[changed.number - 1].id == changed.account.id;
  if (!fits)
    return Error{Code::kCorrupt, "account " + to_hex(changed.account.id) + " is number " +
                                     std::to_string(changed.number) + " of " +
                                     std::to_string(known)};
  Account& account = changed.account;
  account.debits_pending = account.debits_posted = 0;
  account.credits_pending = account.credits_posted = 0;
  return machine.restore_account(account);
}

static Status restore_frame(const FrameView& frame, StateMachine& machine) {
  for (u32 i = 0; i < frame.header().accounts; ++i) TG_TRY(restore_account(frame, i, machine));
  u32 entries = frame.header().entries;
  for (u32 i = 0; i < entries; ++i) {
    if (i + kPrefetchEntries < entries) machine.prefetch(frame.entry_id(i + kPrefetchEntries));
    TG_ASSIGN(JournalEntry entry, frame.entry(i));
    TG_TRY(machine.restore_entry(entry));
  }
  return {};
}

static Result<AuditReport> report_on(const AppendFile& file, const StateMachine& machine,
                                     const LogEnd& end) {
  Status sums = check_sums(machine);
  if (!sums.ok()) return corrupt_at(file, end.bytes, sums.error().message);
  return AuditReport{.accounts = static_cast<i64>(machine.accounts().size()),
                     .journal_entries = machine.journal_size(),
                     .holds_open = machine.pending_count(),
                     .commits = static_cast<i64>(end.commits)};
}

void LogStore::State::collect_documents(u64 offset, const FrameView& frame) {
  for (const FrameDocument& d : frame.documents()) {
    document_index.insert(d.id, static_cast<u32>(documents.size()) + 1);
    documents.push_back(
        {.id = d.id, .offset = offset + kFrameHeaderBytes + d.offset, .bytes = d.bytes});
  }
}

static Status check_whole(const AppendFile& file, const LogEnd& end) {
  if (end.torn_bytes == 0) return {};
  return corrupt_at(file, end.bytes, "the last commit is torn");
}

// Only a crash before this process tears a frame; later it is damage. The last whole frame may be
// one that was written and not synced: its reader is about to answer from it.
Status LogStore::State::settle_end(const LogEnd& end) {
  if (is_settled) return check_whole(file, end);
  if (end.torn_bytes > 0)
    log_warn("ledger", "{}: cut {} bytes of a commit that a crash tore", file.path(),
             end.torn_bytes);
  if (end.bytes < file.size()) TG_TRY(file.truncate(end.bytes));
  TG_TRY(file.settle(end.last_frame));
  is_settled = true;
  return {};
}

// What a load does with a frame: the first ones are as the snapshot says, the rest is decided.
class LogStore::State::Restorer {
 public:
  Restorer(StateMachine& machine, const Snapshot* snapshot)
      : machine_(machine), snapshot_(snapshot) {}

  Status begin() {
    if (snapshot_ == nullptr) return {};
    return machine_.begin_restored(snapshot_->accounts(), snapshot_->entries_last(),
                                   snapshot_->header().entries);
  }
  Status restore(u64 offset, const FrameView& frame) {
    if (snapshot_ != nullptr && offset < snapshot_->header().mark.bytes) return place(frame);
    TG_TRY(end());
    return restore_frame(frame, machine_);
  }
  Status end() {
    if (snapshot_ == nullptr) return {};
    if (machine_.journal_size() != std::exchange(snapshot_, nullptr)->header().entries)
      return Error{Code::kCorrupt, "snapshot: the log has fewer entries"};
    return machine_.end_restored();
  }

 private:
  Status place(const FrameView& frame) {
    u32 entries = frame.header().entries;
    if (machine_.journal_size() + entries > snapshot_->header().entries)
      return Error{Code::kCorrupt, "snapshot: the log has more entries"};
    for (u32 i = 0; i < entries; ++i) {
      if (i + kPrefetchEntries < entries) machine_.prefetch(frame.entry_id(i + kPrefetchEntries));
      TG_ASSIGN(JournalEntry entry, frame.entry(i));
      EntryLinks links = snapshot_->links(machine_.journal_size() + 1);
      TG_TRY(machine_.restore_decided(entry, links));
    }
    return {};
  }

  StateMachine& machine_;
  const Snapshot* snapshot_;  // nullptr from its end on.
};

Result<AuditReport> LogStore::State::load(StateMachine& machine) {
  std::optional<Snapshot> snapshot;
  if (snapshots != nullptr) {
    TG_ASSIGN(snapshot, snapshots->newest());
  }
  documents.clear();
  document_index = IdIndex();
  lend_source(std::make_shared<LogSource>(file));
  machine.read_back_from(source, window);
  Restorer restorer(machine, snapshot ? &*snapshot : nullptr);
  Status begun = restorer.begin();
  if (!begun.ok()) return corrupt_at(file, 0, begun.error().message);
  LogVisit restore = [&](u64 offset, const FrameView& frame) -> Status {
    const FrameHeader& header = frame.header();
    collect_documents(offset, frame);
    source->note_frame(offset, header.position_first);
    TG_TRY(restorer.restore(offset, frame));
    source->note_readable(offset + frame_bytes(header), machine.journal_size());
    return {};
  };
  TG_ASSIGN(LogEnd last, walk_log(file, restore, snapshot ? &snapshot->header().mark : nullptr));
  Status ended = restorer.end();
  if (!ended.ok()) return corrupt_at(file, last.bytes, ended.error().message);
  TG_TRY(settle_end(last));
  digest = last.digest;
  commits = last.commits;
  next_offset = last.bytes;
  return report_on(file, machine, last);
}

// Every entry decided again; each snapshot must be what its place in the log leads to.
static Result<LogEnd> replay_log(const AppendFile& file, std::span<const Snapshot> snapshots,
                                 StateMachine& machine) {
  std::size_t compared = 0;
  auto check_here = [&](u64 bytes) -> Status {
    for (const Snapshot& snapshot : snapshots) {
      if (snapshot.header().mark.bytes != bytes) continue;
      TG_TRY(compare(snapshot, machine.image()));
      ++compared;
    }
    return {};
  };
  LogVisit restore = [&](u64 offset, const FrameView& frame) -> Status {
    TG_TRY(check_here(offset));
    return restore_frame(frame, machine);
  };
  const LogMark* last = nullptr;
  for (const Snapshot& snapshot : snapshots) {
    const LogMark& mark = snapshot.header().mark;
    if (last == nullptr || mark.bytes > last->bytes) last = &mark;
  }
  TG_ASSIGN(LogEnd end, walk_log(file, restore, last));
  Status agrees = check_here(end.bytes);
  if (!agrees.ok()) return corrupt_at(file, end.bytes, agrees.error().message);
  if (compared != snapshots.size())
    return corrupt_at(file, end.bytes, "a snapshot beside it is of another log");
  return end;
}

Result<AuditReport> LogStore::replay(StateMachine& machine) {
  std::vector<Snapshot> snapshots;
  if (state_->snapshots != nullptr) snapshots = state_->snapshots->all();
  if (state_->source != nullptr) machine.read_back_from(state_->source, state_->window);
  TG_ASSIGN(LogEnd end, replay_log(state_->file, snapshots, machine));
  TG_TRY(check_whole(state_->file, end));
  return report_on(state_->file, machine, end);
}

// One that a writer is just writing is not whole and says nothing.
static std::vector<Snapshot> snapshots_beside(const std::string& directory) {
  std::vector<Snapshot> out;
  for (const char* name : kSnapshotFileNames) {
    Result<std::unique_ptr<File>> opened = open_file_to_read(directory + "/" + name);
    if (!opened.ok()) continue;
    Result<SnapshotHeader> header = Snapshot::read_header(**opened);
    if (!header.ok()) continue;
    Result<Snapshot> snapshot = Snapshot::read(**opened, *header);
    if (snapshot.ok()) out.push_back(std::move(snapshot).value());
  }
  return out;
}

Result<AuditReport> LogStore::read(const std::string& directory, StateMachine& machine) {
  // The snapshots first: what they cover is in the log by then.
  std::vector<Snapshot> snapshots = snapshots_beside(directory);
  TG_ASSIGN(std::unique_ptr<File> opened, open_file_to_read(directory + "/" + kLogFileName));
  TG_ASSIGN(AppendFile file, AppendFile::over(std::move(opened)));
  TG_ASSIGN(LogEnd end, replay_log(file, snapshots, machine));
  return report_on(file, machine, end);
}

Status LogStore::check_medium() {
  TG_ASSIGN(LogEnd end, walk_log(state_->file, [](u64, const FrameView&) { return Status{}; }));
  return check_whole(state_->file, end);
}

// --- committing ---------------------------------------------------------------------------------

Status LogStore::commit(const Effects& effects, std::span<DocumentWrite> documents) {
  stage(effects, documents);
  return sync();
}

void LogStore::stage(const Effects& effects, std::span<DocumentWrite> documents) {
  StagedFrame& frame = state_->frames[state_->staged_count % state_->frames.size()];
  frame.status = state_->write_frame(frame, effects, documents);
  ++state_->staged_count;
}

void LogStore::seal() {
  state_->seal();
}

Status LogStore::sync() {
  State& s = *state_;
  Status synced = s.sync();
  if (synced.ok()) return {};
  s.has_failed = true;
  s.can_commit = false;
  return synced;
}

bool LogStore::wants_snapshot(const StateMachine& machine) const {
  return state_->snapshots != nullptr && state_->snapshots->is_due(machine.journal_size());
}

void LogStore::offer_snapshot(const StateMachine& machine) {
  State& s = *state_;
  TG_ASSERT(s.staged_count == s.synced_count);
  if (!s.can_commit || !wants_snapshot(machine)) return;
  TG_ASSERT(s.next_offset == s.file.size());
  LogMark mark{.bytes = s.file.size(), .commits = s.commits, .digest = s.digest};
  s.snapshots->take(mark, machine.image());
}

const DocumentPlace* LogStore::State::find_document(u128 id) const {
  u32 found = document_index.find(id, [&](u32 value) { return documents[value - 1].id; });
  return found == IdIndex::kNone ? nullptr : &documents[found - 1];
}

// The first bytes under an id stay, whether they are in the file or earlier in this batch.
Status LogStore::State::settle_document(DocumentWrite& write) {
  TG_ASSERT(write.document != nullptr);
  const Document& document = *write.document;
  auto status_of = [&](std::string_view known) {
    return known == document.bytes ? DocumentStatus::kExists
                                   : DocumentStatus::kExistsWithDifferentBytes;
  };
  if (const DocumentPlace* place = find_document(document.id)) {
    TG_ASSIGN(std::string known, read_staged_document(*place));
    write.status = status_of(known);
    return {};
  }
  auto [known, is_new] = new_documents_by_id.try_emplace(document.id, &document);
  write.status = is_new ? DocumentStatus::kOk : status_of(known->second->bytes);
  if (is_new) new_documents.push_back(&document);
  return {};
}

Status LogStore::State::write_frame(StagedFrame& frame, const Effects& effects,
                                    std::span<DocumentWrite> writes) {
  new_documents.clear();
  new_documents_by_id.clear();
  frame.is_sealed = false;
  frame.offset = next_offset;
  frame.size = 0;
  frame.effects = &effects;
  for (DocumentWrite& write : writes) TG_TRY(settle_document(write));
  if (effects.empty() && new_documents.empty()) return {};
  frame.commit = ++commits;
  frame.entries_end = effects.position_first - 1 + effects.entries.size();
  source->note_frame(frame.offset, effects.position_first);
  if (new_documents.empty()) {
    frame.size = frame_bytes(effects);
    next_offset += frame.size;
    return {};
  }
  make_frame(frame.bytes, frame.commit, effects, new_documents);
  frame.effects = nullptr;
  frame.size = frame.bytes.size();
  next_offset += frame.size;
  // The frame as a reader sees it says where its documents lie.
  std::span<const u8> all(frame.bytes);
  TG_ASSIGN(FrameHeader header, parse_header(all));
  TG_ASSIGN(FrameView view,
            FrameView::parse(header, all.subspan(kFrameHeaderBytes, header.payload_bytes)));
  collect_documents(frame.offset, view);
  return {};
}

void LogStore::State::seal() {
  StagedFrame& frame = frames[sealed_count++ % frames.size()];
  TG_ASSERT(!frame.is_sealed);
  frame.is_sealed = true;
  if (!frame.status.ok() || frame.size == 0) return;
  if (frame.effects != nullptr) make_frame(frame.bytes, frame.commit, *frame.effects, {});
  TG_ASSERT(frame.bytes.size() == frame.size);
  digest = seal_frame(frame.bytes, digest);
}

Status LogStore::State::sync() {
  if (!frames[synced_count % frames.size()].is_sealed) seal();
  const StagedFrame& frame = frames[synced_count++ % frames.size()];
  if (!can_commit) return Error{Code::kUnavailable, "ledger " + file.path() + " failed; reopen it"};
  TG_TRY(frame.status);
  if (frame.size == 0) return {};
  TG_ASSERT(frame.offset == file.size());
  TG_TRY(file.append_durably(frame.bytes));
  source->note_readable(file.size(), frame.entries_end);
  return {};
}

// --- documents ----------------------------------------------------------------------------------

Result<std::string> LogStore::State::read_document(const DocumentPlace& place) const {
  std::vector<u8> bytes(place.bytes);
  TG_TRY(file.read(place.offset, bytes));
  return std::string(as_text(bytes));
}

// While staging: what the frames before have may not be in the file yet.
Result<std::string> LogStore::State::read_staged_document(const DocumentPlace& place) const {
  for (const StagedFrame& frame : frames) {
    if (frame.effects != nullptr) continue;
    std::span<const u8> bytes(frame.bytes);
    bool is_here = place.offset >= frame.offset && place.offset - frame.offset < bytes.size();
    if (is_here)
      return std::string(as_text(bytes.subspan(place.offset - frame.offset, place.bytes)));
  }
  return read_document(place);
}

Result<std::string> LogStore::read_document(u128 id) {
  const DocumentPlace* place = state_->find_document(id);
  if (place == nullptr) return Error{Code::kNotFound, "no document " + to_hex(id)};
  return state_->read_document(*place);
}

// Neighbours are read at once, with what lies between them: one call of the system for many.
Result<std::vector<StoredDocument>> LogStore::documents_after(u64 sequence, i64 limit) {
  constexpr u64 kReadBytes = u64{256} << 10;
  std::vector<StoredDocument> out;
  u64 count = static_cast<u64>(std::clamp<i64>(limit, 1, kDocumentsPageMax));
  const std::vector<DocumentPlace>& all = state_->documents;
  u64 end = sequence < all.size() ? sequence + std::min<u64>(count, all.size() - sequence) : 0;
  std::vector<u8> bytes;
  for (u64 first = sequence; first < end;) {
    u64 from = all[first].offset;
    u64 next = first + 1;
    while (next < end && all[next].offset + all[next].bytes - from <= kReadBytes) ++next;
    bytes.resize(all[next - 1].offset + all[next - 1].bytes - from);
    TG_TRY(state_->file.read(from, bytes));
    std::string_view text = as_text(bytes);
    for (; first < next; ++first) {
      const DocumentPlace& place = all[first];
      out.push_back({.sequence = first + 1,
                     .id = place.id,
                     .bytes = std::string(text.substr(place.offset - from, place.bytes))});
    }
  }
  return out;
}

}  // namespace tg::ledger
