// What a ledger's documents say of requests: how they ended, which are under way, which were left.
#pragma once

#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "env/clock.h"
#include "meter/receipt.h"
#include "tlog/note.h"

namespace tg::gateway {

// A slice this old, of a request that has no receipt, belongs to no process any more: one that
// lives renews its hold more often.
inline constexpr i64 kOrphanNs = 600'000'000'000;

class SliceWatch {
 public:
  // Copies of receipts (archive.h) under `own`, the key of a gateway's meter, are passed over.
  explicit SliceWatch(std::optional<tlog::VerifierKey> own = std::nullopt) : own_(std::move(own)) {}

  // Takes a document in the ledger's order; the draft that it is, or another gateway's receipt as
  // one, if it ends a request.
  std::optional<meter::Draft> read(std::string_view document);
  // Drafts to be filed: of slices at or before `latest`.
  std::vector<meter::Draft> orphans(Timestamp latest) const;
  std::size_t size() const { return open_.size(); }

 private:
  struct Hash {
    std::size_t operator()(u128 id) const { return static_cast<std::size_t>(id); }
  };
  std::optional<meter::Draft> read_copy(std::string_view document) const;

  std::optional<tlog::VerifierKey> own_;
  std::unordered_map<u128, meter::Draft, Hash> open_;
};

}  // namespace tg::gateway
