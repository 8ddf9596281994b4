// One commit as bytes: what the log store appends, and all that it reads back. Frames form a chain,
// each digest covering the digest before it, so that no byte of history can change unseen.
//
//   header   magic "TGLF", version u16, zero u16, commit u64, position of the first entry u64,
//            accounts u32, entries u32, documents u32, payload bytes u32, zero u32, check u32 (the
//            first word of the SHA-256 of what precedes it: a length is believed before the digest
//            that covers it has been reached)
//   payload  accounts (number u32, is_new u32, 128 bytes); entries (kind u8, zero u8, status u16,
//            zero u32, transfer 128 bytes); documents (id u128, bytes u32, zero u32, bytes, zeros
//            to 8)
//   digest   SHA-256(previous digest || header || payload)
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "ledger/state_machine.h"
#include "ledger/types.h"

namespace tg::ledger {

inline constexpr std::size_t kFrameHeaderBytes = 48;
inline constexpr std::size_t kFrameDigestBytes = 32;
inline constexpr std::size_t kFrameEntryBytes = 8 + sizeof(Transfer);
// A frame is a multiple of this, and so is where it lies in the log.
inline constexpr std::size_t kFrameAlignment = 8;
// Above any commit: 8,190 events of each kind in a request, documents of 64 KiB.
inline constexpr u64 kFramePayloadBytesMax = u64{1} << 30;

// A place in a log: whole frames up to `bytes`, `commits` of them, and the digest of the last.
struct LogMark {
  u64 bytes = 0;
  u64 commits = 0;
  Digest digest{};
  friend bool operator==(const LogMark&, const LogMark&) = default;
};

struct FrameHeader {
  u64 commit = 0;  // From 1 on, without gaps.
  u64 position_first = 1;
  u32 accounts = 0;
  u32 entries = 0;
  u32 documents = 0;
  u32 payload_bytes = 0;
};

// Of the whole frame.
u64 frame_bytes(const FrameHeader& header);
// Where an entry begins, from the frame's first byte on. REQUIRES: i < header.entries.
u64 entry_offset(const FrameHeader& header, u32 i);
// The bytes of one entry; what deciding it found out is not among them.
Result<JournalEntry> parse_entry(std::span<const u8> bytes);

struct FrameDocument {
  u128 id = 0;
  u64 offset = 0;  // Of its bytes, in the payload.
  u32 bytes = 0;
};

// A frame's payload, parsed as it is asked for: records lie at fixed places. Borrows the bytes.
class FrameView {
 public:
  // kCorrupt if the payload is not as long as its header and its documents say.
  static Result<FrameView> parse(const FrameHeader& header, std::span<const u8> payload);

  const FrameHeader& header() const { return header_; }
  // New accounts, or ones that were closed. REQUIRES: i < header().accounts.
  Result<ChangedAccount> account(u32 i) const;
  // REQUIRES: i < header().entries.
  Result<JournalEntry> entry(u32 i) const;
  u128 entry_id(u32 i) const;
  std::span<const FrameDocument> documents() const { return documents_; }

 private:
  std::span<const u8> entry_bytes(u32 i) const;

  FrameHeader header_;
  std::span<const u8> payload_;
  std::vector<FrameDocument> documents_;
};

// How long the frame of a batch without documents is.
u64 frame_bytes(const Effects& effects);

// Makes `out` the frame, but for the digest, whose place is kept. Of changed accounts only those
// that are new or closed are written: balances follow from the entries.
void make_frame(std::vector<u8>& out, u64 commit, const Effects& effects,
                std::span<const Document* const> documents);

// Puts the digest there, and returns it. Nothing else of the frame changes.
Digest seal_frame(std::span<u8> frame, const Digest& previous);

// Whether these bytes begin as every header does. REQUIRES: at least four bytes.
bool is_header_start(std::span<const u8> bytes);

// kCorrupt unless these are the bytes of a header of this version.
Result<FrameHeader> parse_header(std::span<const u8> bytes);

// The digest a frame must carry; header and payload as they are in the file.
Digest frame_digest(const Digest& previous, std::span<const u8> header_and_payload);

}  // namespace tg::ledger
