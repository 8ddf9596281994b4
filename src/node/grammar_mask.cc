#include "node/grammar_mask.h"

#include "base/assert.h"

namespace tg::node {

namespace {

constexpr i64 kJobsMax = 1'024;
constexpr i64 kWaitNs = 100'000'000;

}  // namespace

MaskWorker::MaskWorker() : inbox_(kJobsMax), thread_([this] { run(); }) {}

MaskWorker::~MaskWorker() {
  inbox_.close();
  thread_.join();
}

void MaskWorker::warm(grammar::GrammarMatcher matcher, std::vector<TokenId> tokens) {
  Job job{std::move(matcher), std::move(tokens)};
  inbox_.try_push(job);
}

void MaskWorker::run() {
  std::vector<Job> jobs;
  std::vector<u64> words;
  auto fill = [&](grammar::GrammarMatcher& matcher) {
    if (matcher.is_mask_known()) return;
    words.resize(static_cast<std::size_t>(matcher.words()));
    matcher.fill_mask(words);
    ++masks_;
  };
  while (!inbox_.closed()) {
    jobs.clear();
    inbox_.wait(jobs, kWaitNs);
    for (Job& job : jobs) {
      fill(job.matcher);
      for (TokenId token : job.tokens) {
        if (!job.matcher.accept(token)) break;
        fill(job.matcher);
      }
    }
  }
}

i64 GrammarMask::prepare(std::span<const i32> proposed) {
  grammar::GrammarMatcher ahead = matcher_.without_history();
  bool is_known = ahead.is_mask_known();
  i64 kept = 0;
  for (i32 token : proposed) {
    // A token that ends the reply is none of the text's.
    if (!ahead.accept(token) || ahead.is_finished()) break;
    is_known = is_known && ahead.is_mask_known();
    ++kept;
  }
  if (!is_known) {
    worker_.warm(matcher_.without_history(), {proposed.begin(), proposed.begin() + kept});
  }
  return kept;
}

void GrammarMask::allow(std::span<u64> words) {
  if (!matcher_.is_mask_known()) worker_.note_late_mask();
  matcher_.fill_mask(words);
  // The engine has its own word about ends: the request's stop tokens, if there are any.
  for (TokenId end : matcher_.ends()) words[end / 64] &= ~(u64{1} << (end % 64));
}

void GrammarMask::accept(i32 token) {
  bool is_accepted = matcher_.accept(token);
  TG_ASSERT(is_accepted);
}

}  // namespace tg::node
