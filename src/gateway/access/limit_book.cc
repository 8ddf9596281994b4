#include "gateway/access/limit_book.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::gateway {
namespace {

// A concurrency limit tells nothing about when a request will end.
constexpr i64 kConcurrentWaitNs = 1'000'000'000;

struct Counted {
  LimitedResource resource;
  i64 limit;
  i64 wanted;
  SlidingWindow* window;
};

std::optional<LimitRefusal> check_window(const Subject& subject, const Counted& counted,
                                         i64 now_ns) {
  if (counted.limit == 0) return std::nullopt;
  LimitRefusal refusal{.subject = &subject,
                       .resource = counted.resource,
                       .limit = counted.limit,
                       .wanted = counted.wanted};
  refusal.is_never = counted.wanted > counted.limit;
  if (refusal.is_never) return refusal;
  refusal.wait_ns = counted.window->wait_ns(counted.wanted, counted.limit, now_ns);
  if (refusal.wait_ns == 0) return std::nullopt;
  return refusal;
}

i64 limit_of(const RateLimits& limits, LimitedResource resource) {
  switch (resource) {
    case LimitedResource::kRequests: return limits.requests_per_minute;
    case LimitedResource::kTokens: return limits.tokens_per_minute;
    case LimitedResource::kWork: return limits.nst_per_minute;
    case LimitedResource::kConcurrent: return limits.concurrent;
  }
  return 0;
}

}  // namespace

LimitBook::Entry& LimitBook::entry(const Subject& subject) {
  std::unique_ptr<Entry>& slot = entries_[subject.number];
  if (slot == nullptr) slot = std::make_unique<Entry>();
  return *slot;
}

std::optional<LimitRefusal> LimitBook::check(const Subject& subject, const Demand& most,
                                             i64 now_ns) {
  const RateLimits& limits = subject.policy.limits;
  if (limits.is_unlimited()) return std::nullopt;
  Entry& used = entry(subject);
  if (limits.concurrent > 0 && used.open >= limits.concurrent) {
    return LimitRefusal{.subject = &subject,
                        .resource = LimitedResource::kConcurrent,
                        .limit = limits.concurrent,
                        .wanted = 1,
                        .wait_ns = kConcurrentWaitNs};
  }
  const Counted all[] = {
      {LimitedResource::kRequests, limits.requests_per_minute, 1, &used.requests},
      {LimitedResource::kTokens, limits.tokens_per_minute, most.tokens, &used.tokens},
      {LimitedResource::kWork, limits.nst_per_minute, most.nst, &used.work}};
  for (const Counted& counted : all) {
    std::optional<LimitRefusal> refusal = check_window(subject, counted, now_ns);
    if (refusal) return refusal;
  }
  return std::nullopt;
}

std::optional<LimitRefusal> LimitBook::admit(const Standing& standing, const Demand& most,
                                             i64 now_ns) {
  TG_ASSERT(most.tokens >= 0 && most.nst >= 0);
  for (const std::shared_ptr<const Subject>& subject : standing.levels) {
    std::optional<LimitRefusal> refusal = check(*subject, most, now_ns);
    if (refusal) return refusal;
  }
  for (const std::shared_ptr<const Subject>& subject : standing.levels) {
    Entry& used = entry(*subject);
    used.requests.add(1, now_ns);
    used.tokens.add(most.tokens, now_ns);
    used.work.add(most.nst, now_ns);
    used.used_ns = now_ns;
    ++used.open;
  }
  return std::nullopt;
}

void LimitBook::end(const Standing& standing, const Ended& ended, i64 now_ns) {
  for (const std::shared_ptr<const Subject>& subject : standing.levels) {
    Entry& used = entry(*subject);
    TG_ASSERT(used.open > 0);
    --used.open;
    used.used_ns = now_ns;
    used.tokens.correct(ended.used.tokens - ended.most.tokens, ended.admitted_ns, now_ns);
    used.work.correct(ended.used.nst - ended.most.nst, ended.admitted_ns, now_ns);
  }
}

Headroom LimitBook::headroom(const Standing& standing, LimitedResource resource, i64 now_ns) {
  Headroom least;
  for (const std::shared_ptr<const Subject>& subject : standing.levels) {
    i64 limit = limit_of(subject->policy.limits, resource);
    if (limit == 0) continue;
    Entry& used = entry(*subject);
    Headroom here{.limit = limit};
    if (resource == LimitedResource::kConcurrent) {
      here.remaining = std::max<i64>(0, limit - used.open);
    } else {
      SlidingWindow& window = resource == LimitedResource::kRequests ? used.requests
                              : resource == LimitedResource::kTokens ? used.tokens
                                                                     : used.work;
      here.remaining = std::max<i64>(0, limit - window.total(now_ns));
      here.reset_ns = window.empty_in_ns(now_ns);
    }
    if (least.limit == 0 || here.remaining < least.remaining) least = here;
  }
  return least;
}

i64 LimitBook::open(const Subject& subject) const {
  auto found = entries_.find(subject.number);
  return found == entries_.end() ? 0 : found->second->open;
}

void LimitBook::sweep(i64 now_ns) {
  constexpr i64 kForgetNs = 2 * SlidingWindow::kSpanNs;
  std::erase_if(entries_, [&](const auto& item) {
    return item.second->open == 0 && now_ns - item.second->used_ns > kForgetNs;
  });
}

}  // namespace tg::gateway
