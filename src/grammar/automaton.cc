#include "grammar/automaton.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

namespace tg::grammar {
namespace {

using Set = std::vector<i32>;  // Sorted.

struct SetHash {
  std::size_t operator()(const Set& set) const {
    u64 hash = 0xCBF29CE484222325u;
    for (i32 v : set) hash = (hash ^ static_cast<u32>(v)) * 0x9E3779B97F4A7C15u ^ (hash >> 29);
    return hash;
  }
};

Error too_many() {
  return {Code::kLimit, "grammar: a rule needs more than " + std::to_string(kAutomatonStatesMax) +
                            " states or too many steps to build"};
}

// Drops states from which no final one can be reached, and edges to them. Keeps the start.
Automaton trimmed(const Automaton& from) {
  i64 count = static_cast<i64>(from.states.size());
  std::vector<bool> is_live = live_states(from, [](i32) { return true; });
  is_live[from.start] = true;
  std::vector<i32> names(count, -1);
  Automaton out;
  for (i32 s = 0; s < count; ++s)
    if (is_live[s]) names[s] = out.add_state();
  out.start = names[from.start];
  for (i32 s = 0; s < count; ++s) {
    if (!is_live[s]) continue;
    Automaton::State& state = out.states[names[s]];
    state.is_final = from.states[s].is_final;
    for (Edge e : from.states[s].edges)
      if (is_live[e.target]) state.edges.push_back({e.first, e.last, names[e.target]});
    for (Call c : from.states[s].calls)
      if (is_live[c.target]) state.calls.push_back({c.rule, names[c.target]});
  }
  return out;
}

void append_edge(std::vector<Edge>& edges, Edge edge) {
  if (!edges.empty() && edges.back().target == edge.target && edges.back().last + 1 == edge.first) {
    edges.back().last = edge.last;
  } else {
    edges.push_back(edge);
  }
}

class SubsetConstruction {
 public:
  SubsetConstruction(const Automaton& from, i64& steps)
      : from_(from), mark_(from.states.size(), 0), steps_(steps) {}

  Result<Automaton> run() {
    out_.start = name({from_.start});
    for (i32 s = 0; s < static_cast<i32>(out_.states.size()); ++s) {
      if (steps_ > kConstructionStepsMax ||
          static_cast<i64>(out_.states.size()) > kAutomatonStatesMax)
        return too_many();
      expand(s);
    }
    return trimmed(out_);
  }

 private:
  // The deterministic state that stands for `targets` and where their jumps lead.
  i32 name(Set targets) {
    ++round_;
    Set set;
    while (!targets.empty()) {
      i32 s = targets.back();
      targets.pop_back();
      ++steps_;
      if (mark_[s] == round_) continue;
      mark_[s] = round_;
      const Automaton::State& state = from_.states[s];
      if (state.is_final || !state.edges.empty() || !state.calls.empty()) set.push_back(s);
      targets.insert(targets.end(), state.jumps.begin(), state.jumps.end());
    }
    std::sort(set.begin(), set.end());
    auto [found, is_new] = names_.try_emplace(set, static_cast<i32>(out_.states.size()));
    if (is_new) {
      out_.add_state();
      sets_.push_back(&found->first);
    }
    return found->second;
  }

  void expand(i32 s) {
    const Set& set = *sets_[s];
    std::vector<Edge> edges;
    std::vector<std::pair<i32, i32>> calls;
    for (i32 from : set) {
      const Automaton::State& state = from_.states[from];
      edges.insert(edges.end(), state.edges.begin(), state.edges.end());
      for (const Call& c : state.calls) calls.emplace_back(c.rule, c.target);
      if (state.is_final) out_.states[s].is_final = true;
    }
    expand_edges(s, edges);
    std::sort(calls.begin(), calls.end());
    for (std::size_t i = 0; i < calls.size();) {
      Set targets;
      i32 rule = calls[i].first;
      for (; i < calls.size() && calls[i].first == rule; ++i) targets.push_back(calls[i].second);
      i32 target = name(std::move(targets));
      out_.states[s].calls.push_back({rule, target});
    }
  }

  // Cuts the bytes where an edge begins or ends; between two cuts the targets are the same.
  void expand_edges(i32 s, const std::vector<Edge>& edges) {
    std::vector<i32> cuts;
    for (const Edge& e : edges) {
      cuts.push_back(e.first);
      cuts.push_back(e.last + 1);
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      Set targets;
      for (const Edge& e : edges)
        if (e.first <= cuts[i] && cuts[i] <= e.last) targets.push_back(e.target);
      steps_ += static_cast<i64>(edges.size());
      if (targets.empty()) continue;
      i32 target = name(std::move(targets));
      append_edge(out_.states[s].edges,
                  {static_cast<u8>(cuts[i]), static_cast<u8>(cuts[i + 1] - 1), target});
    }
  }

  const Automaton& from_;
  Automaton out_;
  std::unordered_map<Set, i32, SetHash> names_;
  std::vector<const Set*> sets_;
  std::vector<i64> mark_;
  i64 round_ = 0;
  i64& steps_;
};

// Pairs of states; b's half is -1 once b can match no more (differences only).
class Product {
 public:
  Product(const Automaton& a, const Automaton& b, bool subtracts)
      : a_(a), b_(b), subtracts_(subtracts) {}

  Result<Automaton> run() {
    out_.start = name(a_.start, b_.start);
    for (i32 s = 0; s < static_cast<i32>(out_.states.size()); ++s) {
      if (static_cast<i64>(out_.states.size()) > kAutomatonStatesMax) return too_many();
      expand(s);
    }
    return trimmed(out_);
  }

 private:
  i32 name(i32 a, i32 b) {
    u64 key = u64{static_cast<u32>(a)} << 32 | static_cast<u32>(b);
    auto [found, is_new] = names_.try_emplace(key, static_cast<i32>(out_.states.size()));
    if (is_new) {
      out_.add_state();
      pairs_.emplace_back(a, b);
      bool in_b = b >= 0 && b_.states[b].is_final;
      out_.states.back().is_final = a_.states[a].is_final && in_b != subtracts_;
    }
    return found->second;
  }

  void expand(i32 s) {
    std::pair<i32, i32> pair = pairs_[s];
    static const std::vector<Edge> kNone;
    const std::vector<Edge>& others = pair.second < 0 ? kNone : b_.states[pair.second].edges;
    for (const Edge& e : a_.states[pair.first].edges) {
      i32 next = e.first;
      for (const Edge& other : others) {
        if (other.last < next || other.first > e.last) continue;
        if (other.first > next) add(s, next, other.first - 1, e.target, -1);
        i32 first = std::max<i32>(next, other.first);
        i32 last = std::min<i32>(e.last, other.last);
        add(s, first, last, e.target, other.target);
        next = last + 1;
      }
      if (next <= e.last) add(s, next, e.last, e.target, -1);
    }
  }

  void add(i32 s, i32 first, i32 last, i32 a, i32 b) {
    if (b < 0 && !subtracts_) return;
    i32 target = name(a, b);
    append_edge(out_.states[s].edges, {static_cast<u8>(first), static_cast<u8>(last), target});
  }

  const Automaton& a_;
  const Automaton& b_;
  bool subtracts_;
  Automaton out_;
  std::unordered_map<u64, i32> names_;
  std::vector<std::pair<i32, i32>> pairs_;
};

}  // namespace

Result<Automaton> determinize(const Automaton& automaton, i64& steps) {
  return SubsetConstruction(automaton, steps).run();
}

Automaton minimize(const Automaton& automaton) {
  std::size_t count = automaton.states.size();
  std::vector<i32> block(count);
  for (std::size_t s = 0; s < count; ++s) block[s] = automaton.states[s].is_final ? 1 : 0;
  std::vector<i32> representative;
  for (std::size_t blocks = 0; representative.size() != blocks || blocks == 0;) {
    blocks = representative.size();
    representative.clear();
    std::map<std::pair<i32, std::vector<i32>>, i32> names;  // By block and what the edges lead to.
    std::vector<i32> refined(count);
    for (std::size_t s = 0; s < count; ++s) {
      std::vector<Edge> edges;
      for (Edge e : automaton.states[s].edges)
        append_edge(edges, {e.first, e.last, block[e.target]});
      std::vector<i32> signature;
      for (Edge e : edges) signature.insert(signature.end(), {e.first, e.last, e.target});
      auto [found, is_new] =
          names.try_emplace({block[s], signature}, static_cast<i32>(representative.size()));
      if (is_new) representative.push_back(static_cast<i32>(s));
      refined[s] = found->second;
    }
    block = refined;
  }
  Automaton out;
  out.start = block[automaton.start];
  for (i32 s : representative) {
    Automaton::State& state = out.states.emplace_back();
    state.is_final = automaton.states[s].is_final;
    for (Edge e : automaton.states[s].edges)
      append_edge(state.edges, {e.first, e.last, block[e.target]});
  }
  return out;
}

Result<Automaton> intersect(const Automaton& a, const Automaton& b) {
  return Product(a, b, false).run();
}

Result<Automaton> subtract(const Automaton& a, const Automaton& b) {
  return Product(a, b, true).run();
}

Result<Automaton> repeat_counted(const Automaton& unit, i64 min, i64 max) {
  TG_ASSERT(0 <= min && min <= max);
  i64 inner = 0;
  std::vector<i32> offsets(unit.states.size(), -1);  // Of states inside a copy; finals have none.
  for (std::size_t s = 0; s < unit.states.size(); ++s) {
    TG_ASSERT(unit.states[s].calls.empty());
    if (!unit.states[s].is_final) offsets[s] = static_cast<i32>(inner++);
  }
  if (max * inner > kAutomatonStatesMax) return too_many();
  Automaton out;
  out.states.resize(static_cast<std::size_t>(max * inner + 1));
  out.start = max == 0 ? 0 : offsets[unit.start];
  for (i64 copy = 0; copy < max; ++copy) {
    i32 base = static_cast<i32>(copy * inner);
    i64 after = copy + 1 < max ? base + inner + offsets[unit.start] : max * inner;
    for (std::size_t s = 0; s < unit.states.size(); ++s) {
      if (offsets[s] < 0) continue;
      for (const Edge& e : unit.states[s].edges) {
        bool leaves = unit.states[e.target].is_final;
        i32 target = leaves ? static_cast<i32>(after) : base + offsets[e.target];
        append_edge(out.states[base + offsets[s]].edges, {e.first, e.last, target});
      }
    }
    out.states[base + offsets[unit.start]].is_final = copy >= min;
  }
  out.states.back().is_final = true;
  return out;
}

std::vector<bool> live_states(const Automaton& automaton,
                              const std::function<bool(i32)>& leads_on) {
  std::vector<bool> is_live(automaton.states.size());
  std::vector<std::vector<i32>> before(automaton.states.size());
  std::vector<i32> work;
  for (i32 s = 0; s < static_cast<i32>(automaton.states.size()); ++s) {
    const Automaton::State& state = automaton.states[s];
    for (const Edge& e : state.edges) before[e.target].push_back(s);
    for (const Call& c : state.calls)
      if (leads_on(c.rule)) before[c.target].push_back(s);
    if (!state.is_final) continue;
    is_live[s] = true;
    work.push_back(s);
  }
  while (!work.empty()) {
    i32 s = work.back();
    work.pop_back();
    for (i32 p : before[s]) {
      if (is_live[p]) continue;
      is_live[p] = true;
      work.push_back(p);
    }
  }
  return is_live;
}

bool matches(const Automaton& automaton, std::string_view bytes) {
  i32 at = automaton.start;
  for (char c : bytes) {
    i32 next = -1;
    for (const Edge& e : automaton.states[at].edges)
      if (e.first <= static_cast<u8>(c) && static_cast<u8>(c) <= e.last) next = e.target;
    if (next < 0) return false;
    at = next;
  }
  return automaton.states[at].is_final;
}

bool is_void(const Automaton& automaton) {
  const Automaton::State& start = automaton.states[automaton.start];
  return !start.is_final && start.edges.empty() && start.calls.empty();
}

}  // namespace tg::grammar
