// The published cases: a table of lines, each a small program around one op, times a grid of types,
// codecs and sizes. What brings a case's inputs in (embed of a table of exactly representable
// numbers) and its results out (gather, a widening cast) is exact, so that only the op can be
// wrong.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "conformance/classes.h"
#include "isa/opcode.h"

namespace tg::conformance {

inline constexpr std::string_view kSuiteVersion = "1.3";
inline constexpr i64 kTableRows = 384;  // of every input table: each token of a step has its own

// One line of the table at one point of its grid.
struct Family {
  isa::Opcode op{};
  ErrorClass cls{};
  std::string label;  // "linear codec=q8_0 K=256 N=48": unique; the seed of all its numbers
  std::string text;   // the program
  // The same in f32 throughout: run on absolute values it gives sum |x w|. Empty if the class needs
  // no magnitudes.
  std::string magnitude_text;
  std::map<std::string, std::string> grid;
  isa::DType result_type = isa::DType::kF32;  // of the op, before the widening cast
  i64 columns = 1;
  int span = 12;  // exponents that the wide generators may use
  bool has_cache = false;
  bool takes_params = false;  // sampling parameters
  bool has_trees = false;     // the new tokens of a sequence are a tree
  bool keeps_chunks = false;  // a row depends on the other new tokens of its sequence
  bool by_sequence = false;   // the result has a row for each sequence, not for each row asked for
  std::vector<std::string> shapes;  // names of steps.h
};

// All families in order of the table. Errors only if the table itself is malformed.
Result<std::vector<Family>> all_families();
// The table as it is published, for people.
std::string_view case_table();

}  // namespace tg::conformance
