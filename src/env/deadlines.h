// Deadlines of operations that nearly always end long before: entering and leaving cost a few
// pointers, and whoever sweeps the list every few milliseconds finds what is late. A timer of its
// own for each operation costs more than most operations.
#pragma once

#include "base/assert.h"
#include "base/types.h"

namespace tg {

class Deadlines {
 public:
  // While it is entered it stays where it is.
  class Entry {
   public:
    Entry() = default;
    virtual ~Entry() { leave(); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    void leave() {
      if (next_ == nullptr) return;
      next_->previous_ = previous_;
      previous_->next_ = next_;
      next_ = previous_ = nullptr;
    }

   private:
    friend class Deadlines;
    // It is late; called at every sweep until it leaves. Must not enter or leave any.
    virtual void expire() = 0;
    i64 at_ns_ = 0;
    Entry* next_ = nullptr;
    Entry* previous_ = nullptr;
  };

  Deadlines() {
    ends_.next_ = &ends_;
    ends_.previous_ = &ends_;
  }
  ~Deadlines() {
    while (ends_.next_ != &ends_) ends_.next_->leave();
    ends_.next_ = ends_.previous_ = nullptr;
  }
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;

  // REQUIRES: it is not entered.
  void enter(Entry& entry, i64 at_ns) {
    TG_ASSERT(entry.next_ == nullptr);
    entry.at_ns_ = at_ns;
    entry.next_ = &ends_;
    entry.previous_ = ends_.previous_;
    ends_.previous_->next_ = &entry;
    ends_.previous_ = &entry;
    if (at_ns < earliest_ns_) earliest_ns_ = at_ns;
  }
  void sweep(i64 now_ns) {
    // Nearly always none can be late yet, and the list, which may be long, is not walked.
    if (now_ns < earliest_ns_) return;
    earliest_ns_ = INT64_MAX;
    for (Entry* entry = ends_.next_; entry != &ends_; entry = entry->next_) {
      if (entry->at_ns_ < earliest_ns_) earliest_ns_ = entry->at_ns_;
      if (now_ns >= entry->at_ns_) entry->expire();
    }
  }

  static constexpr i64 kSweepEveryNs = 10'000'000;

 private:
  struct Ends final : Entry {
    void expire() override {}
  };
  Ends ends_;
  i64 earliest_ns_ = INT64_MAX;  // No entry is late before.
};

}  // namespace tg
