// Class E5: whole standard programs, so that the segments a backend fuses are tested as it runs
// them. Inputs are forced, so that an error does not feed on itself (isa.md 9.3).
#pragma once

#include <string>
#include <vector>

#include "conformance/replay.h"
#include "conformance/trial.h"

namespace tg::conformance {

// Mean KL divergence per row from the golden logits; and which part of a row's root mean square
// the best logit must lead by before the backend has to agree on it.
inline constexpr f64 kModelKlF32 = 1e-6, kModelMarginF32 = 0x1p-8;
inline constexpr f64 kModelKlHalf = 2e-3, kModelMarginHalf = 0x1p-3;
inline constexpr f64 kModelTopAgreement = 0.995;

struct ModelCase {
  std::string name;  // "llama codec=q8_0"
  std::string text;
  bool is_half = false;          // activations of 16 bits
  bool has_fresh_entry = false;  // a second entry, for steps in which no sequence has cached keys
};
std::vector<ModelCase> all_models();

struct ModelOutcome {
  bool claimed = true;
  std::string not_claimed;
  bool pass = true;
  f64 kl = 0;        // mean over rows
  f64 naive_kl = 0;  // of the same-type run
  i64 clear_rows = 0, same_top = 0;
  int determinism = 2;  // class found by replays
  std::string failure;
};
// An error only if the model's text is no valid program.
Result<ModelOutcome> run_model(const Claims& claims, const ModelCase& model);

}  // namespace tg::conformance
