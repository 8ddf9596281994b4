#include "tlog/tile_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "env/append_file.h"
#include "env/disk.h"

namespace tg::tlog {

namespace {

constexpr std::size_t kHashBytes = sizeof(Hash);
constexpr std::size_t kLengthBytes = 2;
constexpr std::size_t kScanBytes = std::size_t{1} << 20;
constexpr u32 kCheckpointMode = 0644;

void append_entry(std::vector<u8>& out, std::string_view entry) {
  out.push_back(static_cast<u8>(entry.size() >> 8));
  out.push_back(static_cast<u8>(entry.size()));
  std::span<const u8> bytes = as_bytes(entry);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

struct TileLog::State {
  State(std::string directory_name, std::string origin_name, NoteSigner note_signer)
      : directory(std::move(directory_name)),
        origin(std::move(origin_name)),
        signer(std::move(note_signer)),
        hasher(signer.suite()) {}

  Error corrupt(const std::string& what) const {
    return Error{Code::kCorrupt, "log " + directory + ": " + what};
  }
  std::string path(const std::string& name) const { return directory + "/" + name; }

  // Opening.
  Status open_files();
  Status load_checkpoint();
  Status settle_entries();
  Status settle_levels();
  Status load_edge();
  Status check_edge();

  // Visits entries [0, count) in order with their places in the file.
  using Visit = std::function<Status(u64 index, u64 offset, std::string_view entry)>;
  Result<u64> walk_entries(u64 count, const Visit& visit) const;

  void add_leaf(const Hash& leaf);
  Status write_group(std::span<const std::string> all);
  Status publish(u64 size, const Hash& root);
  Result<Hash> edge_subtree(u32 height, u64 index);
  Result<Hash> stored_subtree(u32 height, u64 index);
  Result<std::vector<Hash>> hashes(u32 level, u64 first, u64 count) const;
  Result<std::string> bundle(u64 first, u64 count) const;

  std::string directory;
  std::string origin;
  NoteSigner signer;
  Hasher hasher;
  AppendFile entries;
  std::array<AppendFile, kTileLevels> levels;
  TreeHead head;
  Note checkpoint;

  // The unfinished tile of each level, and hashes not yet written to its file.
  std::array<std::vector<Hash>, kTileLevels> edge;
  std::array<std::vector<u8>, kTileLevels> unwritten;
  std::vector<u64> bundle_offsets;  // where each bundle of 256 begins
  u64 entries_end = 0;
  bool has_failed = false;
};

// --- opening ------------------------------------------------------------------------------------

Result<TileLog> TileLog::open(const std::string& directory, std::string origin, NoteSigner signer) {
  TG_TRY(ensure_writable_directory(directory));
  std::unique_ptr<State> state =
      std::make_unique<State>(directory, std::move(origin), std::move(signer));
  TG_TRY(state->open_files());
  TG_TRY(state->load_checkpoint());
  TG_TRY(state->settle_entries());
  TG_TRY(state->settle_levels());
  TG_TRY(state->load_edge());
  TG_TRY(state->check_edge());
  return TileLog(std::move(state));
}

TileLog::TileLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
TileLog::~TileLog() = default;
TileLog::TileLog(TileLog&& other) noexcept = default;
TileLog& TileLog::operator=(TileLog&& other) noexcept = default;

Status TileLog::State::open_files() {
  TG_ASSIGN(entries, AppendFile::open(path("entries")));
  for (u32 level = 0; level < kTileLevels; ++level) {
    TG_ASSIGN(levels[level], AppendFile::open(path("level-" + std::to_string(level))));
  }
  return {};
}

Status TileLog::State::load_checkpoint() {
  Result<std::string> text = read_file(path("checkpoint"), kNoteBytesMax);
  if (!text.ok() && text.error().code != Code::kNotFound) return text.error();
  // An empty tree is the first promise, made before there is any entry.
  if (!text.ok() && entries.size() > 0) return corrupt("its checkpoint is missing");
  if (!text.ok()) return publish(0, hasher.empty_tree());
  Result<Note> note = parse_note(*text);
  if (!note.ok()) return corrupt("checkpoint: " + note.error().message);
  Result<Checkpoint> parsed = parse_checkpoint(note->text);
  if (!parsed.ok()) return corrupt(parsed.error().message);
  if (parsed->origin != origin)
    return corrupt(fmt::format("its origin is {}, not {}", parsed->origin, origin));
  if (check_note(*note, signer.verifier()) != NoteCheck::kSigned)
    return corrupt("its checkpoint is not signed by " + signer.name());
  // Read back is not yet durable: a crash may have come between the rename and its sync.
  TG_TRY(write_file_durably(path("checkpoint"), as_bytes(*text), kCheckpointMode));
  head = parsed->head;
  checkpoint = std::move(*note);
  return {};
}

Result<u64> TileLog::State::walk_entries(u64 count, const Visit& visit) const {
  std::vector<u8> buffer;
  u64 buffer_at = 0;  // the file's offset of buffer[0]
  u64 at = 0;
  // The `bytes` that stand at `at`, kept in a buffer that slides over the file.
  auto bytes_at = [&](u64 bytes) -> Result<std::span<const u8>> {
    if (at + bytes > entries.size()) return corrupt("entries end before the checkpoint's size");
    if (at < buffer_at || at + bytes > buffer_at + buffer.size()) {
      buffer_at = at;
      buffer.resize(std::min<u64>(std::max<u64>(bytes, kScanBytes), entries.size() - at));
      TG_TRY(entries.read(at, buffer));
    }
    return std::span<const u8>(buffer).subspan(at - buffer_at, bytes);
  };
  for (u64 index = 0; index < count; ++index) {
    TG_ASSIGN(std::span<const u8> length_bytes, bytes_at(kLengthBytes));
    u64 length = static_cast<u64>(length_bytes[0]) << 8 | length_bytes[1];
    TG_ASSIGN(std::span<const u8> whole, bytes_at(kLengthBytes + length));
    TG_TRY(visit(index, at, as_text(whole.subspan(kLengthBytes))));
    at += kLengthBytes + length;
  }
  return at;
}

Status TileLog::State::settle_entries() {
  auto visit = [this](u64 index, u64 offset, std::string_view) -> Status {
    if (index % kTileWidth == 0) bundle_offsets.push_back(offset);
    return {};
  };
  TG_ASSIGN(entries_end, walk_entries(head.size, visit));
  if (entries.size() > entries_end) TG_TRY(entries.truncate(entries_end));
  return {};
}

Status TileLog::State::settle_levels() {
  for (u32 level = 0; level < kTileLevels; ++level) {
    u64 bytes = tile_hashes(head.size, level) * kHashBytes;
    if (levels[level].size() < bytes)
      return corrupt(fmt::format("level {} ends before the checkpoint's size", level));
    if (levels[level].size() > bytes) TG_TRY(levels[level].truncate(bytes));
  }
  return {};
}

Status TileLog::State::load_edge() {
  for (u32 level = 0; level < kTileLevels; ++level) {
    u64 count = tile_hashes(head.size, level);
    u64 width = count % kTileWidth;
    TG_ASSIGN(edge[level], hashes(level, count - width, width));
  }
  return {};
}

Status TileLog::State::check_edge() {
  SubtreeHash subtree = [this](u32 height, u64 index) { return edge_subtree(height, index); };
  TG_ASSIGN(Hash root, tree_root(hasher, head.size, subtree));
  if (root != head.root) return corrupt("its hashes do not give the checkpoint's root");
  return {};
}

// --- writing ------------------------------------------------------------------------------------

void TileLog::State::add_leaf(const Hash& leaf) {
  Hash hash = leaf;
  for (u32 level = 0; level < kTileLevels; ++level) {
    edge[level].push_back(hash);
    unwritten[level].insert(unwritten[level].end(), hash.begin(), hash.end());
    if (edge[level].size() < kTileWidth) return;
    hash = fold(hasher, edge[level]);
    edge[level].clear();
  }
}

// A complete subtree at the tree's right edge, from memory.
Result<Hash> TileLog::State::edge_subtree(u32 height, u64 index) {
  u32 level = height / kTileHeight;
  u64 count = u64{1} << height % kTileHeight;
  u64 first = (index * count) % kTileWidth;
  TG_ASSERT(level < kTileLevels && first + count <= edge[level].size());
  return fold(hasher, std::span<const Hash>(edge[level]).subspan(first, count));
}

Status TileLog::State::write_group(std::span<const std::string> all) {
  std::vector<u8> bytes;
  u64 size = head.size;
  for (const std::string& entry : all) {
    if (size++ % kTileWidth == 0) bundle_offsets.push_back(entries_end + bytes.size());
    append_entry(bytes, entry);
    add_leaf(hasher.leaf(entry));
  }
  TG_TRY(entries.append_durably(bytes));
  entries_end += bytes.size();
  for (u32 level = 0; level < kTileLevels; ++level) {
    if (unwritten[level].empty()) continue;
    TG_TRY(levels[level].append_durably(unwritten[level]));
    unwritten[level].clear();
  }
  SubtreeHash subtree = [this](u32 height, u64 index) { return edge_subtree(height, index); };
  TG_ASSIGN(Hash root, tree_root(hasher, size, subtree));
  return publish(size, root);
}

Status TileLog::State::publish(u64 size, const Hash& root) {
  TreeHead next{.size = size, .root = root};
  Note note{.text = to_text(Checkpoint{.origin = origin, .head = next}), .signatures = {}};
  note.signatures.push_back(signer.sign(note.text));
  TG_TRY(write_file_durably(path("checkpoint"), as_bytes(to_text(note)), kCheckpointMode));
  head = next;
  checkpoint = std::move(note);
  return {};
}

Status TileLog::append(std::span<const std::string> entries) {
  TG_ASSERT(!state_->has_failed);
  for (const std::string& entry : entries) {
    if (entry.empty() || entry.size() > kEntryBytesMax)
      return Error{Code::kLimit, fmt::format("log: an entry of {} bytes", entry.size())};
  }
  if (entries.size() > kTreeSizeMax - size()) return Error{Code::kLimit, "log: full"};
  if (entries.empty()) return {};
  Status written = state_->write_group(entries);
  state_->has_failed = !written.ok();
  return written;
}

// --- reading ------------------------------------------------------------------------------------

Result<std::vector<Hash>> TileLog::State::hashes(u32 level, u64 first, u64 count) const {
  static_assert(sizeof(Hash) == 32);
  std::vector<Hash> out(count);
  if (count == 0) return out;
  std::span<u8> bytes(out[0].data(), count * kHashBytes);
  TG_TRY(levels[level].read(first * kHashBytes, bytes));
  return out;
}

Result<Hash> TileLog::State::stored_subtree(u32 height, u64 index) {
  u64 count = u64{1} << height % kTileHeight;
  TG_ASSIGN(std::vector<Hash> own, hashes(height / kTileHeight, index * count, count));
  return fold(hasher, own);
}

Result<std::string> TileLog::State::bundle(u64 first, u64 count) const {
  u64 begin = bundle_offsets[first / kTileWidth];
  u64 next = first / kTileWidth + 1;
  u64 end = next < bundle_offsets.size() ? bundle_offsets[next] : entries_end;
  std::string out(end - begin, '\0');
  TG_TRY(entries.read(begin, std::span<u8>(reinterpret_cast<u8*>(out.data()), out.size())));
  u64 at = 0;
  for (u64 i = 0; i < count; ++i) {
    if (at + kLengthBytes > out.size()) return corrupt("an entry's length is not what it was");
    u64 length = static_cast<u64>(static_cast<u8>(out[at])) << 8 | static_cast<u8>(out[at + 1]);
    at += kLengthBytes + length;
  }
  if (at > out.size()) return corrupt("an entry's length is not what it was");
  out.resize(at);
  return out;
}

const std::string& TileLog::origin() const {
  return state_->origin;
}
const VerifierKey& TileLog::verifier() const {
  return state_->signer.verifier();
}
u64 TileLog::size() const {
  return state_->head.size;
}
const Note& TileLog::checkpoint() const {
  return state_->checkpoint;
}

Result<std::string> TileLog::entry(u64 index) const {
  if (index >= size()) return Error{Code::kNotFound, fmt::format("log: no entry {}", index)};
  u64 first = index - index % kTileWidth;
  TG_ASSIGN(std::string all, state_->bundle(first, index - first + 1));
  TG_ASSIGN(std::string before, state_->bundle(first, index - first));
  return all.substr(before.size() + kLengthBytes);
}

Result<LogProof> TileLog::inclusion(u64 index) {
  if (index >= size())
    return Error{Code::kInvalid, fmt::format("log: no entry {} of {}", index, size())};
  State& s = *state_;
  SubtreeHash subtree = [&s](u32 height, u64 at) { return s.stored_subtree(height, at); };
  LogProof proof{.extra = {}, .index = index, .path = {}, .checkpoint = s.checkpoint};
  TG_ASSIGN(proof.path, inclusion_proof(s.hasher, index, s.head.size, subtree));
  TG_ASSIGN(std::vector<Hash> leaf, s.hashes(0, index, 1));
  if (!verify_inclusion(s.hasher, leaf[0], index, s.head.size, proof.path, s.head.root))
    return s.corrupt(fmt::format("the hashes around entry {} are not those it was made of", index));
  return proof;
}

Result<ConsistencyProof> TileLog::consistency(u64 from, u64 to) {
  if (from > to || to > size())
    return Error{Code::kInvalid, fmt::format("log: no trees of {} and {} entries", from, to)};
  State& s = *state_;
  SubtreeHash subtree = [&s](u32 height, u64 at) { return s.stored_subtree(height, at); };
  ConsistencyProof proof{.from = from, .to = to, .hashes = {}};
  TG_ASSIGN(proof.hashes, consistency_proof(s.hasher, from, to, subtree));
  return proof;
}

Result<std::string> TileLog::resource(std::string_view path) const {
  TG_ASSIGN(Resource r, parse_path(path));
  if (r.kind == ResourceKind::kCheckpoint) return to_text(state_->checkpoint);
  u64 first = r.index * kTileWidth;
  if (first + r.width > tile_hashes(size(), r.level))
    return Error{Code::kNotFound, "log: no such resource yet"};
  if (r.kind == ResourceKind::kEntries) return state_->bundle(first, r.width);
  TG_ASSIGN(std::vector<Hash> tile, state_->hashes(r.level, first, r.width));
  return std::string(reinterpret_cast<const char*>(tile[0].data()), tile.size() * kHashBytes);
}

Status TileLog::check() const {
  const State& s = *state_;
  State derived(s.directory, s.origin, s.signer);
  u64 compared[kTileLevels] = {};
  // What came out of a tile is compared and forgotten, so that memory does not grow with the log.
  auto compare = [&](u32 level) -> Status {
    std::vector<u8>& bytes = derived.unwritten[level];
    std::vector<u8> stored(bytes.size());
    TG_TRY(s.levels[level].read(compared[level] * kHashBytes, stored));
    if (stored != bytes)
      return s.corrupt(
          fmt::format("level {}: the hashes from {} on differ", level, compared[level]));
    compared[level] += bytes.size() / kHashBytes;
    bytes.clear();
    return {};
  };
  auto visit = [&](u64 index, u64, std::string_view entry) -> Status {
    derived.add_leaf(derived.hasher.leaf(entry));
    if ((index + 1) % kTileWidth != 0 && index + 1 != s.head.size) return {};
    for (u32 level = 0; level < kTileLevels; ++level) {
      if (!derived.unwritten[level].empty()) TG_TRY(compare(level));
    }
    return {};
  };
  TG_ASSIGN([[maybe_unused]] u64 end, s.walk_entries(s.head.size, visit));
  derived.head = s.head;
  return derived.check_edge();
}

}  // namespace tg::tlog
