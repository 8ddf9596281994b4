#include "engine/sched/queue.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::engine {

namespace {

using Owned = SequenceQueue::Owned;

struct LaterDue {
  bool operator()(const Owned& a, const Owned& b) const {
    return a->due_ns != b->due_ns ? a->due_ns > b->due_ns : a->serial > b->serial;
  }
};

struct Precedes {
  bool operator()(const Owned& a, const Owned& b) const { return a->standing < b->standing; }
};

template <typename Before>
void insert(std::vector<Owned>& line, Owned sequence, Before before) {
  std::vector<Owned>::iterator place = std::upper_bound(line.begin(), line.end(), sequence, before);
  line.insert(place, std::move(sequence));
}

// The rest keeps its order.
template <typename Goes>
void move_some(std::vector<Owned>& from, std::vector<Owned>& out, Goes goes) {
  std::size_t kept = 0;
  for (Owned& sequence : from) {
    if (goes(*sequence)) {
      out.push_back(std::move(sequence));
    } else if (Owned& slot = from[kept++]; &slot != &sequence) {
      slot = std::move(sequence);
    }
  }
  from.resize(kept);
}

void move_ended(std::vector<Owned>& from, std::vector<Owned>& out) {
  move_some(from, out, [](const Sequence& sequence) { return sequence.ending.has_value(); });
}

}  // namespace

i64 SequenceQueue::waiting() const {
  i64 sum = 0;
  for (const std::vector<Owned>& line : waiting_) sum += static_cast<i64>(line.size());
  return sum;
}

i64 SequenceQueue::waiting(Priority priority) const {
  return static_cast<i64>(waiting_[static_cast<std::size_t>(priority)].size());
}

Sequence* SequenceQueue::find(u64 id) const {
  auto has_id = [id](const Owned& sequence) { return sequence->request.id == id; };
  std::vector<Owned>::const_iterator found = std::ranges::find_if(running_, has_id);
  if (found != running_.end()) return found->get();
  for (const std::vector<Owned>& line : waiting_) {
    found = std::ranges::find_if(line, has_id);
    if (found != line.end()) return found->get();
  }
  found = std::ranges::find_if(paused_, has_id);
  return found != paused_.end() ? found->get() : nullptr;
}

i64 SequenceQueue::paused(Priority priority) const {
  return std::ranges::count_if(
      paused_, [priority](const Owned& s) { return s->request.priority == priority; });
}

void SequenceQueue::reserve(i64 running_max, i64 waiting_max) {
  running_.reserve(static_cast<std::size_t>(running_max));
  for (std::vector<Owned>& line : waiting_) {
    // Whoever is preempted comes back on top of a full line; who is paused counts as waiting.
    line.reserve(static_cast<std::size_t>(waiting_max + running_max));
  }
  paused_.reserve(static_cast<std::size_t>(kPriorities) * static_cast<std::size_t>(waiting_max) +
                  static_cast<std::size_t>(running_max));
}

std::vector<Owned>& SequenceQueue::line_of(const Sequence& sequence) {
  return waiting_[static_cast<std::size_t>(sequence.request.priority)];
}

void SequenceQueue::add(Owned sequence) {
  TG_ASSERT(sequence->due_ns <= sequence->ripe_ns);
  std::vector<Owned>& line = line_of(*sequence);
  insert(line, std::move(sequence), LaterDue());
}

void SequenceQueue::rank_running(i64 now_ns) {
  for (Owned& sequence : running_) sequence->standing = sequence->standing_at(now_ns);
  std::ranges::sort(running_, Precedes());
}

Sequence* SequenceQueue::next(i64 now_ns) const {
  Sequence* first = nullptr;
  for (const std::vector<Owned>& line : waiting_) {
    if (line.empty()) continue;
    Sequence* head = line.back().get();
    if (first == nullptr || head->standing_at(now_ns) < first->standing_at(now_ns)) first = head;
  }
  return first;
}

void SequenceQueue::admit(Sequence& sequence, i64 now_ns) {
  std::vector<Owned>& line = line_of(sequence);
  TG_ASSERT(!line.empty() && line.back().get() == &sequence);
  sequence.standing = sequence.standing_at(now_ns);
  Owned owned = std::move(line.back());
  line.pop_back();
  insert(running_, std::move(owned), Precedes());
}

Sequence& SequenceQueue::preempt_last() {
  TG_ASSERT(!running_.empty());
  Owned victim = std::move(running_.back());
  running_.pop_back();
  Sequence& sequence = *victim;
  ++sequence.preemptions;
  line_up_again(std::move(victim));
  return sequence;
}

// It started before those that have not: of its class only older ones come before it.
void SequenceQueue::line_up_again(Owned owned) {
  Sequence& sequence = *owned;
  sequence.ripe_ns -= sequence.due_ns - sequence.submitted_ns;
  sequence.due_ns = sequence.submitted_ns;
  insert(line_of(sequence), std::move(owned), LaterDue());
}

void SequenceQueue::set_paused_aside() {
  move_some(running_, paused_, [](const Sequence& s) { return s.paused_ns != 0; });
}

void SequenceQueue::resume(Sequence& sequence, bool has_slot) {
  TG_ASSERT(sequence.paused_ns != 0 && !sequence.ending);
  std::vector<Owned>::iterator found =
      std::ranges::find_if(paused_, [&](const Owned& owned) { return owned.get() == &sequence; });
  TG_ASSERT(found != paused_.end());
  Owned owned = std::move(*found);
  paused_.erase(found);
  sequence.paused_ns = 0;
  if (has_slot && !sequence.blocks.empty()) {
    insert(running_, std::move(owned), Precedes());
  } else {
    TG_ASSERT(sequence.blocks.empty());
    line_up_again(std::move(owned));
  }
}

void SequenceQueue::end(Sequence& sequence, Finish reason, std::string error) {
  TG_ASSERT(!sequence.ending);
  sequence.ending = Ending{reason, std::move(error)};
  ++marked_;
}

void SequenceQueue::take_ended(std::vector<Owned>& out) {
  out.clear();
  if (marked_ == 0) return;
  move_ended(running_, out);
  for (std::vector<Owned>& line : waiting_) move_ended(line, out);
  move_ended(paused_, out);
  TG_ASSERT(static_cast<i64>(out.size()) == marked_);
  marked_ = 0;
}

}  // namespace tg::engine
