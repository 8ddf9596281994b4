#include "grammar/grammar.h"

#include <algorithm>

namespace tg::grammar {

i32 Grammar::add(Expr expr) {
  exprs.push_back(std::move(expr));
  return static_cast<i32>(exprs.size()) - 1;
}

i32 Grammar::bytes(std::string_view text) {
  return add({.kind = ExprKind::kBytes, .bytes = std::string(text)});
}

i32 Grammar::chars(const CharSet& set) {
  i32 index = static_cast<i32>(char_sets.size());
  if (index > 0 && char_sets.back() == set) {
    --index;
  } else {
    char_sets.push_back(set);
  }
  return add({.kind = ExprKind::kChars, .index = index});
}

i32 Grammar::sequence(std::vector<i32> children) {
  if (children.size() == 1) return children[0];
  return add({.kind = ExprKind::kSequence, .children = std::move(children)});
}

i32 Grammar::choice(std::vector<i32> children) {
  if (children.size() == 1) return children[0];
  return add({.kind = ExprKind::kChoice, .children = std::move(children)});
}

i32 Grammar::repeat(i32 child, i64 min, i64 max) {
  return add({.kind = ExprKind::kRepeat, .children = {child}, .min = min, .max = max});
}

i32 Grammar::rule(i32 rule_index) {
  return add({.kind = ExprKind::kRule, .index = rule_index});
}

i32 Grammar::automaton(Automaton automaton) {
  automata.push_back(std::move(automaton));
  return add({.kind = ExprKind::kAutomaton, .index = static_cast<i32>(automata.size()) - 1});
}

i32 Grammar::list(std::vector<i32> items, std::vector<bool> is_required, i32 tail, i32 separator) {
  TG_ASSERT(items.size() == is_required.size());
  items.push_back(tail);
  items.push_back(separator);
  return add({.kind = ExprKind::kList,
              .children = std::move(items),
              .is_required = std::move(is_required)});
}

i32 Grammar::embed(const Grammar& other) {
  i32 first_expr = static_cast<i32>(exprs.size());
  i32 first_rule = static_cast<i32>(rules.size());
  i32 first_set = static_cast<i32>(char_sets.size());
  i32 first_automaton = static_cast<i32>(automata.size());
  char_sets.insert(char_sets.end(), other.char_sets.begin(), other.char_sets.end());
  automata.insert(automata.end(), other.automata.begin(), other.automata.end());
  for (Rule rule : other.rules) {
    if (rule.body >= 0) rule.body += first_expr;
    rules.push_back(std::move(rule));
  }
  for (Expr expr : other.exprs) {
    for (i32& child : expr.children) child = child < 0 ? child : child + first_expr;
    if (expr.kind == ExprKind::kRule) expr.index += first_rule;
    if (expr.kind == ExprKind::kChars) expr.index += first_set;
    if (expr.kind == ExprKind::kAutomaton) expr.index += first_automaton;
    exprs.push_back(std::move(expr));
  }
  return rule(first_rule + other.root);
}

i32 Grammar::add_rule(std::string name) {
  rules.push_back({.name = std::move(name)});
  return static_cast<i32>(rules.size()) - 1;
}

Status Grammar::check_limits() const {
  if (static_cast<i64>(exprs.size()) > kExpressionsMax)
    return Error{Code::kLimit, "grammar: " + std::to_string(exprs.size()) +
                                   " expressions, more than " + std::to_string(kExpressionsMax)};
  if (static_cast<i64>(rules.size()) > kRulesMax)
    return Error{Code::kLimit, "grammar: " + std::to_string(rules.size()) + " rules, more than " +
                                   std::to_string(kRulesMax)};
  for (const Expr& e : exprs) {
    if (e.kind == ExprKind::kRepeat && std::max(e.min, e.max) > kRepeatMax)
      return Error{Code::kLimit, "grammar: a repetition of " +
                                     std::to_string(std::max(e.min, e.max)) + ", more than " +
                                     std::to_string(kRepeatMax)};
  }
  return {};
}

namespace {

// Children come before their parents in the array, rules may come in any order.
bool is_nullable(const Grammar& grammar, const Expr& e, const std::vector<bool>& of_expr,
                 const std::vector<bool>& of_rule) {
  auto child = [&](i32 index) { return static_cast<bool>(of_expr[index]); };
  switch (e.kind) {
    case ExprKind::kBytes: return e.bytes.empty();
    case ExprKind::kChars: return false;
    case ExprKind::kSequence: return std::all_of(e.children.begin(), e.children.end(), child);
    case ExprKind::kChoice: return std::any_of(e.children.begin(), e.children.end(), child);
    case ExprKind::kRepeat: return e.min == 0 || child(e.children[0]);
    case ExprKind::kRule: return of_rule[e.index];
    case ExprKind::kAutomaton: {
      const Automaton& a = grammar.automata[e.index];
      return a.states[a.start].is_final;
    }
    case ExprKind::kList:
      return std::none_of(e.is_required.begin(), e.is_required.end(), [](bool r) { return r; });
  }
  return false;
}

// Thompson's construction: an expression between two states.
class Builder {
 public:
  Builder(const Grammar& grammar, const std::vector<bool>& nullable)
      : grammar_(grammar), nullable_(nullable) {}

  Result<Automaton> run(i32 expr, i64& steps) {
    out_.start = out_.add_state();
    i32 end = build(expr, out_.start);
    out_.states[end].is_final = true;
    if (is_too_big_)
      return Error{Code::kLimit, "grammar: a rule needs more than " +
                                     std::to_string(kAutomatonStatesMax) + " states"};
    steps += static_cast<i64>(out_.states.size());
    return determinize(out_, steps);
  }

 private:
  i32 state() {
    if (static_cast<i64>(out_.states.size()) >= kAutomatonStatesMax) is_too_big_ = true;
    return is_too_big_ ? 0 : out_.add_state();
  }
  void jump(i32 from, i32 to) { out_.states[from].jumps.push_back(to); }

  // Where `expr` ends if it begins at `from`. Nothing leads into `from` or out of the end because
  // of it, other than its own text.
  i32 build(i32 index, i32 from) {
    if (is_too_big_) return from;
    const Expr& e = grammar_.exprs[index];
    switch (e.kind) {
      case ExprKind::kBytes: return build_bytes(e.bytes, from);
      case ExprKind::kChars: return build_chars(grammar_.char_sets[e.index], from);
      case ExprKind::kSequence:
        for (i32 child : e.children) from = build(child, from);
        return from;
      case ExprKind::kChoice: return build_choice(e, from);
      case ExprKind::kRepeat: return build_repeat(e, from);
      case ExprKind::kRule: return build_rule(e.index, from);
      case ExprKind::kAutomaton: return build_automaton(grammar_.automata[e.index], from);
      case ExprKind::kList: return build_list(e, from);
    }
    return from;
  }

  i32 build_bytes(const std::string& bytes, i32 from) {
    for (char c : bytes) {
      i32 to = state();
      out_.states[from].edges.push_back({static_cast<u8>(c), static_cast<u8>(c), to});
      from = to;
    }
    return from;
  }

  i32 build_chars(const CharSet& set, i32 from) {
    i32 end = state();
    for (const ByteRanges& ranges : utf8_ranges(set)) {
      i32 at = from;
      for (std::size_t i = 0; i < ranges.size(); ++i) {
        i32 to = i + 1 == ranges.size() ? end : state();
        out_.states[at].edges.push_back({ranges[i].first, ranges[i].last, to});
        at = to;
      }
    }
    return end;
  }

  i32 build_choice(const Expr& e, i32 from) {
    i32 end = state();
    for (i32 child : e.children) {
      i32 begin = state();
      jump(from, begin);
      jump(build(child, begin), end);
    }
    return end;
  }

  i32 build_repeat(const Expr& e, i32 from) {
    for (i64 i = 0; i < e.min; ++i) from = build(e.children[0], from);
    i32 end = state();
    if (e.max == kUnbounded) {
      i32 loop = state();
      jump(from, loop);
      jump(loop, end);
      jump(build(e.children[0], loop), loop);
      return end;
    }
    jump(from, end);
    for (i64 i = e.min; i < e.max && !is_too_big_; ++i) {
      i32 begin = state();
      jump(from, begin);
      from = build(e.children[0], begin);
      jump(from, end);
    }
    return end;
  }

  i32 build_rule(i32 rule, i32 from) {
    i32 to = state();
    out_.states[from].calls.push_back({rule, to});
    if (nullable_[rule]) jump(from, to);
    return to;
  }

  i32 build_automaton(const Automaton& a, i32 from) {
    std::vector<i32> names(a.states.size());
    i32 end = state();
    for (i32& name : names) name = state();
    if (is_too_big_) return from;
    jump(from, names[a.start]);
    for (std::size_t s = 0; s < a.states.size(); ++s) {
      for (Edge e : a.states[s].edges)
        out_.states[names[s]].edges.push_back({e.first, e.last, names[e.target]});
      if (a.states[s].is_final) jump(names[s], end);
    }
    return end;
  }

  // Two rails, one where nothing has been written yet and one where something has; both lead into
  // the same copy of an item.
  i32 build_list(const Expr& e, i32 from) {
    std::size_t count = e.is_required.size();
    i32 separator = e.children[count + 1];
    i32 fresh = from;
    i32 written = state();
    bool is_fresh_alive = true;
    for (std::size_t i = 0; i < count; ++i) {
      i32 begin = state();
      if (is_fresh_alive) jump(fresh, begin);
      jump(build_after(separator, written), begin);
      i32 next = state();
      jump(build(e.children[i], begin), next);
      if (!e.is_required[i]) jump(written, next);
      if (e.is_required[i]) is_fresh_alive = false;
      written = next;
    }
    i32 end = state();
    if (e.children[count] >= 0) {
      i32 begin = state();
      if (is_fresh_alive) jump(fresh, begin);
      jump(build_after(separator, written), begin);
      jump(build(e.children[count], begin), written);
    }
    if (is_fresh_alive) jump(fresh, end);
    jump(written, end);
    return end;
  }

  // The separator, if what precedes it can be there at all.
  i32 build_after(i32 separator, i32 from) {
    i32 begin = state();
    jump(from, begin);
    return build(separator, begin);
  }

  const Grammar& grammar_;
  const std::vector<bool>& nullable_;
  Automaton out_;
  bool is_too_big_ = false;
};

}  // namespace

std::vector<bool> find_nullable(const Grammar& grammar) {
  std::vector<bool> of_expr(grammar.exprs.size());
  std::vector<bool> of_rule(grammar.rules.size());
  for (bool has_changed = true; has_changed;) {
    has_changed = false;
    for (std::size_t i = 0; i < grammar.exprs.size(); ++i) {
      if (of_expr[i] || !is_nullable(grammar, grammar.exprs[i], of_expr, of_rule)) continue;
      of_expr[i] = has_changed = true;
    }
    for (std::size_t r = 0; r < grammar.rules.size(); ++r)
      if (grammar.rules[r].body >= 0 && of_expr[grammar.rules[r].body]) of_rule[r] = true;
  }
  return of_rule;
}

Result<Automaton> to_automaton(const Grammar& grammar, i32 expr, const std::vector<bool>& nullable,
                               i64& steps) {
  return Builder(grammar, nullable).run(expr, steps);
}

Result<Automaton> to_automaton(const Grammar& grammar, i32 expr) {
  TG_TRY(grammar.check_limits());
  i64 steps = 0;
  return to_automaton(grammar, expr, {}, steps);
}

}  // namespace tg::grammar
