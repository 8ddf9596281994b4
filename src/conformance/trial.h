// One family with one generator on one backend: the program, its numbers, the executor, and the two
// interpreters that say what is right.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/bound_executor.h"
#include "conformance/cases.h"
#include "conformance/data.h"
#include "conformance/replay.h"
#include "conformance/steps.h"
#include "isa/reference/interpreter.h"

namespace tg::conformance {

// What a device says of itself, read once.
struct Claims {
  backend::Target target;
  std::string device, vendor, backend, version;
  std::vector<tg_row> rows;
};
Result<Claims> read_claims(const backend::Target& target);

// The operands' types of the op under test, as a capability row names them.
struct Signature {
  u16 version = 1;
  u8 x = TG_ANY, w = TG_ANY, acc = TG_ANY, y = TG_ANY, kv = TG_ANY;
  friend auto operator<=>(const Signature&, const Signature&) = default;
};

class Trial {
 public:
  // Errors only for a table line that is no valid program: our own mistake.
  static Result<std::unique_ptr<Trial>> make(const Claims& claims, const Family& family,
                                             Generator generator);

  // The covering row; nullopt if none covers every op of the program.
  const std::optional<tg_row>& claim() const { return claim_; }
  // Why no row covers it.
  const std::string& not_claimed() const { return not_claimed_; }
  const Signature& signature() const { return signature_; }

  // Runs the shape's steps on all three and compares every row. REQUIRES: claim().
  Outcome run(const Shape& shape);
  // Rows of "mixed" in other company, bit by bit. REQUIRES: claim().
  Outcome replay(Replay replay);
  // The ratios over all shapes run so far.
  PoolVerdict pool() const { return pool_.judge(family_.cls); }

 private:
  Trial(const Claims& claims, const Family& family) : claims_(claims), family_(family) {}
  Status prepare(Generator generator);
  void find_claim();
  Result<std::unique_ptr<backend::Executor>> bind(i32 threads) const;
  Outcome compare(const Step& step, std::span<const f64> got);
  std::vector<f64> magnitudes(const Step& step);
  Layout layout() const;

  const Claims& claims_;
  const Family& family_;
  std::unique_ptr<isa::VerifiedProgram> program_, twin_;
  isa::FlatProgram flat_;
  std::unique_ptr<Data> data_, twin_data_;
  std::optional<tg_row> claim_;
  std::string not_claimed_, refusal_;
  Signature signature_;
  std::unique_ptr<backend::Executor> executor_, single_;
  std::optional<isa::Interpreter> golden_, naive_, magnitude_;
  Pool pool_;
};

}  // namespace tg::conformance
