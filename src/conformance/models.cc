#include "conformance/models.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backend/coverage.h"
#include "backend/tiny_llama.h"
#include "isa/assemble.h"

namespace tg::conformance {

namespace {

constexpr u64 kSeed = 7;
constexpr const char* kShapes[] = {"mixed", "window", "chunks"};

ModelCase llama(const std::string& name, const backend::TinyShape& shape) {
  return {.name = "llama " + name,
          .text = backend::tiny_llama_text(shape),
          .is_half = shape.activations != "f32" || shape.xq == "bf16"};
}

// One layer whose second entry attends to a step's own keys instead of the cache's.
constexpr const char* kTwoEntries = R"(.tgp 1.0 profile=TEXT,EMBED
.dim T<=512 S<=16 R<=512 C<=512
.kv $kv layers=1 heads=2 dk=32 dv=32 fmt=f32 page=16
.w $embd q8_0[320,128]
.w $wq q8_0[128,128]
.w $wk q8_0[64,128]
.w $wv q8_0[64,128]
.w $wo q8_0[128,128]
.w $norm f32[128]
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits
  %x = embed $embd, %ids -> f32[T,128]
  %q = linear %x, $wq -> f32[T,128]
  %k = linear %x, $wk -> f32[T,64]
  %v = linear %x, $wv -> f32[T,64]
  kv_append $kv[0], %k, %v, %bt
  %a = attn %q, $kv[0], %bt {heads=4 scale=0.5} -> f32[T,128]
  %o = linear %a, $wo -> f32[T,128]
  %r = gather %o, %rows -> f32[R,128]
  %n = rmsnorm %r, $norm {eps=1e-5} -> f32[R,128]
  %logits = linear %n, $embd -> f32[R,320]
.end
.func fresh (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits when past=0
  %x = embed $embd, %ids -> f32[T,128]
  %q = linear %x, $wq -> f32[T,128]
  %k = linear %x, $wk -> f32[T,64]
  %v = linear %x, $wv -> f32[T,64]
  kv_append $kv[0], %k, %v, %bt
  %a = attn_dense %q, %k, %v, %bt {heads=4 kv_heads=2 scale=0.5} -> f32[T,128]
  %o = linear %a, $wo -> f32[T,128]
  %r = gather %o, %rows -> f32[R,128]
  %n = rmsnorm %r, $norm {eps=1e-5} -> f32[R,128]
  %logits = linear %n, $embd -> f32[R,320]
.end
)";

std::vector<f64> softmax(std::span<const f64> x) {
  f64 top = *std::max_element(x.begin(), x.end());
  f64 total = 0;
  std::vector<f64> out;
  for (f64 v : x) out.push_back(std::exp(v - top));
  for (f64 v : out) total += v;
  for (f64& v : out) v /= total;
  return out;
}

f64 divergence(std::span<const f64> golden, std::span<const f64> other) {
  std::vector<f64> p = softmax(golden), q = softmax(other);
  f64 sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i] > 0) sum += p[i] * std::log(p[i] / q[i]);
  }
  return std::max(sum, 0.0);
}

bool leads_clearly(std::span<const f64> row, f64 margin) {
  std::vector<f64> sorted(row.begin(), row.end());
  std::partial_sort(sorted.begin(), sorted.begin() + 2, sorted.end(), std::greater<f64>());
  f64 squares = 0;
  for (f64 v : row) squares += v * v;
  return sorted[0] - sorted[1] > margin * std::sqrt(squares / static_cast<f64>(row.size()));
}

std::ptrdiff_t top_of(std::span<const f64> row) {
  return std::max_element(row.begin(), row.end()) - row.begin();
}

// One model on one backend.
struct Run {
  const ModelCase& model;
  std::unique_ptr<backend::Executor> executor;
  isa::Interpreter golden, naive;
  ModelOutcome outcome;
  i64 rows = 0;

  Status add_step(const Step& step) {
    TG_ASSIGN(std::vector<f64> got, run_watched(*executor, step, false));
    bool is_fresh = std::all_of(step.past.begin(), step.past.end(), [](i32 n) { return n == 0; });
    std::size_t entry = model.has_fresh_entry && is_fresh ? 1 : 0;
    if (executor->entry() != entry) {
      return Error{Code::kInvalid, fmt::format("entry {} ran, not {}", executor->entry(), entry)};
    }
    TG_ASSIGN(std::vector<isa::Tensor> truth, golden.run(step.reference()));
    TG_ASSIGN(std::vector<isa::Tensor> plain, naive.run(step.reference()));
    std::size_t columns = static_cast<std::size_t>(truth[0].columns());
    for (std::size_t r = 0; r < step.rows.size(); ++r) {
      add_row(truth[0].row(static_cast<i64>(r)), plain[0].row(static_cast<i64>(r)),
              std::span<const f64>(got).subspan(r * columns, columns));
    }
    return {};
  }

  void add_row(std::span<const f64> truth, std::span<const f64> plain, std::span<const f64> got) {
    ++rows;
    outcome.kl += divergence(truth, got);
    outcome.naive_kl += divergence(truth, plain);
    if (!leads_clearly(truth, model.is_half ? kModelMarginHalf : kModelMarginF32)) return;
    ++outcome.clear_rows;
    outcome.same_top += top_of(truth) == top_of(got);
  }

  void judge() {
    outcome.kl /= static_cast<f64>(std::max<i64>(rows, 1));
    outcome.naive_kl /= static_cast<f64>(std::max<i64>(rows, 1));
    f64 most = model.is_half ? kModelKlHalf : kModelKlF32;
    f64 agreed = static_cast<f64>(outcome.same_top);
    if (!(outcome.kl <= most)) {
      outcome.failure = fmt::format("mean KL {:.3g}, at most {:.3g}", outcome.kl, most);
    } else if (agreed < kModelTopAgreement * static_cast<f64>(outcome.clear_rows)) {
      outcome.failure = fmt::format("the best token of {} of {} clear rows", outcome.same_top,
                                    outcome.clear_rows);
    }
    outcome.pass = outcome.failure.empty();
  }
};

// What every row of the device claims is claimed of whole programs too.
int claimed_determinism(const Claims& claims) {
  int least = 2;
  for (const tg_row& row : claims.rows) least = std::min<int>(least, row.det_class);
  return least;
}

void find_determinism(Run& run, const Layout& layout, i64 columns, int claimed) {
  Replayed replayed{*run.executor, *run.executor, layout, columns};
  for (u8 r = 0; r < static_cast<u8>(Replay::kCount); ++r) {
    Replay replay = static_cast<Replay>(r);
    if (layout.keeps_chunks && replay == Replay::kOneByOne) continue;
    Outcome outcome = compare_replay(replayed, replay);
    if (outcome.pass) continue;
    int found = replay == Replay::kAgain ? 0 : 1;
    run.outcome.determinism = std::min(run.outcome.determinism, found);
    if (found >= claimed || !run.outcome.pass) continue;
    run.outcome.pass = false;
    run.outcome.failure = outcome.failure;
  }
}

}  // namespace

std::vector<ModelCase> all_models() {
  std::vector<ModelCase> models = {
      {.name = "two entries", .text = kTwoEntries, .has_fresh_entry = true}};
  for (const char* codec : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"}) {
    models.push_back(llama(std::string("codec=") + codec, {.codec = codec, .head_codec = codec}));
  }
  models.push_back(llama("bf16 activations", {.activations = "bf16"}));
  models.push_back(llama("xq=bf16", {.codec = "bf16", .head_codec = "bf16", .xq = "bf16"}));
  models.push_back(llama("windows", {.attention = "window=cyc(0,9)"}));
  models.push_back(llama("softcap", {.attention = "softcap=2.0"}));
  models.push_back(llama("odd heads", {.d = 96,
                                       .heads = 5,
                                       .groups = 1,
                                       .head_dim = 24,
                                       .f = 160,
                                       .codec = "f32",
                                       .head_codec = "f32"}));
  return models;
}

Result<ModelOutcome> run_model(const Claims& claims, const ModelCase& model) {
  TG_ASSIGN(isa::Program assembled, isa::assemble(model.text));
  TG_ASSIGN(isa::VerifiedProgram program, isa::verify(std::move(assembled)));
  const backend::ExecutorLimits limits{.tokens_max = kTokensMax,
                                       .sequences_max = kSequencesMax,
                                       .rows_max = kRowsMax,
                                       .context_max = kContextMax,
                                       .kv_pages = kCachePages,
                                       .fresh_entry = model.has_fresh_entry};
  for (const isa::Function& function : program.program().functions) {
    TG_ASSIGN(isa::FlatProgram flat, program.flatten(function.name));
    Status covered =
        backend::check_coverage(program.program(), flat, claims.rows,
                                {.tokens = limits.tokens_max, .context = limits.context_max});
    if (!covered.ok()) {
      return ModelOutcome{.claimed = false, .not_claimed = covered.error().message};
    }
  }
  backend::RandomWeights weights(program.program(), kSeed);
  Result<std::unique_ptr<backend::Executor>> executor =
      backend::bind_executor(claims.target, program, weights.table, limits);
  if (!executor) {
    return ModelOutcome{.pass = false,
                        .failure = "claimed, then refused: " + executor.error().message};
  }
  // In f64 main and the second entry give the same; in f32 each has its own rounding.
  TG_ASSIGN(isa::Interpreter golden,
            isa::Interpreter::make(program, weights.table, isa::Precision::kGolden, kCachePages));
  TG_ASSIGN(isa::Interpreter naive,
            isa::Interpreter::make(program, weights.table, isa::Precision::kSameType, kCachePages,
                                   {.fresh_entry = model.has_fresh_entry}));
  Run run{model, std::move(executor).value(), std::move(golden), std::move(naive), {}, 0};
  Layout layout{
      .page_tokens = 16, .vocabulary = 320, .seed = kSeed, .keeps_chunks = model.has_fresh_entry};
  for (const char* shape : kShapes) {
    for (const Step& step : steps_of(*find_shape(shape), layout)) {
      Status added = run.add_step(step);
      if (!added.ok()) return ModelOutcome{.pass = false, .failure = added.error().message};
    }
  }
  run.judge();
  find_determinism(run, layout, run.executor->vocabulary(), claimed_determinism(claims));
  return run.outcome;
}

}  // namespace tg::conformance
