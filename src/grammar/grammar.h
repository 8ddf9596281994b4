// A context-free grammar over bytes as plain data: what the front ends (JSON Schema, regular
// expressions, GBNF) write and the machine is compiled from. Expressions live in one array and name
// each other by index; rules give them names that may be recursive.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "grammar/automaton.h"
#include "grammar/char_set.h"

namespace tg::grammar {

inline constexpr i64 kExpressionsMax = i64{1} << 20;
inline constexpr i64 kRulesMax = i64{1} << 13;
// Largest bound of a repetition.
inline constexpr i64 kRepeatMax = i64{1} << 14;
inline constexpr i64 kUnbounded = -1;

enum class ExprKind : u8 {
  kBytes,      // These bytes; none is the empty text.
  kChars,      // One character of a set.
  kSequence,   // All children, in order.
  kChoice,     // One of the children; of none: nothing matches.
  kRepeat,     // The child `min` to `max` times.
  kRule,       // What rule `index` matches.
  kAutomaton,  // What automaton `index` matches.
  kList,       // See Grammar::list.
};

struct Expr {
  ExprKind kind = ExprKind::kBytes;
  std::string bytes;
  std::vector<i32> children;
  std::vector<bool> is_required;  // kList: one per item.
  i64 min = 0;
  i64 max = 0;  // kUnbounded: without end.
  i32 index = -1;
};

struct Rule {
  std::string name;  // For messages.
  i32 body = -1;     // An expression; -1 until it is set.
};

class Grammar {
 public:
  // Each returns the index of the expression.
  i32 bytes(std::string_view text);
  i32 chars(const CharSet& set);
  i32 sequence(std::vector<i32> children);
  i32 choice(std::vector<i32> children);
  i32 repeat(i32 child, i64 min, i64 max);
  i32 optional(i32 child) { return repeat(child, 0, 1); }
  i32 rule(i32 rule_index);
  // REQUIRES: deterministic, without calls.
  i32 automaton(Automaton automaton);
  // A selection of `items` that keeps their order and all required ones, then any number of `tail`
  // (-1: none), with `separator` between neighbours. Each item is written once, however many may be
  // left out. REQUIRES: no item, nor the tail, matches the empty text.
  i32 list(std::vector<i32> items, std::vector<bool> is_required, i32 tail, i32 separator);

  // All of `other`, whose root becomes one expression here.
  i32 embed(const Grammar& other);

  i32 add_rule(std::string name);
  void set_body(i32 rule_index, i32 body) { rules[rule_index].body = body; }

  // kLimit past kExpressionsMax, kRulesMax or kRepeatMax.
  Status check_limits() const;

  std::vector<Expr> exprs;
  std::vector<Rule> rules;
  std::vector<CharSet> char_sets;
  std::vector<Automaton> automata;
  i32 root = -1;  // A rule.

 private:
  i32 add(Expr expr);
};

// Whether each rule matches the empty text.
std::vector<bool> find_nullable(const Grammar& grammar);

// The deterministic automaton of one expression; errors and `steps` as determinize. `nullable` as
// find_nullable says.
Result<Automaton> to_automaton(const Grammar& grammar, i32 expr, const std::vector<bool>& nullable,
                               i64& steps);
// The same for an expression without rules in it.
Result<Automaton> to_automaton(const Grammar& grammar, i32 expr);

}  // namespace tg::grammar
