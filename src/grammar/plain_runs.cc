// How much free text may follow in each state: what lets a mask take most of a vocabulary from a
// table instead of walking it. A state's character successors are found once, walking all plain
// characters' bytes through the machine; distances over them follow.
#include <algorithm>

#include "grammar/machine.h"

namespace tg::grammar {
namespace {

constexpr u8 kNoEnd = static_cast<u8>(kPlainCharsMax + 1);

// The plain characters as byte sequences, sharing what they share: a small deterministic automaton
// whose only final state leads nowhere.
Automaton plain_char() {
  Grammar grammar;
  i32 expr = grammar.chars(CharSet({{0x20, '!'}, {'#', '['}, {']', 0x10FFFF}}));
  return to_automaton(grammar, expr).value();
}

struct Successors {
  bool is_every_char_there = true;
  bool is_unknown = false;  // A call or a return may add text that these do not show.
  std::vector<i32> states;
};

class Walk {
 public:
  explicit Walk(const Machine& machine) : machine_(machine), unit_(plain_char()) {}

  Successors from(i32 state) {
    Successors out;
    walk(state, unit_.start, out);
    std::sort(out.states.begin(), out.states.end());
    out.states.erase(std::unique(out.states.begin(), out.states.end()), out.states.end());
    return out;
  }

 private:
  // At most four levels deep: a character has at most four bytes.
  void walk(i32 state, i32 unit, Successors& out) {
    const Machine::State& s = machine_.states[state];
    if (s.calls_begin != s.calls_end || (unit != unit_.start && s.is_final)) out.is_unknown = true;
    for (const Edge& wanted : unit_.states[unit].edges) {
      bool ends = unit_.states[wanted.target].is_final;
      i32 covered = wanted.first;
      for (const Edge& e : machine_.edges_of(state)) {
        if (e.last < wanted.first || e.first > wanted.last) continue;
        if (e.first > covered) out.is_every_char_there = false;
        covered = e.last + 1;
        if (!ends) {
          walk(e.target, wanted.target, out);
        } else {
          out.states.push_back(e.target);
        }
      }
      if (covered <= wanted.last) out.is_every_char_there = false;
    }
  }

  const Machine& machine_;
  Automaton unit_;
};

}  // namespace

void measure_plain_runs(Machine& machine) {
  Walk walk(machine);
  std::vector<Successors> successors;
  for (i32 s = 0; s < static_cast<i32>(machine.states.size()); ++s) {
    successors.push_back(walk.from(s));
    const Successors& found = successors.back();
    machine.states[s].plain_free = found.is_every_char_there ? kPlainCharsMax : 0;
    machine.states[s].plain_most = found.is_unknown ? kNoEnd : 0;
  }
  // After round n the numbers are right for runs of up to n characters.
  for (int round = 0; round <= kPlainCharsMax; ++round) {
    bool has_changed = false;
    for (std::size_t s = machine.states.size(); s-- > 0;) {
      Machine::State& state = machine.states[s];
      u8 least = state.plain_free;
      u8 most = state.plain_most;
      for (i32 next : successors[s].states) {
        const Machine::State& after = machine.states[next];
        least = std::min<u8>(least, static_cast<u8>(after.plain_free + 1));
        // A final state returns, and what follows there is not known here.
        u8 beyond = after.is_final ? kNoEnd : after.plain_most;
        most = std::max<u8>(most, std::min<u8>(kNoEnd, static_cast<u8>(beyond + 1)));
      }
      has_changed |= least != state.plain_free || most != state.plain_most;
      state.plain_free = least;
      state.plain_most = most;
    }
    if (!has_changed) break;
  }
}

}  // namespace tg::grammar
