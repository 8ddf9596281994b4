#include "ledger/lease_service.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "ledger/id.h"

namespace tg::ledger {

namespace {

constexpr i64 kQuestionsMax = 8'192;
constexpr i64 kNsPerMs = 1'000'000;
// How often both threads look around when nobody asks.
constexpr i64 kLookNs = 100 * kNsPerMs;
constexpr i64 kStopNsMax = 1'000 * kNsPerMs;
// For giving back at the end.
constexpr i64 kLastNs = 10'000 * kNsPerMs;
constexpr i64 kAskNs = 15'000 * kNsPerMs;
// Marks the account whose id is this ledger's name among those who lease.
constexpr u32 kNameProduct = 1;

// The name is lost with the ledger and never given again, as the rounds that it names are.
Result<std::string> name_of(Service& own, u32 ledger, Timestamp now, Random& random) {
  TG_ASSIGN(std::vector<Account> accounts, own.all_accounts());
  for (const Account& account : accounts) {
    if (account.code == account_code::kLeaseBook && account.product == kNameProduct)
      return to_hex(account.id);
  }
  Request request;
  request.accounts.push_back({.id = time_ordered_id(now, random),
                              .ledger = ledger,
                              .product = kNameProduct,
                              .code = account_code::kLeaseBook});
  std::string name = to_hex(request.accounts[0].id);
  Reply reply = own.execute(std::move(request));
  if (reply.succeeded()) return name;
  return Error{Code::kIo, "lease: " + reply.failure()};
}

}  // namespace

// --- opening and closing ------------------------------------------------------------------------

Result<std::unique_ptr<LeaseService>> LeaseService::start(Service& own, Service& shared,
                                                          Clock& clock,
                                                          LeaseServiceOptions options) {
  TG_ASSERT(!options.terms.empty());
  OsRandom random;
  TG_ASSIGN(std::string name, name_of(own, options.terms.begin()->first, clock.now(), random));
  std::unique_ptr<LeaseService> service(
      new LeaseService(own, shared, clock, std::move(options), std::move(name)));
  TG_TRY(service->tender_.recover());
  service->publish();
  service->answering_ = std::thread([&s = *service] { s.answer_all(); });
  service->tending_ = std::thread([&s = *service] { s.tend_all(); });
  return service;
}

LeaseService::LeaseService(Service& own, Service& shared, Clock& clock, LeaseServiceOptions options,
                           std::string name)
    : own_(own),
      clock_(clock),
      stop_every_ns_(std::min(kStopNsMax, i64{options.timeout_ms} * kNsPerMs / 40)),
      tender_(own, shared, clock, random_, std::move(name), std::move(options)),
      inbox_(kQuestionsMax),
      jobs_(kQuestionsMax) {}

LeaseService::~LeaseService() {
  jobs_.close();
  if (tending_.joinable()) tending_.join();
  inbox_.close();
  if (answering_.joinable()) answering_.join();
}

// --- asking, from any thread --------------------------------------------------------------------

bool LeaseService::submit(Request& request, u128 least, std::shared_ptr<Mailbox<Reply>> reply_to) {
  std::variant<Question, LeaseJob> message =
      Question{.request = std::move(request), .least = least, .reply_to = std::move(reply_to)};
  if (inbox_.try_push(message)) return true;
  request = std::move(std::get<Question>(message).request);
  return false;
}

Result<std::optional<Account>> LeaseService::ask(u128 account, LeaseUse use) {
  Question question{.use = use, .reply_to = std::make_shared<Mailbox<Reply>>(1)};
  question.request.lookups = {account};
  std::shared_ptr<Mailbox<Reply>> reply_to = question.reply_to;
  if (!inbox_.push(std::move(question))) return Error{Code::kUnavailable, "lease: stopped"};
  std::vector<Reply> replies;
  reply_to->wait(replies, kAskNs);
  if (replies.empty()) return Error{Code::kUnavailable, "lease: no answer"};
  if (replies[0].error) return *replies[0].error;
  return replies[0].lookups.at(0);
}

LeaseFigures LeaseService::figures() const {
  std::lock_guard lock(figures_mutex_);
  LeaseFigures out = figures_;
  out.late = late_;
  return out;
}

void LeaseService::publish() {
  LeaseFigures now = tender_.figures();
  std::lock_guard lock(figures_mutex_);
  figures_ = std::move(now);
}

// --- the answering thread -----------------------------------------------------------------------

void LeaseService::answer_all() {
  std::vector<std::variant<Question, LeaseJob>> messages;
  bool is_open = true;
  while (is_open) {
    messages.clear();
    inbox_.wait(messages, std::min(kLookNs, stop_every_ns_));
    // Asked after the wait: what came before the close has been drained with it or is next.
    is_open = !inbox_.closed() || !messages.empty();
    for (std::variant<Question, LeaseJob>& message : messages) {
      if (Question* question = std::get_if<Question>(&message)) {
        take(std::move(*question));
      } else {
        finish(std::move(std::get<LeaseJob>(message)));
      }
    }
    give_up_late();
    stop_overdue();
  }
}

void LeaseService::take(Question question) {
  LeaseJob job{.number = number_next_++,
               .accounts = question.request.lookups,
               .least = question.least,
               .use = question.use,
               .status = {}};
  u64 number = job.number;
  waiting_.emplace(number, Waiting{.question = std::move(question),
                                   .until_ns = clock_.monotonic_ns() + kLeasePatienceNs});
  if (jobs_.try_push(job)) return;
  job.status = Error{Code::kIo, "lease: too much is asked for"};
  finish(std::move(job));
}

void LeaseService::finish(LeaseJob done) {
  auto found = waiting_.find(done.number);
  if (found == waiting_.end()) return;
  Question question = std::move(found->second.question);
  waiting_.erase(found);
  Reply refused{.tag = question.request.tag};
  if (done.status.ok()) {
    question.request.lookups = std::move(done.accounts);
    if (own_.submit(question.request, question.reply_to)) return;
    refused.error = Error{Code::kUnavailable, "the ledger's queue is full or stopped"};
  } else {
    refused.error = Error{Code::kIo, done.status.error().message};
  }
  if (!question.reply_to->try_push(refused) && !question.reply_to->closed())
    log_error("ledger", "lease: an answer found its mailbox full");
}

// Numbers and deadlines grow together.
void LeaseService::give_up_late() {
  i64 now_ns = clock_.monotonic_ns();
  while (!waiting_.empty() && waiting_.begin()->second.until_ns <= now_ns) {
    LeaseJob late{.number = waiting_.begin()->first, .accounts = {}, .status = {}};
    late.status = Error{Code::kIo, "the shared ledger does not answer"};
    ++late_;
    finish(std::move(late));
  }
}

void LeaseService::stop_overdue() {
  i64 now_ns = clock_.monotonic_ns();
  if (now_ns - stopped_at_ns_ < stop_every_ns_) return;
  stopped_at_ns_ = now_ns;
  Status stopped = tender_.stop_overdue();
  if (!stopped.ok()) log_error("ledger", "a lease that ends: {}", stopped.error().message);
}

// --- the tending thread -------------------------------------------------------------------------

void LeaseService::tend_all() {
  std::vector<LeaseJob> jobs;
  bool is_open = true;
  bool was_well = true;
  i64 looked_at_ns = 0;
  while (is_open) {
    jobs.clear();
    jobs_.wait(jobs, tender_.has_due() ? 0 : kLookNs);
    is_open = !jobs_.closed() || !jobs.empty();
    tender_.provide(jobs);
    for (LeaseJob& job : jobs) {
      [[maybe_unused]] bool is_told = inbox_.push(std::move(job));
    }
    // Who asks goes before what is due.
    tender_.tend();
    i64 now_ns = clock_.monotonic_ns();
    if (tender_.has_due() || now_ns - looked_at_ns < kLookNs) continue;
    looked_at_ns = now_ns;
    Status looked = tender_.look();
    // The own ledger has failed, and says so to all who use it.
    if (!looked.ok() && was_well) log_error("ledger", "leases: {}", looked.error().message);
    was_well = looked.ok();
    publish();
  }
  tender_.give_back_all(clock_.monotonic_ns() + kLastNs);
}

}  // namespace tg::ledger
