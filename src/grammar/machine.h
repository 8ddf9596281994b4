// The pushdown machine of a grammar: one deterministic automaton per rule in one array of states, a
// call from one to another pushing where to return. Rules that can never match are cut out, so that
// from every state some text leads to the end. Immutable.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "base/result.h"
#include "grammar/grammar.h"

namespace tg::grammar {

// Most states of a whole grammar.
inline constexpr i64 kMachineStatesMax = i64{1} << 20;

// A plain character is one that a JSON string holds as itself: neither '"' nor '\' nor a control
// character below U+0020. Runs of them are counted up to this many.
inline constexpr i32 kPlainCharsMax = 32;

struct Machine {
  struct State {
    u32 edges_begin = 0;
    u32 edges_end = 0;
    u32 calls_begin = 0;
    u32 calls_end = 0;
    bool is_final = false;
    // Any text of so many plain characters can follow here (kPlainCharsMax: at least).
    u8 plain_free = 0;
    // No text of more plain characters can (kPlainCharsMax + 1: unknown or without end).
    u8 plain_most = 0;
  };
  std::vector<State> states;
  std::vector<Edge> edges;
  std::vector<Call> calls;
  std::vector<i32> rule_start;
  // Each rule's place in an order in which every rule stands before those it can begin with.
  std::vector<i32> rule_position;
  i32 root = -1;
  bool is_root_nullable = false;
  i32 end_state = -1;  // Reached when the root has matched; final, leads nowhere.
  // Bytes that no edge tells apart are one class.
  std::array<u8, 256> class_of{};
  std::vector<u8> class_bytes;  // One byte of each class.

  std::span<const Edge> edges_of(i32 state) const {
    const State& s = states[state];
    return std::span<const Edge>(edges).subspan(s.edges_begin, s.edges_end - s.edges_begin);
  }
  std::span<const Call> calls_of(i32 state) const {
    const State& s = states[state];
    return std::span<const Call>(calls).subspan(s.calls_begin, s.calls_end - s.calls_begin);
  }
  // Where `byte` leads, or -1.
  i32 next(i32 state, u8 byte) const;
  // Final and nothing leads away: returning there is returning from it.
  bool is_done(i32 state) const {
    const State& s = states[state];
    return s.is_final && s.edges_begin == s.edges_end && s.calls_begin == s.calls_end;
  }
};

// kInvalid for a rule without a body, left recursion (a rule that can begin with itself) and a
// grammar that matches nothing at all; kLimit past a limit. Messages name the rule.
Result<Machine> compile_machine(const Grammar& grammar);

// Fills plain_free and plain_most.
void measure_plain_runs(Machine& machine);

}  // namespace tg::grammar
