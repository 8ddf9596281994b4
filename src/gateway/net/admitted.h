// That a request has been counted against its key's limits: the count is corrected when this ends.
#pragma once

#include <memory>

#include "env/clock.h"
#include "gateway/access/limit_book.h"

namespace tg::gateway {

struct Admission {
  Admission(LimitBook& limits, Clock& time, std::shared_ptr<const Standing> who, const Demand& most)
      : book(limits), clock(time), standing(std::move(who)) {
    ended.most = most;
    ended.admitted_ns = clock.monotonic_ns();
  }
  ~Admission() { book.end(*standing, ended, clock.monotonic_ns()); }
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  LimitBook& book;
  Clock& clock;
  std::shared_ptr<const Standing> standing;
  LimitBook::Ended ended;  // `used` is set when it is known.
};

}  // namespace tg::gateway
