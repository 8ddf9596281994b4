#include "ledger/log_store.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "env/append_file.h"
#include "env/disk.h"
#include "ledger/id.h"
#include "ledger/id_index.h"
#include "ledger/log_frame.h"

namespace tg::ledger {

namespace {

constexpr i64 kDocumentsPageMax = 10'000;
constexpr std::size_t kSectorBytes = 512;

struct DocumentPlace {
  u128 id = 0;
  u64 offset = 0;  // In the file.
  u32 bytes = 0;
};

// A disk writes sectors whole, so a torn write leaves one that was never written. Documents are the
// only place where a frame could hold so many zeros, and they are text.
bool has_unwritten_sector(std::span<const u8> bytes, u64 file_offset) {
  std::size_t at = (kSectorBytes - file_offset % kSectorBytes) % kSectorBytes;
  for (; at + kSectorBytes <= bytes.size(); at += kSectorBytes) {
    std::span<const u8> sector = bytes.subspan(at, kSectorBytes);
    if (std::all_of(sector.begin(), sector.end(), [](u8 b) { return b == 0; })) return true;
  }
  return false;
}

}  // namespace

struct LogStore::State {
  explicit State(AppendFile opened) : file(std::move(opened)) {}

  Error corrupt(u64 offset, const std::string& what) const {
    return Error{Code::kCorrupt,
                 "ledger " + file.path() + ": at byte " + std::to_string(offset) + ": " + what};
  }

  // A frame at `offset`: its bytes, or how it fails to be one.
  enum class Reading : u8 { kWhole, kTorn };
  struct Read {
    Reading reading = Reading::kWhole;
    FrameHeader header;
    std::vector<u8> bytes;  // header, payload, digest
  };
  Result<Read> read_frame(u64 offset, const Digest& previous) const;
  Result<Read> torn_or_corrupt(u64 offset, std::span<const u8> bytes,
                               const std::string& what) const;

  using Visit = std::function<Status(u64 offset, const FrameHeader&, const Frame&)>;
  // Visits every whole frame in order; returns where they end. A torn end is not an error.
  Result<u64> walk(const Visit& visit, Digest& digest, u64& commits) const;

  Status settle_end(u64 end);
  Status collect_accounts(const Frame& frame, std::vector<Account>& accounts) const;
  void collect_documents(u64 offset, const Frame& frame);
  Result<AuditReport> load(StateMachine& machine);
  Status write(const Effects& effects, std::span<DocumentWrite> documents);
  Status settle_document(DocumentWrite& write);
  const DocumentPlace* find_document(u128 id) const;
  Result<std::string> read_document(const DocumentPlace& place) const;

  AppendFile file;
  bool is_settled = false;  // a torn end was cut, or there was none
  Digest digest{};
  u64 commits = 0;
  std::vector<DocumentPlace> documents;  // In order of storing.
  IdIndex document_index;
  std::vector<u8> buffer;
  std::vector<const Document*> new_documents;  // of the commit being written
  std::map<u128, const Document*> new_documents_by_id;
  bool can_commit = false;
  bool has_failed = false;
};

// --- opening ------------------------------------------------------------------------------------

Result<std::unique_ptr<LogStore>> LogStore::open(const std::string& directory) {
  TG_TRY(ensure_writable_directory(directory));
  TG_ASSIGN(AppendFile file, AppendFile::open(directory + "/" + kLogFileName));
  std::unique_ptr<State> state = std::make_unique<State>(std::move(file));
  return std::unique_ptr<LogStore>(new LogStore(std::move(state)));
}

LogStore::LogStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
LogStore::~LogStore() = default;

const std::string& LogStore::path() const {
  return state_->file.path();
}

// The last frame may be torn: what a crash left of a commit that nobody was told of.
Result<LogStore::State::Read> LogStore::State::torn_or_corrupt(u64 offset,
                                                               std::span<const u8> bytes,
                                                               const std::string& what) const {
  bool is_last = offset + bytes.size() >= file.size();
  if (is_last && has_unwritten_sector(bytes, offset)) return Read{.reading = Reading::kTorn};
  return corrupt(offset, what);
}

Result<LogStore::State::Read> LogStore::State::read_frame(u64 offset,
                                                          const Digest& previous) const {
  u64 left = file.size() - offset;
  if (left < kFrameHeaderBytes) return Read{.reading = Reading::kTorn};
  Read read;
  read.bytes.resize(kFrameHeaderBytes);
  TG_TRY(file.read(offset, read.bytes));
  Result<FrameHeader> header = parse_header(read.bytes);
  if (!header.ok()) {
    // An unwritten header hides how long the frame was: everything to the end is it.
    std::vector<u8> rest(std::min<u64>(left, kFramePayloadBytesMax));
    TG_TRY(file.read(offset, rest));
    return torn_or_corrupt(offset, rest, header.error().message);
  }
  read.header = *header;
  u64 size = kFrameHeaderBytes + u64{header->payload_bytes} + kFrameDigestBytes;
  if (size > left) return Read{.reading = Reading::kTorn};
  read.bytes.resize(size);
  TG_TRY(file.read(offset, read.bytes));
  std::span<const u8> all(read.bytes);
  Digest expected = frame_digest(previous, all.first(size - kFrameDigestBytes));
  std::span<const u8> stored = all.last(kFrameDigestBytes);
  if (!std::equal(expected.begin(), expected.end(), stored.begin()))
    return torn_or_corrupt(offset, all, "the digest does not match the commit");
  return read;
}

Result<u64> LogStore::State::walk(const Visit& visit, Digest& chain, u64& count) const {
  u64 offset = 0;
  u64 position = 1;
  chain = Digest{};
  count = 0;
  while (offset < file.size()) {
    TG_ASSIGN(Read read, read_frame(offset, chain));
    if (read.reading == Reading::kTorn) break;
    const FrameHeader& header = read.header;
    if (header.commit != count + 1)
      return corrupt(offset,
                     "commit " + std::to_string(header.commit) + " after " + std::to_string(count));
    if (header.entries > 0 && header.position_first != position)
      return corrupt(offset, "entry " + std::to_string(header.position_first) + ", expected " +
                                 std::to_string(position));
    std::span<const u8> all(read.bytes);
    Result<Frame> frame =
        parse_payload(header, all.subspan(kFrameHeaderBytes, header.payload_bytes));
    if (!frame.ok()) return corrupt(offset, frame.error().message);
    TG_TRY(visit(offset, header, *frame));
    std::copy(all.end() - kFrameDigestBytes, all.end(), chain.begin());
    position += header.entries;
    ++count;
    offset += all.size();
  }
  return offset;
}

// --- loading ------------------------------------------------------------------------------------

Result<AuditReport> LogStore::load(StateMachine& machine) {
  TG_ASSERT(machine.journal_size() == 0 && machine.accounts().empty());
  state_->can_commit = false;
  Result<AuditReport> report = state_->load(machine);
  state_->can_commit = report.ok() && !state_->has_failed;
  return report;
}

Status LogStore::State::collect_accounts(const Frame& frame, std::vector<Account>& out) const {
  for (const ChangedAccount& changed : frame.accounts) {
    bool fits = changed.is_new ? changed.number == out.size() + 1
                               : changed.number >= 1 && changed.number <= out.size();
    if (!fits)
      return Error{Code::kCorrupt, "account number " + std::to_string(changed.number) + " of " +
                                       std::to_string(out.size())};
    if (changed.is_new) {
      out.push_back(changed.account);
    } else if (out[changed.number - 1].id == changed.account.id) {
      out[changed.number - 1].flags = changed.account.flags;
    } else {
      return Error{Code::kCorrupt, "account " + std::to_string(changed.number) + " is not " +
                                       to_hex(changed.account.id)};
    }
  }
  return {};
}

void LogStore::State::collect_documents(u64 offset, const Frame& frame) {
  for (const FrameDocument& d : frame.documents) {
    document_index.insert(d.id, static_cast<u32>(documents.size()) + 1);
    documents.push_back(
        {.id = d.id, .offset = offset + kFrameHeaderBytes + d.offset, .bytes = d.bytes});
  }
}

// Only a crash before this process tears a frame; later it is damage.
Status LogStore::State::settle_end(u64 end) {
  u64 torn = file.size() - end;
  if (torn > 0 && is_settled) return corrupt(end, "the last commit is torn");
  is_settled = true;
  if (torn == 0) return {};
  log_warn("ledger", "{}: cut {} bytes of a commit that a crash tore", file.path(), torn);
  return file.truncate(end);
}

// Two walks: the accounts first, as restoring wants them, then the entries.
Result<AuditReport> LogStore::State::load(StateMachine& machine) {
  documents.clear();
  document_index = IdIndex();
  std::vector<Account> accounts;
  Visit first = [&](u64 offset, const FrameHeader&, const Frame& frame) -> Status {
    Status collected = collect_accounts(frame, accounts);
    if (!collected.ok()) return corrupt(offset, collected.error().message);
    collect_documents(offset, frame);
    return {};
  };
  TG_ASSIGN(u64 end, walk(first, digest, commits));
  TG_TRY(settle_end(end));
  for (Account& account : accounts) {
    account.debits_pending = account.debits_posted = 0;
    account.credits_pending = account.credits_posted = 0;
    Status restored = machine.restore_account(account);
    if (!restored.ok()) return corrupt(0, restored.error().message);
  }
  Visit second = [&](u64 offset, const FrameHeader&, const Frame& frame) -> Status {
    for (const JournalEntry& entry : frame.entries) {
      Status restored = machine.restore_entry(entry);
      if (!restored.ok()) return corrupt(offset, restored.error().message);
    }
    return {};
  };
  TG_TRY(walk(second, digest, commits));
  Status sums = check_sums(machine);
  if (!sums.ok()) return corrupt(file.size(), sums.error().message);
  return AuditReport{.accounts = static_cast<i64>(accounts.size()),
                     .journal_entries = machine.journal_size(),
                     .holds_open = machine.pending_count(),
                     .commits = static_cast<i64>(commits)};
}

Status LogStore::check_medium() {
  Digest digest{};
  u64 commits = 0;
  TG_ASSIGN(u64 end, state_->walk([](u64, const FrameHeader&, const Frame&) { return Status{}; },
                                  digest, commits));
  if (end == state_->file.size()) return {};
  return state_->corrupt(end, "the last commit is torn");
}

// --- committing ---------------------------------------------------------------------------------

Status LogStore::commit(const Effects& effects, std::span<DocumentWrite> documents) {
  State& s = *state_;
  if (!s.can_commit) return Error{Code::kUnavailable, "ledger " + path() + " failed; reopen it"};
  Status written = s.write(effects, documents);
  if (written.ok()) return {};
  s.has_failed = true;
  s.can_commit = false;
  return written;
}

const DocumentPlace* LogStore::State::find_document(u128 id) const {
  u32 found = document_index.find(id, [&](u32 value) { return documents[value - 1].id; });
  return found == IdIndex::kNone ? nullptr : &documents[found - 1];
}

// The first bytes under an id stay, whether they are in the file or earlier in this commit.
Status LogStore::State::settle_document(DocumentWrite& write) {
  TG_ASSERT(write.document != nullptr);
  const Document& document = *write.document;
  auto status_of = [&](std::string_view known) {
    return known == document.bytes ? DocumentStatus::kExists
                                   : DocumentStatus::kExistsWithDifferentBytes;
  };
  if (const DocumentPlace* place = find_document(document.id)) {
    TG_ASSIGN(std::string known, read_document(*place));
    write.status = status_of(known);
    return {};
  }
  auto [known, is_new] = new_documents_by_id.try_emplace(document.id, &document);
  write.status = is_new ? DocumentStatus::kOk : status_of(known->second->bytes);
  if (is_new) new_documents.push_back(&document);
  return {};
}

Status LogStore::State::write(const Effects& effects, std::span<DocumentWrite> writes) {
  new_documents.clear();
  new_documents_by_id.clear();
  for (DocumentWrite& write : writes) TG_TRY(settle_document(write));
  if (effects.empty() && new_documents.empty()) return {};
  buffer.clear();
  Digest next = append_frame(buffer, digest, commits + 1, effects, new_documents);
  u64 offset = file.size();
  TG_TRY(file.append_durably(buffer));
  digest = next;
  ++commits;
  // The frame as a reader sees it says where its documents lie.
  if (new_documents.empty()) return {};
  std::span<const u8> all(buffer);
  TG_ASSIGN(FrameHeader header, parse_header(all));
  TG_ASSIGN(Frame frame,
            parse_payload(header, all.subspan(kFrameHeaderBytes, header.payload_bytes)));
  collect_documents(offset, frame);
  return {};
}

// --- documents ----------------------------------------------------------------------------------

Result<std::string> LogStore::State::read_document(const DocumentPlace& place) const {
  std::vector<u8> bytes(place.bytes);
  TG_TRY(file.read(place.offset, bytes));
  return std::string(as_text(bytes));
}

Result<std::string> LogStore::read_document(u128 id) {
  const DocumentPlace* place = state_->find_document(id);
  if (place == nullptr) return Error{Code::kNotFound, "no document " + to_hex(id)};
  return state_->read_document(*place);
}

Result<std::vector<StoredDocument>> LogStore::documents_after(u64 sequence, i64 limit) {
  std::vector<StoredDocument> out;
  u64 count = static_cast<u64>(std::clamp<i64>(limit, 1, kDocumentsPageMax));
  const std::vector<DocumentPlace>& all = state_->documents;
  for (u64 at = sequence; at < all.size() && out.size() < count; ++at) {
    TG_ASSIGN(std::string bytes, state_->read_document(all[at]));
    out.push_back({.sequence = at + 1, .id = all[at].id, .bytes = std::move(bytes)});
  }
  return out;
}

}  // namespace tg::ledger
