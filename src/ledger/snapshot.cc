#include "ledger/snapshot.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string>

#include "base/assert.h"
#include "base/bytes.h"

namespace tg::ledger {

namespace {

constexpr u32 kMagic = 0x534C4754;  // "TGLS"
constexpr u16 kVersion = 1;
constexpr u64 kAccountBytes = sizeof(Account) + 8;
constexpr u64 kLinksBytes = sizeof(EntryLinks);
constexpr u64 kPieceBytes = u64{1} << 20;
constexpr u64 kAccountsMax = 0xFFFF'FFFEu;
// The structs are written as they lie in memory.
static_assert(std::endian::native == std::endian::little);

Error corrupt(const File& file, const std::string& what) {
  return Error{Code::kCorrupt, file.path() + ": " + what};
}

void append_bytes(std::vector<u8>& out, const void* bytes, std::size_t count) {
  const u8* first = static_cast<const u8*>(bytes);
  out.insert(out.end(), first, first + count);
}

void append_account(std::vector<u8>& out, const Account& account, u32 entry_last) {
  append_bytes(out, &account, sizeof(Account));
  // The bytes between flags and timestamp belong to no field.
  static_assert(offsetof(Account, flags) == 114 && offsetof(Account, timestamp_ns) == 120);
  std::fill_n(out.end() - 12, 4, u8{0});
  append_u32(out, entry_last);
  append_u32(out, 0);
}

std::vector<u8> header_bytes(const SnapshotHeader& header) {
  std::vector<u8> out;
  append_u32(out, kMagic);
  append_u16(out, kVersion);
  append_u16(out, 0);
  for (u64 field : {header.mark.commits, header.mark.bytes, header.accounts, header.entries})
    append_u64(out, field);
  append_bytes(out, header.mark.digest.data(), header.mark.digest.size());
  append_bytes(out, header.body.data(), header.body.size());
  Digest check = sha256(out);
  append_bytes(out, check.data(), check.size());
  TG_ASSERT(out.size() == kSnapshotHeaderBytes);
  return out;
}

Status write_all(File& file, u64 offset, std::span<const u8> bytes) {
  while (!bytes.empty()) {
    TG_ASSIGN(u64 count, file.write_at(offset, bytes));
    offset += count;
    bytes = bytes.subspan(count);
  }
  return {};
}

// Pieces of the body, digested and written as they fill.
class BodyWriter {
 public:
  explicit BodyWriter(File& file) : file_(file) {}
  std::vector<u8>& piece() { return piece_; }
  Status flush(u64 bytes_min) {
    if (piece_.size() < bytes_min || piece_.empty()) return {};
    hash_.update(piece_);
    TG_TRY(write_all(file_, offset_, piece_));
    offset_ += piece_.size();
    piece_.clear();
    return {};
  }
  Digest digest() { return hash_.finish(); }

 private:
  File& file_;
  Sha256 hash_;
  u64 offset_ = kSnapshotHeaderBytes;
  std::vector<u8> piece_;
};

Status write_body(BodyWriter& out, const StateImage& image) {
  for (std::size_t i = 0; i < image.accounts().size(); ++i) {
    append_account(out.piece(), image.accounts()[i], image.entries_last()[i]);
    TG_TRY(out.flush(kPieceBytes));
  }
  for (u64 p = 1; p <= image.entries(); ++p) {
    EntryLinks links = image.links(p);
    append_bytes(out.piece(), &links, sizeof(links));
    TG_TRY(out.flush(kPieceBytes));
  }
  return out.flush(0);
}

u64 body_bytes(const SnapshotHeader& header) {
  return header.accounts * kAccountBytes + header.entries * kLinksBytes;
}

Digest digest_from(std::span<const u8> bytes) {
  Digest digest{};
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

template <typename T>
T struct_at(std::span<const u8> bytes, u64 offset) {
  T value;
  TG_ASSERT(offset + sizeof(T) <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace

// --- writing ------------------------------------------------------------------------------------

Status write_snapshot(File& file, const LogMark& mark, const StateImage& image) {
  SnapshotHeader header{
      .mark = mark, .accounts = image.accounts().size(), .entries = image.entries()};
  TG_TRY(file.set_size(kSnapshotHeaderBytes + body_bytes(header)));
  BodyWriter body(file);
  TG_TRY(write_body(body, image));
  header.body = body.digest();
  TG_TRY(write_all(file, 0, header_bytes(header)));
  return file.sync();
}

// --- reading ------------------------------------------------------------------------------------

Result<SnapshotHeader> Snapshot::read_header(const File& file) {
  std::vector<u8> bytes(kSnapshotHeaderBytes);
  TG_ASSIGN(u64 count, file.read_at(0, bytes));
  if (count == 0) return Error{Code::kNotFound, file.path() + ": empty"};
  if (count != bytes.size()) return corrupt(file, "ends inside its header");
  Reader in(bytes, "snapshot");
  TG_ASSIGN(u32 magic, in.u32_le());
  TG_ASSIGN(u16 version, in.u16_le());
  TG_TRY(in.skip(2));
  SnapshotHeader header;
  TG_ASSIGN(header.mark.commits, in.u64_le());
  TG_ASSIGN(header.mark.bytes, in.u64_le());
  TG_ASSIGN(header.accounts, in.u64_le());
  TG_ASSIGN(header.entries, in.u64_le());
  TG_ASSIGN(std::span<const u8> log_digest, in.bytes(header.mark.digest.size()));
  TG_ASSIGN(std::span<const u8> body_digest, in.bytes(header.body.size()));
  header.mark.digest = digest_from(log_digest);
  header.body = digest_from(body_digest);
  u64 checked = in.offset();
  TG_ASSIGN(std::span<const u8> check, in.bytes(sizeof(Digest)));
  if (magic != kMagic || digest_from(check) != sha256(std::span<const u8>(bytes).first(checked)))
    return corrupt(file, "is no whole snapshot");
  if (version != kVersion)
    return Error{Code::kUnsupported, file.path() + ": snapshot version " + std::to_string(version)};
  if (header.entries > kJournalEntriesMax || header.accounts > kAccountsMax)
    return corrupt(file, "has more than a ledger can");
  return header;
}

Result<Snapshot> Snapshot::read(const File& file, const SnapshotHeader& header) {
  TG_ASSIGN(u64 size, file.size());
  if (size != kSnapshotHeaderBytes + body_bytes(header)) return corrupt(file, "is cut");
  Snapshot snapshot;
  snapshot.header_ = header;
  snapshot.body_.resize(body_bytes(header));
  TG_ASSIGN(u64 count, file.read_at(kSnapshotHeaderBytes, snapshot.body_));
  if (count != snapshot.body_.size()) return corrupt(file, "is cut");
  if (sha256(snapshot.body_) != header.body)
    return corrupt(file, "the digest does not match the snapshot");
  return snapshot;
}

std::vector<Account> Snapshot::accounts() const {
  std::vector<Account> out(header_.accounts);
  for (u64 i = 0; i < header_.accounts; ++i) out[i] = struct_at<Account>(body_, i * kAccountBytes);
  return out;
}

std::vector<u32> Snapshot::entries_last() const {
  std::vector<u32> out(header_.accounts);
  for (u64 i = 0; i < header_.accounts; ++i)
    out[i] = struct_at<u32>(body_, i * kAccountBytes + sizeof(Account));
  return out;
}

EntryLinks Snapshot::links(u64 position) const {
  TG_ASSERT(position >= 1 && position <= header_.entries);
  return struct_at<EntryLinks>(body_,
                               header_.accounts * kAccountBytes + (position - 1) * kLinksBytes);
}

// --- comparing ----------------------------------------------------------------------------------

Status compare(const Snapshot& snapshot, const StateImage& image) {
  auto differs = [](const std::string& what) {
    return Error{Code::kCorrupt, "snapshot: " + what + " is not what the log gives"};
  };
  if (snapshot.header().entries != image.entries() ||
      snapshot.header().accounts != image.accounts().size())
    return differs("the number of accounts or entries");
  std::vector<Account> accounts = snapshot.accounts();
  std::vector<u32> entries_last = snapshot.entries_last();
  for (std::size_t i = 0; i < accounts.size(); ++i) {
    if (accounts[i] != image.accounts()[i] || entries_last[i] != image.entries_last()[i])
      return differs("account " + to_hex(accounts[i].id));
  }
  for (u64 p = 1; p <= image.entries(); ++p) {
    if (snapshot.links(p) != image.links(p)) return differs("entry " + std::to_string(p));
  }
  return {};
}

}  // namespace tg::ledger
