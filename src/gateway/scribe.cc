#include "gateway/scribe.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/json_out.h"
#include "base/log.h"
#include "env/thread_priority.h"

namespace tg::gateway {

namespace {

constexpr i64 kQuestionsMax = kBillingCommandsMax;
constexpr i64 kGroupDocuments = 4'096;
// Read at a time: the ledger's thread does it, and a request's hold waits behind it.
constexpr i64 kReadDocuments = 128;
static_assert(kGroupDocuments % kReadDocuments == 0);
constexpr std::size_t kArchiveGroup = 128;
constexpr int kArchiveGroups = 4;
constexpr i64 kAnswerNs = 600'000'000'000;  // an audit reads everything

Error not_found() {
  return Error{Code::kNotFound, "no such receipt"};
}

// Pages are numbered in the ledger's order, so a document that is skipped or moved is a lost page.
Status check_sequence(const std::vector<ledger::StoredDocument>& documents, u64 after) {
  for (const ledger::StoredDocument& document : documents) {
    if (document.sequence != ++after) {
      return Error{Code::kCorrupt, "the ledger gave document " + std::to_string(document.sequence) +
                                       " in the place of " + std::to_string(after)};
    }
  }
  return {};
}

}  // namespace

Scribe::Scribe(ledger::Service& ledger, meter::ReceiptLog log, Archive* archive)
    : ledger_(ledger),
      log_(std::move(log)),
      archive_(archive),
      archived_(archive == nullptr ? 0 : archive->first()),
      inbox_(std::make_shared<Mailbox<ScribeQuestion>>(kQuestionsMax)) {
  thread_ = std::thread([this] { run(); });
}

Scribe::~Scribe() {
  inbox_->close();
  thread_.join();
}

void Scribe::run() {
  step_back();
  std::vector<ScribeQuestion> questions;
  bool open = true;
  while (open) {
    questions.clear();
    inbox_->wait(questions, kScribeIntervalNs);
    // Asked after the wait: what came before the close has been drained with it or is next.
    open = !inbox_->closed() || !questions.empty();
    catch_up();
    for (const ScribeQuestion& question : questions) answer(question);
    copy_to_archive();
  }
}

void Scribe::catch_up() {
  if (failure_) return;
  Status taken = take_new_documents();
  if (taken.ok()) return;
  // A ledger that is stopping or failed has said so itself; the log is then as far as it gets.
  if (taken.error().code == Code::kUnavailable) return;
  log_error("scribe", "no more pages until restarted: {}", taken.error().message);
  failure_ = taken.error();
}

// A group costs the log several syncs however small it is: what comes meanwhile waits for the next
// time, or under load they would follow each other without an end.
Status Scribe::take_new_documents() {
  bool has_more = true;
  while (has_more) {
    TG_ASSIGN(std::vector<std::string> group, read_group());
    if (group.empty()) return {};
    has_more = static_cast<i64>(group.size()) == kGroupDocuments;
    TG_TRY(log_.append(group));
  }
  return {};
}

Result<std::vector<std::string>> Scribe::read_group() {
  std::vector<std::string> group;
  bool has_more = true;
  while (has_more && static_cast<i64>(group.size()) < kGroupDocuments) {
    u64 after = log_.size() + group.size();
    TG_ASSIGN(std::vector<ledger::StoredDocument> documents,
              ledger_.documents_after(after, kReadDocuments));
    TG_TRY(check_sequence(documents, after));
    has_more = static_cast<i64>(documents.size()) == kReadDocuments;
    for (ledger::StoredDocument& document : documents) group.push_back(std::move(document.bytes));
  }
  return group;
}

// Not all at once: somebody may ask something meanwhile.
void Scribe::copy_to_archive() {
  if (archive_ == nullptr) return;
  for (int i = 0; i < kArchiveGroups; ++i) {
    Result<std::size_t> copied = copy_group();
    if (copied.ok() && *copied > 0) continue;
    if (!copied.ok() && copied.error().code != Code::kUnavailable) {
      log_error("scribe", "no more receipts for other gateways: {}", copied.error().message);
      archive_ = nullptr;
    }
    return;
  }
}

Result<std::size_t> Scribe::copy_group() {
  std::size_t room = std::min(archive_->room(), kArchiveGroup);
  if (room == 0 || archived_ >= log_.size()) return std::size_t{0};
  TG_ASSIGN(std::vector<ledger::StoredDocument> documents,
            ledger_.documents_after(archived_, static_cast<i64>(room)));
  TG_TRY(check_sequence(documents, archived_));
  std::vector<Archive::Copy> copies;
  for (const ledger::StoredDocument& document : documents) {
    u64 index = document.sequence - 1;
    if (index >= log_.size()) break;
    Archive::Copy copy{.index = index, .id = document.id};
    TG_ASSIGN(copy.file, log_.receipt_file(index, document.bytes));
    Result<meter::Draft> draft = meter::parse_draft(document.bytes, meter::Canon::kTrusted);
    if (draft.ok()) {
      copy.key = draft->key;
      copy.project = draft->project;
    }
    copies.push_back(std::move(copy));
  }
  std::size_t count = copies.size();
  archived_ += count;
  archive_->copy(std::move(copies));
  return count;
}

Result<std::string> Scribe::read_receipt(const ScribeQuestion& question) {
  Result<std::string> document = ledger_.read_document(question.id);
  if (!document.ok()) return document;
  TG_ASSIGN(meter::Receipt receipt, meter::parse_stored(*document));
  if (question.account && receipt.buyer != *question.account) return not_found();
  if (receipt.version == 1) return document;
  std::optional<u64> index = log_.find(question.id);
  if (!index) {
    if (failure_) return *failure_;
    return Error{Code::kUnavailable, "receipt " + to_hex(question.id) + " is not in the log yet"};
  }
  return log_.receipt_file(*index, *document);
}

Result<std::string> Scribe::audit() {
  if (failure_) return *failure_;
  u64 taken = 0;
  while (taken < log_.size()) {
    TG_ASSIGN(std::vector<ledger::StoredDocument> documents,
              ledger_.documents_after(taken, kReadDocuments));
    TG_TRY(check_sequence(documents, taken));
    if (documents.empty())
      return Error{Code::kCorrupt, "the log has more entries than the ledger documents"};
    for (const ledger::StoredDocument& document : documents) {
      if (taken == log_.size()) break;
      TG_TRY(log_.check_document(taken++, document.bytes));
    }
  }
  TG_TRY(log_.log().check());
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("log").string(log_.log().origin());
  json.key("entries").number_u64(log_.size()).key("pages").number_u64(log_.pages());
  json.key("nominal_nst").raw(to_string(log_.registers().nominal_nst));
  json.key("billed").raw(to_string(log_.registers().billed));
  json.key("checkpoint").string(tlog::to_text(log_.log().checkpoint())).end_object();
  return out;
}

// Whether the archive answers in our place.
bool Scribe::is_in_archive(const ScribeQuestion& question, const Result<std::string>& found) {
  bool is_elsewhere = archive_ != nullptr && question.kind == ScribeQuestion::Kind::kReceipt &&
                      !found.ok() && found.error().code == Code::kNotFound;
  if (!is_elsewhere) return false;
  Archive::Question asked{.id = question.id,
                          .account = question.account,
                          .tag = question.tag,
                          .reply_to = question.reply_to};
  return archive_->submit(asked);
}

void Scribe::answer(const ScribeQuestion& question) {
  Result<std::string> text =
      question.kind == ScribeQuestion::Kind::kReceipt    ? read_receipt(question)
      : question.kind == ScribeQuestion::Kind::kResource ? log_.log().resource(question.path)
                                                         : audit();
  if (is_in_archive(question, text)) return;
  BillingReply reply;
  reply.tag = question.tag;
  if (text.ok()) {
    reply.receipt = std::move(*text);
  } else {
    bool missing = text.error().code == Code::kNotFound;
    reply.status = missing ? BillingReply::Status::kNotFound : BillingReply::Status::kFailed;
    reply.message = text.error().message;
  }
  if (!question.reply_to->try_push(reply))
    log_error("scribe", "an answer found its mailbox full or closed");
}

Result<std::string> Scribe::ask(ScribeQuestion question) {
  question.reply_to = std::make_shared<Mailbox<BillingReply>>(1);
  std::shared_ptr<Mailbox<BillingReply>> mailbox = question.reply_to;
  if (!submit(question)) return Error{Code::kUnavailable, "the receipt log is busy or stopped"};
  std::vector<BillingReply> replies;
  mailbox->wait(replies, kAnswerNs);
  if (replies.empty()) return Error{Code::kUnavailable, "the receipt log did not answer"};
  BillingReply& reply = replies[0];
  if (reply.status == BillingReply::Status::kOk) return std::move(reply.receipt);
  Code code =
      reply.status == BillingReply::Status::kNotFound ? Code::kNotFound : Code::kUnavailable;
  return Error{code, std::move(reply.message)};
}

}  // namespace tg::gateway
