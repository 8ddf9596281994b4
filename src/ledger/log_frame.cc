#include "ledger/log_frame.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

#include "base/assert.h"
#include "base/bytes.h"

namespace tg::ledger {

static constexpr u32 kMagic = 0x464C4754;  // "TGLF"
static constexpr u16 kVersion = 1;
static constexpr std::size_t kAccountBytes = 8 + sizeof(Account);
// The structs are written as they lie in memory.
static_assert(std::endian::native == std::endian::little);
static_assert(sizeof(Account) == 128 && sizeof(Transfer) == 128);

static Error corrupt(const std::string& what) {
  return Error{Code::kCorrupt, "frame: " + what};
}

template <typename T>
static void append_struct(std::vector<u8>& out, const T& value) {
  std::size_t at = out.size();
  out.resize(at + sizeof(T));
  std::memcpy(out.data() + at, &value, sizeof(T));
}

static bool is_written(const ChangedAccount& changed) {
  return changed.is_new || (changed.account.flags & account_flag::kClosed) != 0;
}

static void append_account(std::vector<u8>& out, const ChangedAccount& changed) {
  append_u32(out, changed.number);
  append_u32(out, changed.is_new ? 1 : 0);
  append_struct(out, changed.account);
  // The bytes between flags and timestamp belong to no field.
  static_assert(offsetof(Account, flags) == 114 && offsetof(Account, timestamp_ns) == 120);
  std::fill_n(out.end() - 12, 4, u8{0});
}

// Grown once: a commit may have thousands.
static void append_entries(std::vector<u8>& out, std::span<const JournalEntry> entries) {
  struct Head {
    u8 kind = 0;
    u8 zero = 0;
    u16 status = 0;
    u32 zeros = 0;
  };
  static_assert(sizeof(Head) + sizeof(Transfer) == kFrameEntryBytes);
  std::size_t at = out.size();
  out.resize(at + entries.size() * kFrameEntryBytes);
  for (const JournalEntry& entry : entries) {
    Head head{.kind = static_cast<u8>(entry.kind), .status = static_cast<u16>(entry.status)};
    std::memcpy(out.data() + at, &head, sizeof(Head));
    std::memcpy(out.data() + at + sizeof(Head), &entry.transfer, sizeof(Transfer));
    at += kFrameEntryBytes;
  }
}

static void append_document(std::vector<u8>& out, const Document& document) {
  append_u64(out, static_cast<u64>(document.id));
  append_u64(out, static_cast<u64>(document.id >> 64));
  append_u32(out, static_cast<u32>(document.bytes.size()));
  append_u32(out, 0);
  std::span<const u8> bytes = as_bytes(document.bytes);
  out.insert(out.end(), bytes.begin(), bytes.end());
  out.resize((out.size() + kFrameAlignment - 1) / kFrameAlignment * kFrameAlignment);
}

Digest frame_digest(const Digest& previous, std::span<const u8> header_and_payload) {
  Sha256 hash;
  hash.update(previous);
  hash.update(header_and_payload);
  return hash.finish();
}

static u32 header_check(std::span<const u8> fields) {
  Digest digest = sha256(fields);
  return u32{digest[0]} | u32{digest[1]} << 8 | u32{digest[2]} << 16 | u32{digest[3]} << 24;
}

u64 frame_bytes(const Effects& effects) {
  i64 accounts = std::count_if(effects.accounts.begin(), effects.accounts.end(), is_written);
  return kFrameHeaderBytes + static_cast<u64>(accounts) * kAccountBytes +
         effects.entries.size() * kFrameEntryBytes + kFrameDigestBytes;
}

void make_frame(std::vector<u8>& out, u64 commit, const Effects& effects,
                std::span<const Document* const> documents) {
  out.clear();
  out.resize(kFrameHeaderBytes);
  u32 accounts = 0;
  for (const ChangedAccount& changed : effects.accounts) {
    if (!is_written(changed)) continue;
    append_account(out, changed);
    ++accounts;
  }
  append_entries(out, effects.entries);
  for (const Document* document : documents) append_document(out, *document);
  u64 payload = out.size() - kFrameHeaderBytes;
  TG_ASSERT(payload <= kFramePayloadBytesMax);
  std::vector<u8> header;
  append_u32(header, kMagic);
  append_u16(header, kVersion);
  append_u16(header, 0);
  append_u64(header, commit);
  append_u64(header, effects.position_first);
  append_u32(header, accounts);
  append_u32(header, static_cast<u32>(effects.entries.size()));
  append_u32(header, static_cast<u32>(documents.size()));
  append_u32(header, static_cast<u32>(payload));
  append_u32(header, 0);
  append_u32(header, header_check(header));
  TG_ASSERT(header.size() == kFrameHeaderBytes);
  std::copy(header.begin(), header.end(), out.begin());
  out.resize(out.size() + kFrameDigestBytes);
}

Digest seal_frame(std::span<u8> frame, const Digest& previous) {
  TG_ASSERT(frame.size() >= kFrameHeaderBytes + kFrameDigestBytes);
  Digest digest = frame_digest(previous, frame.first(frame.size() - kFrameDigestBytes));
  std::copy(digest.begin(), digest.end(), frame.last(kFrameDigestBytes).begin());
  return digest;
}

template <typename T>
static T struct_at(std::span<const u8> bytes, std::size_t offset) {
  T value;
  TG_ASSERT(offset + sizeof(T) <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

bool is_header_start(std::span<const u8> bytes) {
  return struct_at<u32>(bytes, 0) == kMagic;
}

Result<FrameHeader> parse_header(std::span<const u8> bytes) {
  Reader in(bytes, "frame");
  TG_ASSIGN(u32 magic, in.u32_le());
  TG_ASSIGN(u16 version, in.u16_le());
  TG_ASSIGN(u16 zero, in.u16_le());
  if (magic != kMagic || zero != 0) return corrupt("no header");
  if (version != kVersion) return corrupt("version " + std::to_string(version));
  FrameHeader header;
  TG_ASSIGN(header.commit, in.u64_le());
  TG_ASSIGN(header.position_first, in.u64_le());
  for (u32* field : {&header.accounts, &header.entries, &header.documents, &header.payload_bytes}) {
    TG_ASSIGN(*field, in.u32_le());
  }
  TG_TRY(in.skip(4));
  std::span<const u8> fields = bytes.first(in.offset());
  TG_ASSIGN(u32 check, in.u32_le());
  if (check != header_check(fields)) return corrupt("the header's check does not match");
  u64 least = u64{header.accounts} * kAccountBytes + u64{header.entries} * kFrameEntryBytes +
              u64{header.documents} * 24;
  if (header.payload_bytes > kFramePayloadBytesMax || header.payload_bytes % 8 != 0 ||
      header.payload_bytes < least)
    return corrupt("payload of " + std::to_string(header.payload_bytes) + " bytes");
  return header;
}

// --- reading back -------------------------------------------------------------------------------

static Result<FrameDocument> read_document(Reader& in) {
  FrameDocument document;
  TG_ASSIGN(u64 low, in.u64_le());
  TG_ASSIGN(u64 high, in.u64_le());
  document.id = u128{low} | u128{high} << 64;
  TG_ASSIGN(document.bytes, in.u32_le());
  TG_TRY(in.skip(4));
  document.offset = in.offset();
  TG_TRY(in.skip((u64{document.bytes} + 7) / 8 * 8));
  return document;
}

Result<FrameView> FrameView::parse(const FrameHeader& header, std::span<const u8> payload) {
  FrameView view;
  view.header_ = header;
  view.payload_ = payload;
  Reader in(payload, "frame");
  TG_TRY(in.skip(u64{header.accounts} * kAccountBytes + u64{header.entries} * kFrameEntryBytes));
  for (u32 i = 0; i < header.documents; ++i) {
    TG_ASSIGN(FrameDocument document, read_document(in));
    view.documents_.push_back(document);
  }
  if (in.remaining() != 0) return corrupt(std::to_string(in.remaining()) + " bytes too many");
  return view;
}

Result<ChangedAccount> FrameView::account(u32 i) const {
  TG_ASSERT(i < header_.accounts);
  std::span<const u8> bytes = payload_.subspan(std::size_t{i} * kAccountBytes, kAccountBytes);
  u32 is_new = struct_at<u32>(bytes, 4);
  if (is_new > 1) return corrupt("account mark " + std::to_string(is_new));
  return ChangedAccount{.number = struct_at<u32>(bytes, 0),
                        .is_new = is_new == 1,
                        .account = struct_at<Account>(bytes, 8)};
}

u64 frame_bytes(const FrameHeader& header) {
  return kFrameHeaderBytes + u64{header.payload_bytes} + kFrameDigestBytes;
}

static u64 entry_offset_in_payload(const FrameHeader& header, u32 i) {
  TG_ASSERT(i < header.entries);
  return u64{header.accounts} * kAccountBytes + u64{i} * kFrameEntryBytes;
}

u64 entry_offset(const FrameHeader& header, u32 i) {
  return kFrameHeaderBytes + entry_offset_in_payload(header, i);
}

Result<JournalEntry> parse_entry(std::span<const u8> bytes) {
  TG_ASSERT(bytes.size() == kFrameEntryBytes);
  u8 kind = bytes[0];
  if (kind > static_cast<u8>(EntryKind::kRelease))
    return corrupt("entry kind " + std::to_string(kind));
  return JournalEntry{.transfer = struct_at<Transfer>(bytes, 8),
                      .status = static_cast<TransferStatus>(struct_at<u16>(bytes, 2)),
                      .kind = static_cast<EntryKind>(kind)};
}

std::span<const u8> FrameView::entry_bytes(u32 i) const {
  return payload_.subspan(entry_offset_in_payload(header_, i), kFrameEntryBytes);
}

Result<JournalEntry> FrameView::entry(u32 i) const {
  return parse_entry(entry_bytes(i));
}

u128 FrameView::entry_id(u32 i) const {
  static_assert(offsetof(Transfer, id) == 0);
  return struct_at<u128>(entry_bytes(i), 8);
}

}  // namespace tg::ledger
