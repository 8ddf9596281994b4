#include "gateway/bookkeeper.h"

#include "base/bytes.h"
#include "base/log.h"
#include "env/thread_priority.h"

namespace tg::gateway {

namespace {

constexpr i64 kQuestionsMax = 1'024;
constexpr i64 kFollowNs = 250'000'000;
constexpr i64 kFileNs = 60'000'000'000;
// Read at a time: the ledger's thread does it, and a request's hold waits behind it.
constexpr i64 kReadDocuments = 128;
constexpr i64 kAnswerNs = 60'000'000'000;
constexpr i64 kOthersNs = 3'000'000'000;

}  // namespace

Bookkeeper::Bookkeeper(ledger::Service& ledger, Clock& clock, Options options)
    : ledger_(ledger),
      clock_(clock),
      options_(options),
      started_(clock.now()),
      book_(options.capacity_ucredit_per_hour),
      inbox_(std::make_shared<Mailbox<UsageQuestion>>(kQuestionsMax)) {
  if (options_.shared != nullptr)
    others_ = std::make_unique<OthersUse>(*options_.shared, clock_, options_.meter);
  thread_ = std::thread([this] { run(); });
}

Bookkeeper::~Bookkeeper() {
  inbox_->close();
  thread_.join();
}

void Bookkeeper::run() {
  step_back();
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
    bool is_whole = questions.empty() || hear_of_others();
    for (const UsageQuestion& question : questions) {
      BillingReply reply;
      reply.tag = question.tag;
      reply.receipt = book_.report(question.query, is_whole);
      if (!question.reply_to->try_push(reply))
        log_error("bookkeeper", "a report found its mailbox full or closed");
    }
  }
}

void Bookkeeper::catch_up() {
  bool has_more = true;
  while (has_more) {
    Result<std::vector<ledger::StoredDocument>> documents =
        ledger_.documents_after(taken_, kReadDocuments);
    // A ledger that is stopping or failed has said so itself.
    if (!documents.ok() || documents->empty()) return;
    // What comes meanwhile is for the next time: a question is answered after what was there.
    has_more = static_cast<i64>(documents->size()) == kReadDocuments;
    for (const ledger::StoredDocument& document : *documents) {
      std::optional<meter::Draft> draft = slices_.read(document.bytes);
      if (draft) book_.add(*draft);
    }
    taken_ = documents->back().sequence;
  }
}

// False if there may be more.
bool Bookkeeper::hear_of_others() {
  if (others_ == nullptr) return true;
  std::vector<meter::Draft> drafts;
  bool is_whole = others_->take(drafts, kOthersNs);
  for (const meter::Draft& draft : drafts) book_.add(draft);
  return is_whole;
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
