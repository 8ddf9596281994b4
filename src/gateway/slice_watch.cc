#include "gateway/slice_watch.h"

#include <algorithm>
#include <utility>

#include "gateway/archive.h"
#include "market/settle.h"

namespace tg::gateway {

std::optional<meter::Draft> SliceWatch::read(std::string_view document) {
  Result<meter::Draft> slice = market::parse_slice_document(document);
  if (slice.ok()) {
    u128 request = slice->receipt.request;
    open_[request] = std::move(*slice);
    return std::nullopt;
  }
  Result<meter::Draft> draft = meter::parse_draft(document, meter::Canon::kTrusted);
  if (!draft.ok()) return read_copy(document);
  open_.erase(draft->receipt.request);
  return std::move(*draft);
}

std::optional<meter::Draft> SliceWatch::read_copy(std::string_view document) const {
  if (!is_archived(document)) return std::nullopt;
  Result<ArchivedReceipt> copy = parse_archived(document);
  if (!copy.ok()) return std::nullopt;
  auto is_own = [&](const tlog::NoteSignature& signature) {
    return own_.has_value() && signature.name == own_->name && signature.key == key_id(*own_);
  };
  const std::vector<tlog::NoteSignature>& signatures = copy->parsed.proof.checkpoint.signatures;
  if (std::any_of(signatures.begin(), signatures.end(), is_own)) return std::nullopt;
  return meter::Draft{
      .receipt = std::move(copy->parsed.receipt), .key = copy->key, .project = copy->project};
}

std::vector<meter::Draft> SliceWatch::orphans(Timestamp latest) const {
  std::vector<meter::Draft> out;
  for (const auto& [request, draft] : open_) {
    if (draft.receipt.time.ns <= latest.ns) out.push_back(draft);
  }
  return out;
}

}  // namespace tg::gateway
