// What `spec_verify` means for the rows of one sequence: pure functions over the target's scores.
// The engine's verification is compared with these.
//
// Row 0 is the root, the last token that is certain. Every further row proposes one token as a
// child of an earlier row. Scores are as `sample` takes them: the result of `logits`.
#pragma once

#include <span>
#include <vector>

#include "isa/sampling.h"

namespace tg::isa {

struct ProposalRow {
  std::span<const f32> target;  // [V] scores of the token after this row
  std::span<const f32> draft;   // [V] scores its child was drawn by; empty in exact mode
  const SamplingParams& params;
  u64 position = 0;  // of the token after this row
  i32 token = 0;     // this row's proposal; the root's is not looked at
  i64 parent = -1;   // an earlier row; -1: the root
};

struct Verdict {
  std::vector<i64> taken;  // the accepted rows, from the root's child down
  i32 token = -1;          // the extra token, which follows the last of them
};

// At a row the choice is what draw_token draws from its scores. The first child in order that
// proposes it is accepted and the walk goes on there; if there is none, the choice is the extra
// token. REQUIRES: every row has a finite score; rows not empty; parent < row.
Verdict verify_exact(std::span<const ProposalRow> rows);

// Chains. With p and q the token_probabilities of a row's target and draft, its child's token x is
// accepted if p(x) > 0 and u*q(x) <= p(x), u = uniform_draw(.., x, kAccept). Else the extra token
// is the largest of ln(p - q) + gumbel_draw(.., kResidual) over tokens with p > q, ties to the
// lowest id. After the last row it is what draw_token draws. So if x was drawn by q, what comes out
// is distributed as p. REQUIRES: as above, drafts given, each row's parent the row before it.
Verdict verify_rejection(std::span<const ProposalRow> rows);

}  // namespace tg::isa
