// All open requests: those that run (they hold blocks), in order of precedence, and those that
// wait, by class and due time. Only the order is decided here; the scheduler decides who moves.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "engine/sched/sequence.h"

namespace tg::engine {

class SequenceQueue {
 public:
  using Owned = std::unique_ptr<Sequence>;

  i64 running() const { return static_cast<i64>(running_.size()); }
  i64 waiting() const;
  i64 waiting(Priority priority) const;
  i64 open() const { return running() + waiting(); }
  // A running one. REQUIRES: 0 <= index < running().
  Sequence& at(i64 index) const { return *running_[static_cast<std::size_t>(index)]; }
  // The open request of that id, or null.
  Sequence* find(u64 id) const;

  // Makes room, so that moving sequences allocates nothing later.
  void reserve(i64 running_max, i64 waiting_max);
  // A new one, to wait. REQUIRES: due_ns <= ripe_ns, serials ascend.
  void add(Owned sequence);
  // Renews the standing of those who run, and their order: time makes them ripe.
  void rank_running(i64 now_ns);
  // The waiting one whose turn it is, or null.
  Sequence* next(i64 now_ns) const;
  // Moves it among the running, with the standing it has now. REQUIRES: the first of its class.
  void admit(Sequence& sequence, i64 now_ns);
  // Moves the last of the running back to wait, due, and so ripe, as early as if it had wished for
  // its first token at once.
  Sequence& preempt_last();
  // Marks it; take_ended() removes it. REQUIRES: not marked yet.
  void end(Sequence& sequence, Finish reason, std::string error = {});
  // The marked ones, running ones first; the rest keeps its order.
  void take_ended(std::vector<Owned>& out);

 private:
  std::vector<Owned>& line_of(const Sequence& sequence);

  std::vector<Owned> running_;
  // By class; latest due first, so that the next one is at the back.
  std::array<std::vector<Owned>, kPriorities> waiting_;
  i64 marked_ = 0;
};

}  // namespace tg::engine
