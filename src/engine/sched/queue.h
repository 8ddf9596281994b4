// All open requests: those that run (they hold blocks), in order of precedence, those that wait, by
// class and due time, and those that are paused for funds (they may hold blocks). Only the order is
// decided here; the scheduler decides who moves.
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
  i64 paused() const { return static_cast<i64>(paused_.size()); }
  // Of a class.
  i64 paused(Priority priority) const;
  i64 open() const { return running() + waiting() + paused(); }
  // Whether anything is left to do but wait for funds.
  bool is_paused() const { return open() == paused() && marked_ == 0; }
  // A running one. REQUIRES: 0 <= index < running().
  Sequence& at(i64 index) const { return *running_[static_cast<std::size_t>(index)]; }
  // A paused one; the first has been so longest. REQUIRES: 0 <= index < paused().
  Sequence& paused_at(i64 index) const { return *paused_[static_cast<std::size_t>(index)]; }
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
  // Moves those of the running whose paused_ns is set aside.
  void set_paused_aside();
  // A paused one goes on: among the running if it still holds its blocks and `has_slot`, else it
  // waits as one that was preempted does.
  void resume(Sequence& sequence, bool has_slot);
  // Marks it; take_ended() removes it. REQUIRES: not marked yet.
  void end(Sequence& sequence, Finish reason, std::string error = {});
  // The marked ones, running ones first; the rest keeps its order.
  void take_ended(std::vector<Owned>& out);

 private:
  void line_up_again(Owned sequence);
  std::vector<Owned>& line_of(const Sequence& sequence);

  std::vector<Owned> running_;
  // By class; latest due first, so that the next one is at the back.
  std::array<std::vector<Owned>, kPriorities> waiting_;
  std::vector<Owned> paused_;
  i64 marked_ = 0;
};

}  // namespace tg::engine
