#include "gateway/bookkeeper.h"

#include "base/bytes.h"
#include "base/log.h"
#include "market/settle.h"

namespace tg::gateway {

namespace {

constexpr i64 kQuestionsMax = 1'024;
constexpr i64 kFollowNs = 250'000'000;
constexpr i64 kFileNs = 60'000'000'000;
constexpr i64 kGroupDocuments = 4'096;
constexpr i64 kAnswerNs = 60'000'000'000;

}  // namespace

std::optional<meter::Draft> SliceWatch::read(std::string_view document) {
  Result<meter::Draft> slice = market::parse_slice_document(document);
  if (slice.ok()) {
    u128 request = slice->receipt.request;
    open_[request] = std::move(*slice);
    return std::nullopt;
  }
  Result<meter::Draft> draft = meter::parse_draft(document, meter::Canon::kTrusted);
  if (!draft.ok()) return std::nullopt;
  open_.erase(draft->receipt.request);
  return std::move(*draft);
}

std::vector<meter::Draft> SliceWatch::orphans(Timestamp latest) const {
  std::vector<meter::Draft> out;
  for (const auto& [request, draft] : open_) {
    if (draft.receipt.time.ns <= latest.ns) out.push_back(draft);
  }
  return out;
}

Bookkeeper::Bookkeeper(ledger::Service& ledger, Clock& clock, Options options)
    : ledger_(ledger),
      clock_(clock),
      options_(options),
      started_(clock.now()),
      book_(options.capacity_ucredit_per_hour),
      inbox_(std::make_shared<Mailbox<UsageQuestion>>(kQuestionsMax)) {
  thread_ = std::thread([this] { run(); });
}

Bookkeeper::~Bookkeeper() {
  inbox_->close();
  thread_.join();
}

void Bookkeeper::run() {
  std::vector<UsageQuestion> questions;
  bool open = true;
  catch_up();
  file_orphans();
  while (open) {
    questions.clear();
    inbox_->wait(questions, kFollowNs);
    // Asked after the wait: what came before the close has been drained with it or is next.
    open = !inbox_->closed() || !questions.empty();
    catch_up();
    file_orphans();
    for (const UsageQuestion& question : questions) {
      BillingReply reply;
      reply.tag = question.tag;
      reply.receipt = book_.report(question.query);
      if (!question.reply_to->try_push(reply))
        log_error("bookkeeper", "a report found its mailbox full or closed");
    }
  }
}

void Bookkeeper::catch_up() {
  bool has_more = true;
  while (has_more) {
    Result<std::vector<ledger::StoredDocument>> documents =
        ledger_.documents_after(taken_, kGroupDocuments);
    // A ledger that is stopping or failed has said so itself.
    if (!documents.ok() || documents->empty()) return;
    // What comes meanwhile is for the next time: a question is answered after what was there.
    has_more = static_cast<i64>(documents->size()) == kGroupDocuments;
    for (const ledger::StoredDocument& document : *documents) {
      std::optional<meter::Draft> draft = slices_.read(document.bytes);
      if (draft) book_.add(*draft);
    }
    taken_ = documents->back().sequence;
  }
}

// The first time at once: whoever had requests open when the ledger was opened is gone.
void Bookkeeper::file_orphans() {
  i64 now_ns = clock_.now().ns;
  bool is_first = !has_filed_first_ && options_.is_exclusive;
  if (!is_first && now_ns - filed_at_ns_ < kFileNs) return;
  has_filed_first_ = true;
  filed_at_ns_ = now_ns;
  Timestamp latest{is_first ? started_.ns - 1 : now_ns - kOrphanNs};
  for (const meter::Draft& draft : slices_.orphans(latest)) {
    ledger::Request request;
    request.documents.push_back({.id = draft.receipt.request, .bytes = meter::to_text(draft)});
    ledger::Reply reply = ledger_.execute(std::move(request));
    bool is_there = reply.succeeded() ||
                    (reply.documents.size() == 1 &&
                     reply.documents[0] == ledger::DocumentStatus::kExistsWithDifferentBytes);
    if (!is_there) {
      log_error("bookkeeper", "request {}: its receipt could not be filed: {}",
                to_hex(draft.receipt.request), reply.failure());
      continue;
    }
    log_warn("bookkeeper", "request {} never ended: {} nano-ST were posted for {} tokens",
             to_hex(draft.receipt.request), draft.receipt.billed, draft.receipt.output_tokens[0]);
  }
}

Result<std::string> Bookkeeper::ask(UsageQuery query) {
  UsageQuestion question{.query = std::move(query),
                         .reply_to = std::make_shared<Mailbox<BillingReply>>(1)};
  std::shared_ptr<Mailbox<BillingReply>> mailbox = question.reply_to;
  if (!submit(question)) return Error{Code::kUnavailable, "the bookkeeper is busy or stopped"};
  std::vector<BillingReply> replies;
  mailbox->wait(replies, kAnswerNs);
  if (replies.empty()) return Error{Code::kUnavailable, "the bookkeeper did not answer"};
  return std::move(replies[0].receipt);
}

}  // namespace tg::gateway
