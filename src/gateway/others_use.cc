#include "gateway/others_use.h"

#include <iterator>
#include <utility>

namespace tg::gateway {

namespace {

constexpr i64 kPartDocuments = 1'024;
constexpr i64 kPartsMax = 8;
constexpr i64 kIdleNs = 60'000'000'000;

}  // namespace

OthersUse::OthersUse(ledger::Service& shared, Clock& clock, std::optional<tlog::VerifierKey> own)
    : shared_(shared), clock_(clock), slices_(std::move(own)), asked_(1), parts_(kPartsMax) {
  thread_ = std::thread([this] { run(); });
}

OthersUse::~OthersUse() {
  asked_.close();
  parts_.close();
  thread_.join();
}

bool OthersUse::take(std::vector<meter::Draft>& out, i64 wait_ns) {
  if (!is_asked_) is_asked_ = asked_.push(Asked{});
  i64 until_ns = clock_.monotonic_ns() + wait_ns;
  std::vector<Part> parts;
  while (true) {
    parts.clear();
    i64 left_ns = until_ns - clock_.monotonic_ns();
    if (left_ns <= 0) return false;
    parts_.wait(parts, left_ns);
    for (Part& part : parts) {
      out.insert(out.end(), std::make_move_iterator(part.drafts.begin()),
                 std::make_move_iterator(part.drafts.end()));
      if (!part.is_last) continue;
      is_asked_ = false;
      return part.is_whole;
    }
  }
}

void OthersUse::run() {
  std::vector<Asked> asked;
  while (true) {
    asked.clear();
    asked_.wait(asked, kIdleNs);
    if (asked.empty() && asked_.closed()) return;
    for (bool is_last = asked.empty(); !is_last;) {
      Part part = read_part();
      is_last = part.is_last;
      if (!parts_.push(std::move(part))) return;
    }
  }
}

OthersUse::Part OthersUse::read_part() {
  Result<std::vector<ledger::StoredDocument>> documents =
      shared_.documents_after(taken_, kPartDocuments);
  if (!documents.ok()) return {.is_last = true, .is_whole = false};
  Part part{.is_last = static_cast<i64>(documents->size()) < kPartDocuments};
  for (const ledger::StoredDocument& document : *documents) {
    std::optional<meter::Draft> draft = slices_.read(document.bytes);
    if (draft) part.drafts.push_back(std::move(*draft));
    taken_ = document.sequence;
  }
  return part;
}

}  // namespace tg::gateway
