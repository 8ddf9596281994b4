#include "ledger/log_reader.h"

#include <algorithm>
#include <optional>
#include <thread>

#include "base/assert.h"
#include "env/mailbox.h"

namespace tg::ledger {

namespace {

constexpr std::size_t kSectorBytes = 512;
constexpr u64 kChunkBytes = u64{1} << 20;
constexpr i64 kChunksAhead = 8;
constexpr i64 kChunkWaitNs = 1'000'000'000;

bool is_unwritten(std::span<const u8> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](u8 b) { return b == 0; });
}

// A disk writes sectors whole, so a torn write leaves one that was never written. The frame's part
// of its first sector begins with the magic and its part of the last is 8 bytes of digest or more;
// documents are the only place between where a frame could hold so many zeros, and they are text.
bool has_unwritten_sector(std::span<const u8> bytes, u64 file_offset) {
  while (!bytes.empty()) {
    std::size_t count = std::min<u64>(kSectorBytes - file_offset % kSectorBytes, bytes.size());
    if (is_unwritten(bytes.first(count))) return true;
    bytes = bytes.subspan(count);
    file_offset += count;
  }
  return false;
}

// Up to the last byte that is not zero.
u64 size_of_written(std::span<const u8> bytes) {
  auto last = std::find_if(bytes.rbegin(), bytes.rend(), [](u8 b) { return b != 0; });
  return static_cast<u64>(bytes.rend() - last);
}

// Whether a frame after `commit` begins in here, in which case that one was acknowledged.
bool has_later_header(std::span<const u8> bytes, u64 commit) {
  while (bytes.size() >= kFrameHeaderBytes) {
    if (is_header_start(bytes)) {
      Result<FrameHeader> header = parse_header(bytes.first(kFrameHeaderBytes));
      if (header.ok() && header->commit > commit) return true;
    }
    bytes = bytes.subspan(kFrameAlignment);
  }
  return false;
}

// Whole frames whose digests agree; none at the end.
struct Chunk {
  u64 offset = 0;
  std::vector<u8> bytes;
};

class Walker {
 public:
  Walker(const AppendFile& file, const LogMark* mark) : file_(file), mark_(mark) {}
  Result<Chunk> next();
  const LogEnd& end() const { return end_; }

 private:
  // The frame's size, or 0 if there is no whole one. What it needs beyond `bytes` is more than
  // their size.
  Result<u64> check_frame(std::span<const u8> bytes);
  Result<u64> torn();
  Result<u64> torn_or_corrupt(std::span<const u8> bytes, const std::string& what);
  Result<u64> unreadable_header(const std::string& what);
  Result<u64> written_end() const;
  Status check_order(const FrameHeader& header) const;
  Status check_mark(u64 begin) const;
  Status check_end() const;
  u64 left() const { return file_.size() - end_.bytes; }

  const AppendFile& file_;
  const LogMark* mark_;
  LogEnd end_;
  u64 position_ = 1;
};

Result<Chunk> Walker::next() {
  Chunk chunk{.offset = end_.bytes};
  u64 start = end_.bytes;
  chunk.bytes.resize(std::min(left(), kChunkBytes));
  TG_TRY(file_.read(start, chunk.bytes));
  while (left() > 0) {
    std::span<const u8> rest = std::span<const u8>(chunk.bytes).subspan(end_.bytes - start);
    TG_ASSIGN(u64 size, check_frame(rest));
    if (size == 0) break;
    if (size <= rest.size()) continue;
    if (end_.bytes > start) break;
    chunk.bytes.resize(size);
    TG_TRY(file_.read(start, chunk.bytes));
  }
  chunk.bytes.resize(end_.bytes - start);
  if (chunk.bytes.empty()) TG_TRY(check_end());
  return chunk;
}

// The frame from `begin` to where the walk is now may end at the mark, but not pass over it.
Status Walker::check_mark(u64 begin) const {
  if (mark_ == nullptr || end_.bytes < mark_->bytes || begin >= mark_->bytes) return {};
  if (end_.bytes == mark_->bytes && end_.digest == mark_->digest && end_.commits == mark_->commits)
    return {};
  return corrupt_at(file_, begin, "the snapshot beside it is of another log");
}

Status Walker::check_end() const {
  if (mark_ == nullptr || end_.bytes >= mark_->bytes) return {};
  return corrupt_at(file_, end_.bytes,
                    "ends at commit " + std::to_string(end_.commits) +
                        ", but a snapshot was taken at commit " + std::to_string(mark_->commits) +
                        ": what was acknowledged between is missing");
}

// Where the zeros begin that the file ends in.
Result<u64> Walker::written_end() const {
  std::vector<u8> chunk;
  for (u64 end = file_.size(); end > end_.bytes; end -= chunk.size()) {
    chunk.resize(std::min(end - end_.bytes, kChunkBytes));
    TG_TRY(file_.read(end - chunk.size(), chunk));
    u64 written = size_of_written(chunk);
    if (written > 0) return end - chunk.size() + written;
  }
  return end_.bytes;
}

Result<u64> Walker::torn() {
  TG_ASSIGN(u64 end, written_end());
  end_.torn_bytes = end - end_.bytes;
  return u64{0};
}

// The last frame may be torn: what a crash left of a commit that nobody was told of.
Result<u64> Walker::torn_or_corrupt(std::span<const u8> bytes, const std::string& what) {
  TG_ASSIGN(u64 end, written_end());
  bool is_last = end <= end_.bytes + bytes.size();
  if (is_last && has_unwritten_sector(bytes, end_.bytes)) return torn();
  return corrupt_at(file_, end_.bytes, what);
}

// An unwritten header hides how long the frame was: everything to the last sector with something in
// it is it, and its header at least.
Result<u64> Walker::unreadable_header(const std::string& what) {
  TG_ASSIGN(u64 written, written_end());
  if (written == end_.bytes) return u64{0};
  u64 end = (written + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  end = std::min(std::max(end, end_.bytes + kFrameHeaderBytes), file_.size());
  std::vector<u8> rest(std::min<u64>(end - end_.bytes, kFramePayloadBytesMax));
  TG_TRY(file_.read(end_.bytes, rest));
  if (has_later_header(rest, end_.commits + 1)) return corrupt_at(file_, end_.bytes, what);
  return torn_or_corrupt(rest, what);
}

Status Walker::check_order(const FrameHeader& header) const {
  if (header.commit != end_.commits + 1)
    return corrupt_at(
        file_, end_.bytes,
        "commit " + std::to_string(header.commit) + " after " + std::to_string(end_.commits));
  if (header.entries > 0 && header.position_first != position_)
    return corrupt_at(file_, end_.bytes,
                      "entry " + std::to_string(header.position_first) + ", expected " +
                          std::to_string(position_));
  return {};
}

Result<u64> Walker::check_frame(std::span<const u8> bytes) {
  if (left() < kFrameHeaderBytes) return torn();
  if (bytes.size() < kFrameHeaderBytes) return bytes.size() + 1;
  Result<FrameHeader> header = parse_header(bytes.first(kFrameHeaderBytes));
  if (!header.ok()) return unreadable_header(header.error().message);
  u64 size = frame_bytes(*header);
  if (size > left()) return torn();
  if (size > bytes.size()) return size;
  bytes = bytes.first(size);
  Digest expected = frame_digest(end_.digest, bytes.first(size - kFrameDigestBytes));
  std::span<const u8> stored = bytes.last(kFrameDigestBytes);
  if (!std::equal(expected.begin(), expected.end(), stored.begin()))
    return torn_or_corrupt(bytes, "the digest does not match the commit");
  TG_TRY(check_order(*header));
  end_.last_frame = end_.bytes;
  end_.bytes += size;
  end_.digest = expected;
  ++end_.commits;
  position_ += header->entries;
  TG_TRY(check_mark(end_.last_frame));
  return size;
}

Status visit_chunk(const AppendFile& file, const Chunk& chunk, const LogVisit& visit) {
  std::span<const u8> rest = chunk.bytes;
  u64 offset = chunk.offset;
  while (!rest.empty()) {
    TG_ASSIGN(FrameHeader header, parse_header(rest.first(kFrameHeaderBytes)));
    Result<FrameView> frame =
        FrameView::parse(header, rest.subspan(kFrameHeaderBytes, header.payload_bytes));
    if (!frame.ok()) return corrupt_at(file, offset, frame.error().message);
    Status visited = visit(offset, *frame);
    if (!visited.ok()) return corrupt_at(file, offset, visited.error().message);
    offset += frame_bytes(header);
    rest = rest.subspan(frame_bytes(header));
  }
  return {};
}

Status walk_here(const AppendFile& file, Walker& walker, const LogVisit& visit) {
  while (true) {
    TG_ASSIGN(Chunk chunk, walker.next());
    if (chunk.bytes.empty()) return {};
    TG_TRY(visit_chunk(file, chunk, visit));
  }
}

using Ahead = Mailbox<Result<Chunk>>;

void read_ahead(Walker& walker, Ahead& ahead) {
  while (true) {
    Result<Chunk> chunk = walker.next();
    bool is_last = !chunk.ok() || chunk->bytes.empty();
    if (!ahead.push(std::move(chunk)) || is_last) return;
  }
}

Status visit_ahead(const AppendFile& file, Ahead& ahead, const LogVisit& visit) {
  std::vector<Result<Chunk>> chunks;
  while (true) {
    chunks.clear();
    ahead.wait(chunks, kChunkWaitNs);
    for (Result<Chunk>& chunk : chunks) {
      if (!chunk.ok()) return std::move(chunk).error();
      if (chunk->bytes.empty()) return {};
      TG_TRY(visit_chunk(file, *chunk, visit));
    }
  }
}

}  // namespace

Error corrupt_at(const AppendFile& file, u64 offset, const std::string& what) {
  return Error{Code::kCorrupt,
               "ledger " + file.path() + ": at byte " + std::to_string(offset) + ": " + what};
}

Result<LogEnd> walk_log(const AppendFile& file, const LogVisit& visit, const LogMark* mark) {
  Walker walker(file, mark);
  if (file.size() <= kChunkBytes) {
    TG_TRY(walk_here(file, walker, visit));
    return walker.end();
  }
  Ahead ahead(kChunksAhead);
  std::thread reader([&] { read_ahead(walker, ahead); });
  Status visited = visit_ahead(file, ahead, visit);
  ahead.close();
  reader.join();
  if (!visited.ok()) return visited.error();
  return walker.end();
}

}  // namespace tg::ledger
