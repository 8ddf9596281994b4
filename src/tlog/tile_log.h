// A transparency log on disk. Entries come in groups; a group is durable before its checkpoint is
// signed and the checkpoint durable before append() returns, so that no checkpoint is ever taken
// back. Hashes of one level of tiles stand one after the other in one file: a tile, full or
// partial, is a slice of it, and nothing is written twice.
//   entries     the entries, each after its length as u16 big-endian: a bundle is a slice
//   level-<n>   hashes of 256^n entries each, 32 bytes apart
//   checkpoint  the last one signed; what the other files have beyond its size was never promised
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tlog/checkpoint.h"
#include "tlog/tile.h"

namespace tg::tlog {

inline constexpr std::size_t kEntryBytesMax = 65'535;

class TileLog {
 public:
  // Opens or creates the log in `directory` (made if missing) and drops what a crash left behind
  // the last checkpoint. kCorrupt if less is there than the checkpoint says, if the tree's edge
  // does not give its root, or if origin or key differ from those it was made with; kUnavailable
  // if another process has it open.
  static Result<TileLog> open(const std::string& directory, std::string origin, NoteSigner signer);
  ~TileLog();
  TileLog(TileLog&& other) noexcept;
  TileLog& operator=(TileLog&& other) noexcept;

  const std::string& origin() const;
  const VerifierKey& verifier() const;
  u64 size() const;  // entries under the last checkpoint
  // The last checkpoint, signed; of an empty log too.
  const Note& checkpoint() const;

  // Appends all of `entries` under one checkpoint. After an error the log must be opened again.
  // kLimit, and nothing done, if one is empty or longer than kEntryBytesMax.
  Status append(std::span<const std::string> entries);

  Result<std::string> entry(u64 index) const;
  // For the last checkpoint; kInvalid beyond its size. A proof that does not lead to the root, as
  // after damage to a file, is kCorrupt.
  Result<LogProof> inclusion(u64 index);
  Result<ConsistencyProof> consistency(u64 from, u64 to);
  // What the resource's path names: bytes as C2SP tlog-tiles serves them. kNotFound if the tree
  // is not that large.
  Result<std::string> resource(std::string_view path) const;

  // Reads everything: hashes every entry and compares every stored hash. kCorrupt names the first
  // that differs.
  Status check() const;

 private:
  struct State;
  explicit TileLog(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace tg::tlog
