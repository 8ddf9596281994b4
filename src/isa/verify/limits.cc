// M5-M7 and V19: everything is counted before anything is trusted, with comparisons that cannot
// overflow.
#include "isa/limits.h"

#include <string>

#include "base/bytes.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

static Status at_most(std::string_view rule, std::string_view what, u64 value, i64 max) {
  if (value > static_cast<u64>(max))
    return broken(
        rule, std::string(what) + " " + std::to_string(value) + ", at most " + std::to_string(max));
  return {};
}

// Names are letters, digits, '_' and '.': what the text form can say, so that every program can be
// printed.
static Status check_name(std::string_view what, std::string_view name) {
  TG_TRY(at_most("M6", std::string(what) + " name bytes", name.size(), kStringBytesMax));
  bool good = !name.empty();
  for (char c : name) {
    good &= (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            c == '_' || c == '.';
  }
  if (!good)
    return broken("M5", std::string(what) + " name is not made of letters, digits, '_' and '.'");
  return {};
}

static Status check_names(const Program& program) {
  for (const WeightDecl& w : program.weights) TG_TRY(check_name("weight", w.name));
  for (const KvDecl& kv : program.kv) TG_TRY(check_name("kv", kv.name));
  for (const ConstDecl& c : program.constants) TG_TRY(check_name("constant", c.name));
  for (const Function& f : program.functions) TG_TRY(check_name("function", f.name));
  return {};
}

static Status check_counts(const Program& program) {
  TG_TRY(at_most("M6", "weights", program.weights.size(), kWeightsMax));
  TG_TRY(at_most("M6", "kv caches", program.kv.size(), kKvMax));
  TG_TRY(at_most("M6", "constants", program.constants.size(), kConstantsMax));
  TG_TRY(at_most("M6", "meta entries", program.meta.size(), kMetaMax));
  u64 names = program.weights.size() + program.kv.size() + program.constants.size() +
              program.functions.size();
  TG_TRY(at_most("M6", "names", names, kStringsMax));
  for (const Function& f : program.functions) {
    TG_TRY(at_most("M6", "values", f.value_types.size(), kValuesMax));
    TG_TRY(at_most("M6", "instructions", f.body.size(), kInstructionsMax));
  }
  u64 constant_bytes = 0;
  for (const ConstDecl& c : program.constants) constant_bytes += c.bytes.size();
  return at_most("M6", "bytes of constants", constant_bytes, kConstantBytesMax);
}

static Status check_meta(const Program& program) {
  for (std::size_t i = 0; i < program.meta.size(); ++i) {
    const std::pair<std::string, std::string>& entry = program.meta[i];
    TG_TRY(at_most("M6", "meta key bytes", entry.first.size(), kStringBytesMax));
    TG_TRY(at_most("M6", "meta value bytes", entry.second.size(), kMetaBytesMax));
    if (!is_utf8(entry.first) || !is_utf8(entry.second)) return broken("M5", "meta is not UTF-8");
    for (char c : entry.first + entry.second) {
      if (c == '"' || c == '\n' || c == '\r' || c == '\0')
        return broken("M5", "meta holds a quote or a line break");
    }
    if (i > 0 && program.meta[i - 1].first >= entry.first)
      return broken("M5", "meta key " + entry.first + " is not in order");
  }
  return {};
}

static Status in_range(std::string_view what, i64 value, i64 max) {
  if (value < 1 || value > max)
    return broken("V19", std::string(what) + " bound " + std::to_string(value) + " is not in 1.." +
                             std::to_string(max));
  return {};
}

static Status check_bounds(const Bounds& bounds) {
  TG_TRY(in_range("T", bounds.tokens, kTokensMax));
  TG_TRY(in_range("S", bounds.sequences, kSequencesMax));
  TG_TRY(in_range("R", bounds.rows, kRowsMax));
  TG_TRY(in_range("C", bounds.context, kContextMax));
  return {};
}

// Loops are unrolled when a program is bound, so their length counts.
static Status check_unrolled(const Function& function) {
  i64 total = 0;
  i64 factor = 1;
  for (const Instruction& i : function.body) {
    if (i.op == Opcode::kYield) factor = 1;
    total += factor;
    TG_TRY(
        at_most("M6", "instructions after unrolling", static_cast<u64>(total), kInstructionsMax));
    TG_TRY(at_most("M7", "operands", i.in.size(), kOperandsMax));
    TG_TRY(at_most("M7", "results", i.out.size(), kOperandsMax));
    if (i.op != Opcode::kRepeat) continue;
    for (const Attribute& a : i.attributes) {
      if (a.key == AttributeKey::kCount && !a.words.empty())
        factor = std::min<i64>(a.words[0], kInstructionsMax);
    }
  }
  return {};
}

Status check_limits(const Program& program) {
  TG_TRY(check_counts(program));
  TG_TRY(check_names(program));
  TG_TRY(check_meta(program));
  TG_TRY(check_bounds(program.bounds));
  for (const Function& f : program.functions) TG_TRY(check_unrolled(f));
  return {};
}

}  // namespace tg::isa
