// Finite automata over bytes whose edges may also call a rule of a grammar: what every rule is
// compiled to. Subset construction (Rabin and Scott) makes them deterministic; a called rule counts
// as one more letter there. Products of automata without calls give intersections and differences,
// which is how a pattern meets a length and a range meets a multiple.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::grammar {

// Most states an automaton may have, before and after it is made deterministic.
inline constexpr i64 kAutomatonStatesMax = i64{1} << 18;
// Most steps that all automata of one grammar may take together; bounds time where states do not.
inline constexpr i64 kConstructionStepsMax = i64{1} << 26;

struct Edge {
  u8 first = 0;
  u8 last = 0;
  i32 target = -1;
  bool operator==(const Edge&) const = default;
};

struct Call {
  i32 rule = -1;
  i32 target = -1;  // Where to go on once the rule has matched something.
};

struct Automaton {
  struct State {
    std::vector<Edge> edges;
    std::vector<Call> calls;
    std::vector<i32> jumps;  // To be in this state is to be in those, too.
    bool is_final = false;
  };
  std::vector<State> states;
  i32 start = 0;

  i32 add_state() {
    states.emplace_back();
    return static_cast<i32>(states.size()) - 1;
  }
};

// "Deterministic" below: no jumps; edges of a state in order and apart; one call per rule; every
// state can be reached and can still reach a final one, except that the start may be alone.

// The deterministic automaton of the same language; calls are taken to lead somewhere. kLimit past
// kAutomatonStatesMax, or once `steps`, to which the steps taken are added, passes
// kConstructionStepsMax.
Result<Automaton> determinize(const Automaton& automaton, i64& steps);

// The deterministic automaton with the fewest states. For small ones: Moore's rounds. REQUIRES:
// deterministic, without calls.
Automaton minimize(const Automaton& automaton);

// Products. REQUIRES: both deterministic, without calls.
Result<Automaton> intersect(const Automaton& a, const Automaton& b);
Result<Automaton> subtract(const Automaton& a, const Automaton& b);

// `unit` from `min` to `max` times, in `max` copies of it. kLimit past kAutomatonStatesMax.
// REQUIRES: `unit` is deterministic, has no calls, nothing leads from a final state or to the
// start; 0 <= min <= max.
Result<Automaton> repeat_counted(const Automaton& unit, i64 min, i64 max);

// By state, whether a final one can be reached from it, if a call of a rule leads on only where
// `leads_on(rule)`. REQUIRES: no jumps.
std::vector<bool> live_states(const Automaton& automaton, const std::function<bool(i32)>& leads_on);

// REQUIRES: deterministic, without calls.
bool matches(const Automaton& automaton, std::string_view bytes);
// The language is empty. REQUIRES: deterministic.
bool is_void(const Automaton& automaton);

}  // namespace tg::grammar
