#include "grammar/machine.h"

#include <algorithm>

namespace tg::grammar {
namespace {

class Compiler {
 public:
  explicit Compiler(const Grammar& grammar) : grammar_(grammar) {}

  Result<Machine> run() {
    TG_TRY(grammar_.check_limits());
    for (const Rule& rule : grammar_.rules) {
      if (rule.body < 0)
        return Error{Code::kInvalid, "grammar: rule " + rule.name + " is not defined"};
    }
    TG_TRY(build_automata());
    find_productive();
    if (!is_productive_[grammar_.root] && !nullable_[grammar_.root])
      return Error{Code::kInvalid, "grammar: no text can match it"};
    for (Automaton& a : automata_) prune(a);
    TG_TRY(order_rules());
    flatten();
    find_classes();
    measure_plain_runs(out_);
    return std::move(out_);
  }

 private:
  Status build_automata() {
    nullable_ = find_nullable(grammar_);
    i64 states = 0;
    i64 steps = 0;
    for (const Rule& rule : grammar_.rules) {
      Result<Automaton> built = to_automaton(grammar_, rule.body, nullable_, steps);
      if (!built.ok()) {
        Error error = std::move(built).error();
        return Error{error.code, error.message + " (rule " + rule.name + ")"};
      }
      states += static_cast<i64>(built->states.size());
      if (states > kMachineStatesMax)
        return Error{Code::kLimit,
                     "grammar: more than " + std::to_string(kMachineStatesMax) + " states"};
      automata_.push_back(std::move(built).value());
    }
    return {};
  }

  std::vector<bool> productive_states(const Automaton& a) const {
    return live_states(a, [this](i32 rule) { return is_productive_[rule]; });
  }

  bool matches_something(const Automaton& a) const {
    std::vector<bool> is_live = productive_states(a);
    const Automaton::State& start = a.states[a.start];
    for (const Edge& e : start.edges)
      if (is_live[e.target]) return true;
    for (const Call& c : start.calls)
      if (is_productive_[c.rule] && is_live[c.target]) return true;
    return false;
  }

  // A rule is productive if it matches some text that is not empty. Callers are looked at again
  // when a rule they call has become so.
  void find_productive() {
    std::size_t count = automata_.size();
    is_productive_.assign(count, false);
    std::vector<std::vector<i32>> callers(count);
    for (std::size_t r = 0; r < count; ++r)
      for (const Automaton::State& s : automata_[r].states)
        for (const Call& c : s.calls) callers[c.rule].push_back(static_cast<i32>(r));
    std::vector<i32> work;
    for (std::size_t r = 0; r < count; ++r) work.push_back(static_cast<i32>(r));
    while (!work.empty()) {
      i32 r = work.back();
      work.pop_back();
      if (is_productive_[r] || !matches_something(automata_[r])) continue;
      is_productive_[r] = true;
      work.insert(work.end(), callers[r].begin(), callers[r].end());
    }
  }

  void prune(Automaton& a) const {
    std::vector<bool> is_live = productive_states(a);
    for (Automaton::State& s : a.states) {
      std::erase_if(s.edges, [&](const Edge& e) { return !is_live[e.target]; });
      std::erase_if(s.calls,
                    [&](const Call& c) { return !is_productive_[c.rule] || !is_live[c.target]; });
    }
  }

  // Depth first over "can begin with"; meeting a rule that is still open is left recursion.
  Status order_rules() {
    enum class Mark : u8 { kNew, kOpen, kDone };
    std::size_t count = automata_.size();
    std::vector<Mark> marks(count, Mark::kNew);
    out_.rule_position.assign(count, 0);
    i32 position = static_cast<i32>(count);
    struct Visit {
      i32 rule;
      std::size_t next;
    };
    for (std::size_t r = 0; r < count; ++r) {
      if (marks[r] != Mark::kNew) continue;
      std::vector<Visit> path = {{static_cast<i32>(r), 0}};
      marks[r] = Mark::kOpen;
      while (!path.empty()) {
        Visit& at = path.back();
        const Automaton& a = automata_[at.rule];
        const std::vector<Call>& calls = a.states[a.start].calls;
        if (at.next == calls.size()) {
          marks[at.rule] = Mark::kDone;
          out_.rule_position[at.rule] = --position;
          path.pop_back();
          continue;
        }
        i32 called = calls[at.next++].rule;
        if (marks[called] == Mark::kOpen)
          return Error{Code::kInvalid, "grammar: rule " + grammar_.rules[called].name +
                                           " is left-recursive: it can begin with itself"};
        if (marks[called] == Mark::kDone) continue;
        marks[called] = Mark::kOpen;
        path.push_back({called, 0});
      }
    }
    return {};
  }

  void flatten() {
    std::vector<i32> bases;
    i32 base = 0;
    for (const Automaton& a : automata_) {
      bases.push_back(base);
      out_.rule_start.push_back(base + a.start);
      base += static_cast<i32>(a.states.size());
    }
    for (std::size_t r = 0; r < automata_.size(); ++r)
      for (const Automaton::State& s : automata_[r].states) append(s, bases[r]);
    out_.end_state = base;
    append({.is_final = true}, 0);
    out_.root = grammar_.root;
    out_.is_root_nullable = nullable_[grammar_.root];
  }

  void append(const Automaton::State& from, i32 base) {
    Machine::State state;
    state.is_final = from.is_final;
    state.edges_begin = static_cast<u32>(out_.edges.size());
    for (const Edge& e : from.edges) out_.edges.push_back({e.first, e.last, base + e.target});
    state.edges_end = static_cast<u32>(out_.edges.size());
    state.calls_begin = static_cast<u32>(out_.calls.size());
    for (const Call& c : from.calls) out_.calls.push_back({c.rule, base + c.target});
    state.calls_end = static_cast<u32>(out_.calls.size());
    out_.states.push_back(state);
  }

  void find_classes() {
    std::array<bool, 257> is_cut{};
    is_cut[0] = true;
    for (const Edge& e : out_.edges) {
      is_cut[e.first] = true;
      is_cut[e.last + 1] = true;
    }
    for (int byte = 0; byte < 256; ++byte) {
      if (is_cut[byte]) out_.class_bytes.push_back(static_cast<u8>(byte));
      out_.class_of[byte] = static_cast<u8>(out_.class_bytes.size() - 1);
    }
  }

  const Grammar& grammar_;
  std::vector<bool> nullable_;
  std::vector<bool> is_productive_;
  std::vector<Automaton> automata_;
  Machine out_;
};

}  // namespace

i32 Machine::next(i32 state, u8 byte) const {
  for (const Edge& e : edges_of(state))
    if (e.first <= byte) {
      if (byte <= e.last) return e.target;
    } else {
      break;
    }
  return -1;
}

Result<Machine> compile_machine(const Grammar& grammar) {
  TG_ASSERT(grammar.root >= 0);
  return Compiler(grammar).run();
}

}  // namespace tg::grammar
