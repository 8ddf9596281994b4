#include "gateway/archive.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "env/disk.h"
#include "ledger/id.h"
#include "meter/receipt_file.h"

namespace tg::gateway {

namespace {

constexpr std::size_t kCopiesMax = 1'024;
constexpr i64 kQuestionsMax = kBillingCommandsMax;
constexpr std::size_t kBatch = 256;
constexpr i64 kLookNs = 250'000'000;
constexpr i64 kTryAgainNs = 500'000'000;
// For what is left at the end.
constexpr i64 kLastNs = 10'000'000'000;
constexpr u64 kProgressBytesMax = 64;
constexpr u32 kProgressMode = 0600;

// Under the request's own id the shared ledger may have another gateway's draft.
u128 archived_id(u128 id) {
  return ledger::id_from_name("receipt/" + to_hex(id));
}

u64 read_progress(const std::string& path) {
  Result<std::string> text = read_file(path, kProgressBytesMax);
  u64 value = 0;
  if (text.ok()) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

}  // namespace

// "use KEY PROJECT", then the buyer's file.
static constexpr std::string_view kUse = "use ";

static std::string to_text(const Archive::Copy& copy) {
  return std::string(kUse) + copy.key + " " + copy.project + "\n" + copy.file;
}

bool is_archived(std::string_view document) {
  return document.starts_with(kUse);
}

Result<ArchivedReceipt> parse_archived(std::string_view document) {
  ArchivedReceipt out;
  if (is_archived(document)) {
    std::size_t end = std::min(document.find('\n'), document.size());
    std::string_view use = document.substr(kUse.size(), end - kUse.size());
    std::size_t space = use.find(' ');
    if (space == std::string_view::npos || end == document.size())
      return Error{Code::kCorrupt, "archived receipt: whose use it was is cut"};
    out.key = use.substr(0, space);
    out.project = use.substr(space + 1);
    document.remove_prefix(end + 1);
  }
  TG_ASSIGN(out.parsed, meter::parse_receipt_file(document));
  out.file = document;
  return out;
}

Result<std::string> archived_receipt(ledger::Service& shared, u128 id,
                                     std::optional<AccountRef> account) {
  TG_ASSIGN(std::string text, shared.read_document(archived_id(id)));
  TG_ASSIGN(ArchivedReceipt found, parse_archived(text));
  bool is_another = account && found.parsed.receipt.buyer != *account;
  if (is_another) return Error{Code::kNotFound, "no such receipt"};
  return std::move(found.file);
}

Archive::Archive(ledger::Service& shared, Clock& clock, std::string progress_file)
    : shared_(shared),
      clock_(clock),
      progress_file_(std::move(progress_file)),
      first_(read_progress(progress_file_)),
      inbox_(kQuestionsMax + static_cast<i64>(kCopiesMax)) {
  thread_ = std::thread([this] { run(); });
}

Archive::~Archive() {
  inbox_.close();
  thread_.join();
}

// --- asking, from other threads -----------------------------------------------------------------

std::size_t Archive::room() const {
  return kCopiesMax - std::min<std::size_t>(waiting_, kCopiesMax);
}

void Archive::copy(std::vector<Copy> copies) {
  TG_ASSERT(copies.size() <= room());
  waiting_ += copies.size();
  for (Copy& copy : copies) {
    // There is room, unless questions have it for the moment.
    [[maybe_unused]] bool is_taken = inbox_.push(std::move(copy));
  }
}

bool Archive::submit(Question& question) {
  Message message = std::move(question);
  if (inbox_.try_push(message)) return true;
  question = std::move(std::get<Question>(message));
  return false;
}

// --- the thread ---------------------------------------------------------------------------------

void Archive::run() {
  std::vector<Message> messages;
  bool is_open = true;
  while (is_open) {
    messages.clear();
    inbox_.wait(messages, kLookNs);
    // Asked after the wait: what came before the close has been drained with it or is next.
    is_open = !inbox_.closed() || !messages.empty();
    for (Message& message : messages) {
      if (Copy* copy = std::get_if<Copy>(&message)) copies_.push_back(std::move(*copy));
    }
    for (const Message& message : messages) {
      if (const Question* question = std::get_if<Question>(&message)) answer(*question);
    }
    if (clock_.monotonic_ns() >= try_again_ns_) send();
  }
  i64 until_ns = clock_.monotonic_ns() + kLastNs;
  while (!copies_.empty() && !is_failing_ && clock_.monotonic_ns() < until_ns) send();
  if (!copies_.empty())
    log_warn("archive", "{} receipts are not copied yet; the next start goes on", copies_.size());
}

void Archive::answer(const Question& question) {
  Result<std::string> text = archived_receipt(shared_, question.id, question.account);
  BillingReply reply;
  reply.tag = question.tag;
  if (text.ok()) {
    reply.receipt = std::move(*text);
  } else {
    bool is_missing = text.error().code == Code::kNotFound;
    reply.status = is_missing ? BillingReply::Status::kNotFound : BillingReply::Status::kFailed;
    reply.message = text.error().message;
  }
  if (!question.reply_to->try_push(reply))
    log_error("archive", "an answer found its mailbox full or closed");
}

void Archive::send() {
  if (copies_.empty()) return;
  std::size_t count = std::min(copies_.size(), kBatch);
  Status sent = send(count);
  bool was_failing = std::exchange(is_failing_, !sent.ok());
  if (!sent.ok()) {
    try_again_ns_ = clock_.monotonic_ns() + kTryAgainNs;
    if (!was_failing) log_warn("archive", "receipts wait to be copied: {}", sent.error().message);
    return;
  }
  if (was_failing) log_info("archive", "receipts are copied again");
  copies_.erase(copies_.begin(), copies_.begin() + static_cast<std::ptrdiff_t>(count));
  waiting_ -= count;
}

// A copy that is there already has the proof that was made for it then.
Status Archive::send(std::size_t count) {
  ledger::Request request;
  for (std::size_t i = 0; i < count; ++i)
    request.documents.push_back({.id = archived_id(copies_[i].id), .bytes = to_text(copies_[i])});
  u64 next = copies_[count - 1].index + 1;
  ledger::Reply reply = shared_.execute(std::move(request));
  if (reply.error) return *reply.error;
  return write_file_durably(progress_file_, as_bytes(std::to_string(next)), kProgressMode);
}

}  // namespace tg::gateway
