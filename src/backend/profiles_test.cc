// Whole programs of the profiles beyond TEXT, and every cache format, against the reference
// interpreter: all results of every step, and the counts of experts.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "backend/cpu_fixture.h"
#include "isa/reference/interpreter.h"

namespace tg::backend {
namespace {

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// A program of the instruction set's own tests, with pages this backend has.
std::string isa_text(const std::string& name) {
  std::ifstream file(TG_SOURCE_DIR "/src/isa/testdata/" + name);
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return replaced(text.str(), "page=4", "page=16");
}

isa::ReferenceBatch reference_batch(const PackedStep& b) {
  isa::ReferenceBatch out{.ids = b.ids,
                          .positions = b.positions,
                          .cu = b.cu,
                          .past = b.past,
                          .page_begin = b.page_begin,
                          .pages = b.pages,
                          .slots = b.slots,
                          .rows = b.rows,
                          .params = b.samples};
  out.tree = b.tree;
  return out;
}

struct Errors {
  f64 squares = 0, ours = 0, naive = 0;
  i64 ints = 0, wrong_ints = 0;
  i64 accepted = 0;  // first result of the last step, if i32, summed
  f64 rmse() const { return squares > 0 ? std::sqrt(ours / squares) : 0; }
  f64 naive_rmse() const { return squares > 0 ? std::sqrt(naive / squares) : 0; }
};

void add_result(Errors& e, const ResultView& mine, const isa::Tensor& golden,
                const isa::Tensor& naive) {
  ASSERT_EQ(mine.rows * mine.columns, static_cast<i64>(golden.data.size()));
  for (std::size_t i = 0; i < golden.data.size(); ++i) {
    if (mine.dtype == isa::DType::kI32) {
      ++e.ints;
      e.wrong_ints += mine.ints()[i] != static_cast<i32>(golden.data[i]);
      continue;
    }
    f64 ours = mine.floats()[i];
    if (std::isinf(golden.data[i])) {  // removed by `logits`
      e.wrong_ints += ours != golden.data[i];
      continue;
    }
    e.squares += golden.data[i] * golden.data[i];
    e.ours += (ours - golden.data[i]) * (ours - golden.data[i]);
    e.naive += (naive.data[i] - golden.data[i]) * (naive.data[i] - golden.data[i]);
  }
}

isa::Interpreter interpreter(const isa::VerifiedProgram& program, const RandomWeights& weights,
                             isa::Precision precision) {
  bool has_two = program.program().functions.size() > 1;
  Result<isa::Interpreter> made = isa::Interpreter::make(
      program, weights.table, precision, kLimits.kv_pages, {.fresh_entry = has_two});
  if (!made) ADD_FAILURE() << made.error().message;
  return std::move(made).value();
}

Errors compare(const isa::VerifiedProgram& program, const std::vector<PackedStep>& steps,
               u32 device) {
  RandomWeights weights(program.program(), 7);
  std::unique_ptr<Executor> executor = make(program, weights, 2, device);
  isa::Interpreter golden = interpreter(program, weights, isa::Precision::kGolden);
  isa::Interpreter same = interpreter(program, weights, isa::Precision::kSameType);
  Errors errors;
  for (const PackedStep& step : steps) {
    Result<std::span<const f32>> ran = executor->run(step.view());
    Result<std::vector<isa::Tensor>> truth = golden.run(reference_batch(step));
    Result<std::vector<isa::Tensor>> naive = same.run(reference_batch(step));
    EXPECT_TRUE(ran.ok()) << ran.error().message;
    EXPECT_TRUE(truth.ok()) << truth.error().message;
    EXPECT_TRUE(naive.ok()) << naive.error().message;
    if (!ran || !truth || !naive) return errors;
    EXPECT_EQ(executor->results(), truth->size());
    for (std::size_t i = 0; i < truth->size(); ++i) {
      add_result(errors, executor->result(i), (*truth)[i], (*naive)[i]);
    }
    errors.accepted = 0;
    if (executor->result(0).dtype == isa::DType::kI32) {
      for (i32 n : executor->result(0).ints()) errors.accepted += n;
    }
    EXPECT_EQ(executor->entry(), golden.entry());
    std::span<const u64> hits = executor->expert_hits();
    EXPECT_EQ(std::vector<u64>(hits.begin(), hits.end()), golden.expert_hits());
  }
  return errors;
}

// Two sequences, a chunked prefill and decodes; every token's row.
std::vector<PackedStep> chunks(i64 vocabulary) {
  std::vector<i32> a = tokens_of(40, 1, vocabulary);
  std::vector<i32> b = tokens_of(19, 2, vocabulary);
  std::vector<i32> pages_a = {5, 2, 9}, pages_b = {3, 4};
  std::vector<PackedStep> steps(3);
  steps[0].add(std::span(a).first(9), 0, pages_a, 2);
  steps[0].add(std::span(b).first(18), 0, pages_b, 3);
  steps[1].add(std::span(a).subspan(9, 30), 9, pages_a, 4);
  steps[1].add(std::span(b).subspan(18, 1), 18, pages_b, 1);
  steps[2].add(std::span(a).subspan(39, 1), 39, pages_a, 1);
  return steps;
}

// Whole prompts at once.
std::vector<PackedStep> prompts(i64 vocabulary) {
  std::vector<PackedStep> steps(2);
  i32 page = 0;
  for (i64 length : {1, 17, 40, 3}) {
    std::vector<i32> tokens = tokens_of(length, 3 + static_cast<u64>(length), vocabulary);
    steps[page % 2 == 0 ? 0u : 1u].add(tokens, 0, pages_from(page, 3), 1);
    page += 3;
  }
  return steps;
}

void expect_agreement(const std::string& text, const std::vector<PackedStep>& steps, f64 rmse) {
  isa::VerifiedProgram program = verified(text);
  for (u32 device = 0; device < device_count(); ++device) {
    Errors e = compare(program, steps, device);
    EXPECT_LT(e.rmse(), rmse) << "device " << device << ", naive " << e.naive_rmse();
    EXPECT_EQ(e.wrong_ints, 0) << "device " << device;
    EXPECT_GT(e.squares + static_cast<f64>(e.ints), 0);
  }
}

// acc=i32 promises exact integer sums, which this backend does not make.
std::string every_moe() {
  return replaced(isa_text("every_moe.tga"), " acc=i32 cls=int8", "");
}

TEST(Profiles, MOE_every_instruction) {
  expect_agreement(every_moe(), chunks(96), 4e-3);
}

TEST(Profiles, EMBED_every_instruction) {
  expect_agreement(isa_text("every_embed.tga"), prompts(96), 3e-3);
}

const char* const kDecoder = R"(.tgp least profile=TEXT,MOE,EMBED,SPEC
.dim T<=512 S<=32 R<=64 C<=512
.kv $kv layers=1 heads=2 dk=32 dv=32 fmt=FORMAT page=16
.w $embd f32[96,64]
.w $wq q8_0[128,64]
.w $wk q8_0[64,64]
.w $head f32[80,128]
.w $sinks f32[4]
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits
  %x = embed $embd, %ids -> f32[T,64]
  %q = linear %x, $wq XQ -> f32[T,128]
  %k = linear %x, $wk XQ -> f32[T,64]
  kv_append $kv[0], %k, %x, %bt
  %a = attn %q, $kv[0], %bt, $sinks {heads=4 scale=0.3 ATTN} -> f32[T,128]
  %y = linear %a, $head -> f32[T,80]
  %logits = gather %y, %rows -> f32[R,80]
.end
)";

std::string decoder(const std::string& format, const std::string& xq, const std::string& attn) {
  return replaced(replaced(replaced(kDecoder, "FORMAT", format), "XQ", xq), "ATTN", attn);
}

TEST(Profiles, TEXT_every_cache_format) {
  // A key on the edge of two codes may take the other one than the golden run's.
  const std::pair<const char*, f64> kFormats[] = {{"f32", 3e-6},  {"f16", 1e-4},  {"bf16", 1e-3},
                                                  {"e4m3", 4e-3}, {"q8_0", 1e-3}, {"q4_0", 1e-2}};
  for (const auto& [format, rmse] : kFormats) {
    for (const char* attn : {"", "window=11", "softcap=3", "mask=full"}) {
      SCOPED_TRACE(std::string(format) + " " + attn);
      expect_agreement(decoder(format, "", attn), chunks(96), rmse);
    }
  }
}

TEST(Profiles, TEXT_quantised_activations) {
  for (const char* xq : {"i8/32", "i8/tok", "fp8/128", "mxfp4", "bf16"}) {
    SCOPED_TRACE(xq);
    std::string text =
        replaced(decoder("f32", "{xq=" + std::string(xq) + "}", ""), "[96,64]", "[96,128]");
    text = replaced(text, "f32[T,64]", "f32[T,128]");
    text = replaced(text, "dk=32 dv=32", "dk=64 dv=64");
    text = replaced(text, "q8_0[128,64]", "q8_0[256,128]");
    text = replaced(text, "q8_0[64,64]", "q8_0[128,128]");
    text = replaced(text, "%q = linear %x, $wq {xq=" + std::string(xq) + "} -> f32[T,128]",
                    "%q = linear %x, $wq {xq=" + std::string(xq) + "} -> f32[T,256]");
    text = replaced(text, " ATTN} -> f32[T,128]", "} -> f32[T,256]");
    text = replaced(text, "scale=0.3 } -> f32[T,128]", "scale=0.3} -> f32[T,256]");
    text = replaced(text, "f32[80,128]", "f32[80,256]");
    expect_agreement(text, chunks(96), 1e-3);
  }
}

// Absorbed in main, expanded in the entry for fresh prompts: one latent cache for both.
const char* const kLatent = R"(.tgp 1.0 profile=TEXT,EMBED
.dim T<=512 S<=32 R<=64 C<=512
.kv $kv layers=1 heads=1 dk=96 dv=0 latent=64 fmt=FORMAT page=16
.w $embd f32[96,96]
.w $wq q8_0[128,96]
.w $up CODEC[4,32,64]
.w $out CODEC[4,32,64]
.w $head f32[80,128]
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits
  %x = embed $embd, %ids -> f32[T,96]
  %q = linear %x, $wq -> f32[T,128]
  %qh = view %q -> f32[T,4,32]
  kv_append $kv[0], %x, %bt
  %ql = bmm %qh, $up {trans=1} -> f32[T,4,64]
  %c = concat %ql, %qh -> f32[T,4,96]
  %cf = view %c -> f32[T,384]
  %a = attn %cf, $kv[0], %bt {heads=4 scale=0.3} -> f32[T,256]
  %ah = view %a -> f32[T,4,64]
  %o = bmm %ah, $out -> f32[T,4,32]
  %of = view %o -> f32[T,128]
  %y = linear %of, $head -> f32[T,80]
  %logits = gather %y, %rows -> f32[R,80]
.end
PREFILL)";

const char* const kPrefill =
    R"(.func prefill (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits when past=0
  %x = embed $embd, %ids -> f32[T,96]
  %q = linear %x, $wq -> f32[T,128]
  kv_append $kv[0], %x, %bt
  %l2 = view %x -> f32[T,64]
  %lat = view %l2 -> f32[T,1,64]
  %k1 = bmm %lat, $up -> f32[T,4,32]
  %rest = view %x {offset=64} -> f32[T,32]
  %r4 = concat %rest, %rest, %rest, %rest -> f32[T,128]
  %k2 = view %r4 -> f32[T,4,32]
  %k = concat %k1, %k2 -> f32[T,4,64]
  %qh = view %q -> f32[T,4,32]
  %qq = concat %qh, %qh -> f32[T,4,64]
  %v = bmm %lat, $out -> f32[T,4,32]
  %qf = view %qq -> f32[T,256]
  %kf = view %k -> f32[T,256]
  %vf = view %v -> f32[T,128]
  %a = attn_dense %qf, %kf, %vf, %bt {heads=4 kv_heads=4 scale=0.3} -> f32[T,128]
  %y = linear %a, $head -> f32[T,80]
  %logits = gather %y, %rows -> f32[R,80]
.end
)";

std::string latent(const std::string& format, const std::string& codec, bool has_prefill) {
  std::string text = replaced(replaced(kLatent, "FORMAT", format), "CODEC", codec);
  return replaced(text, "PREFILL", has_prefill ? kPrefill : "");
}

TEST(Profiles, TEXT_latent_caches_and_products_with_a_matrix_per_head) {
  for (const char* codec : {"f32", "bf16", "q8_0", "q4_1", "q5_0"}) {
    SCOPED_TRACE(codec);
    expect_agreement(latent("f32", codec, false), chunks(96), 5e-6);
  }
  for (const char* format : {"f16", "e4m3", "q8_0", "q4_0"}) {
    SCOPED_TRACE(format);
    expect_agreement(latent(format, "f32", false), chunks(96), 1e-2);
  }
}

TEST(Profiles, the_entry_for_fresh_prompts_runs_when_nothing_is_cached) {
  expect_agreement(latent("f32", "q8_0", true), chunks(96), 5e-6);
  isa::VerifiedProgram program = verified(latent("f32", "q8_0", true));
  RandomWeights weights(program.program(), 7);
  std::unique_ptr<Executor> executor = make(program, weights);
  std::vector<PackedStep> steps = chunks(96);
  run(*executor, steps[0]);
  EXPECT_EQ(executor->entry(), 1u);
  run(*executor, steps[1]);
  EXPECT_EQ(executor->entry(), 0u);
  // Unless asked for, main alone runs: results do not depend on what shares a step.
  ExecutorLimits limits = kLimits;
  limits.fresh_entry = false;
  std::unique_ptr<Executor> plain =
      bind_executor({.library = {.table = cpu::cpu_backend()}}, program, weights.table, limits)
          .value();
  run(*plain, steps[0]);
  EXPECT_EQ(plain->entry(), 0u);
}

// Rows of parameters that own what they refer to.
struct Sampling {
  std::vector<isa::SamplingParams> params;
  std::vector<std::vector<i32>> prompts, outputs;
  std::vector<u64> mask = {~u64{0}, 0xFFFFFFF0u};

  // The target's choice at row r becomes `token`.
  void force(std::size_t r, i32 token) {
    params[r].temperature = 0.0f;
    params[r].logit_bias = {{token, 1'000.0f}};
  }

  // One for each row of the step, each with other settings.
  explicit Sampling(std::size_t rows) {
    for (std::size_t r = 0; r < rows; ++r) {
      isa::SamplingParams p{.seed = 77 + r};
      p.temperature = r % 4 == 0 ? 0.0f : 0.5f + 0.3f * static_cast<f32>(r % 4);
      p.top_k = r % 3 == 0 ? 20 : 0;
      p.top_p = r % 2 == 0 ? 0.9f : 1.0f;
      p.min_p = r % 5 == 0 ? 0.05f : 0.0f;
      p.repetition_penalty = r % 3 == 1 ? 1.3f : 1.0f;
      p.presence_penalty = r % 4 == 1 ? 0.5f : 0.0f;
      p.frequency_penalty = r % 4 == 2 ? 0.2f : 0.0f;
      if (r % 2 == 1) p.logit_bias = {{5, 2.0f}, {7, -3.0f}};
      params.push_back(p);
      prompts.push_back(tokens_of(9, 31 + r, 64));
      outputs.push_back(tokens_of(6, 61 + r, 40));
    }
  }

  void attach(PackedStep& step) const {
    for (std::size_t r = 0; r < params.size(); ++r) {
      std::span<const u64> allowed =
          r % 3 == 2 ? std::span<const u64>(mask) : std::span<const u64>();
      step.samples.push_back({.logits = {},
                              .params = params[r],
                              .prompt = prompts[r],
                              .output = outputs[r],
                              .allowed = allowed,
                              .position = 100 + r});
    }
  }
};

const char* const kSampled = R"(.tgp 1.0 profile=TEXT
.dim T<=512 S<=32 R<=64 C<=512
.w $embd f32[96,64]
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %b batch, %p params) -> %id, %lp, %top, %tlp, %z
  %x = embed $embd, %ids -> f32[T,64]
  %g = gather %x, %rows -> f32[R,64]
  %g2 = mul %g {alpha=9} -> f32[R,64]
  %z = logits %g2, %p -> f32[R,64]
  %id, %lp, %top, %tlp = sample %z, %p {top_n=5} -> i32[R], f32[R], i32[R,5], f32[R,5]
.end
)";

TEST(Profiles, TEXT_logits_and_sample_are_the_references_to_the_bit) {
  isa::VerifiedProgram program = verified(kSampled);
  std::vector<i32> tokens = tokens_of(48, 5, 64);
  std::vector<PackedStep> steps(1);
  steps[0].add(tokens, 0, pages_from(0, 3), 48);
  Sampling sampling(48);
  sampling.attach(steps[0]);
  for (u32 device = 0; device < device_count(); ++device) {
    Errors e = compare(program, steps, device);
    EXPECT_EQ(e.wrong_ints, 0);
    EXPECT_EQ(e.ours, 0.0);  // golden and f32 are the same numbers here
    EXPECT_EQ(e.ints, 48 * 6);
  }
}

TEST(Profiles, a_row_without_a_finite_score_gives_no_token) {
  isa::VerifiedProgram program = verified(kSampled);
  RandomWeights weights(program.program(), 7);
  std::unique_ptr<Executor> executor = make(program, weights);
  PackedStep step;
  step.add(tokens_of(1, 5, 64), 0, pages_from(0, 1), 1);
  Sampling sampling(1);
  sampling.params[0].logit_bias = {{3, NAN}};
  sampling.attach(step);
  ASSERT_TRUE(executor->run(step.view()).ok());
  EXPECT_EQ(executor->result(0).ints()[0], -1);
}

TEST(Profiles, SPEC_every_instruction) {
  isa::VerifiedProgram program = verified(isa_text("every_spec.tga"));
  std::vector<PackedStep> steps(2);
  std::vector<i32> a = tokens_of(40, 1, 96), b = tokens_of(9, 2, 96);
  steps[0].add(a, 0, pages_from(0, 3), 1);
  steps[0].add(b, 0, pages_from(5, 1), 9);
  // Eight tokens of a proposal chain, and another of six.
  steps[1].add(tokens_of(8, 3, 96), 40, pages_from(0, 3), 8);
  steps[1].add(tokens_of(6, 4, 96), 9, pages_from(5, 1), 6);
  Sampling first(10), second(14);
  first.attach(steps[0]);
  for (std::size_t r = 0; r < 5; ++r) second.force(r, steps[1].ids[r + 1]);
  for (std::size_t r = 8; r < 10; ++r) second.force(r, steps[1].ids[r + 1]);
  second.mask = {~u64{0}, ~u64{0}};
  second.attach(steps[1]);
  for (u32 device = 0; device < device_count(); ++device) {
    Errors e = compare(program, steps, device);
    EXPECT_EQ(e.wrong_ints, 0);
    EXPECT_GE(e.accepted, 7);
  }
}

// 0 - 1 - 2 - 3, 1 - 4 - 5, 0 - 6: new tokens of one sequence.
const std::vector<i32> kTree = {-1, 0, 1, 2, 1, 4, 0};

TEST(Profiles, SPEC_a_path_of_a_tree_has_the_bits_of_its_tokens_in_a_row) {
  for (const char* format : {"f16", "q8_0"}) {
    isa::VerifiedProgram program = verified(decoder(format, "", "mask=tree"));
    RandomWeights weights(program.program(), 7);
    for (u32 device = 0; device < device_count(); ++device) {
      std::unique_ptr<Executor> executor = make(program, weights, 2, device);
      std::vector<i32> prompt = tokens_of(61, 1, 96), fresh = tokens_of(7, 2, 96);
      std::vector<i32> pages = pages_from(3, 5), other = pages_from(20, 5);
      PackedStep prefill, tree, path;
      prefill.add(prompt, 0, pages, 0);
      prefill.add(prompt, 0, other, 0);
      run(*executor, prefill);
      tree.add(fresh, 61, pages, 7);
      tree.tree = kTree;
      std::vector<f32> rows = run(*executor, tree);
      std::vector<i32> straight = {fresh[0], fresh[1], fresh[4], fresh[5]};
      path.add(straight, 61, other, 4);
      std::vector<f32> expected = run(*executor, path);
      const i64 places[] = {0, 1, 4, 5};
      for (std::size_t i = 0; i < 4; ++i) {
        std::vector<f32> row(rows.begin() + places[i] * 80, rows.begin() + (places[i] + 1) * 80);
        std::vector<f32> want(expected.begin() + static_cast<i64>(i) * 80,
                              expected.begin() + static_cast<i64>(i + 1) * 80);
        EXPECT_EQ(row, want) << format << " device " << device << " token " << places[i];
      }
    }
  }
}

TEST(Profiles, SPEC_trees_agree_with_the_reference) {
  std::vector<PackedStep> steps(2);
  steps[0].add(tokens_of(21, 1, 96), 0, pages_from(0, 2), 1);
  steps[0].add(tokens_of(4, 2, 96), 0, pages_from(5, 1), 1);
  steps[1].add(tokens_of(7, 3, 96), 21, pages_from(0, 2), 7);
  steps[1].add(tokens_of(3, 4, 96), 4, pages_from(5, 1), 3);
  steps[1].tree = kTree;
  steps[1].tree.insert(steps[1].tree.end(), {-1, -1, -1});
  expect_agreement(decoder("f32", "", "mask=tree"), steps, 3e-6);
  // Exact verification over the same tree.
  std::string text = isa_text("every_spec.tga");
  text = replaced(text, ", %n2, %token2\n", "\n");
  text = replaced(text,
                  "  %n2, %token2 = spec_verify %p, %ids, %rows, %params, %bt, %dq "
                  "{mode=rejection} -> i32[S], i32[S]\n",
                  "");
  text = replaced(text, "  %dlg = linear %last, $dhead -> f32[R,V]\n", "");
  text = replaced(text, "  %dq = logits %dlg, %params -> f32[R,V]\n", "");
  text = replaced(text, ".w $dhead q4_0[V,d]\n", "");
  Sampling first(2), second(10);
  first.attach(steps[0]);
  second.force(0, steps[1].ids[1]);
  second.force(1, steps[1].ids[4]);
  second.force(4, steps[1].ids[5]);
  second.mask = {~u64{0}, ~u64{0}};
  second.attach(steps[1]);
  isa::VerifiedProgram program = verified(text);
  for (u32 device = 0; device < device_count(); ++device) {
    Errors e = compare(program, steps, device);
    EXPECT_EQ(e.wrong_ints, 0);
    EXPECT_GE(e.accepted, 3);
  }
}

TEST(Profiles, TEXT_rope_tables_and_sections) {
  const char* kText = R"(.tgp 1.0 profile=TEXT
.dim T<=512 S<=32 R<=64 C<=512
.w $embd f32[96,64]
.const $invf f32[2,8] = 1 0.5 0.25 0.1 0.05 0.02 0.01 0.005 2 1.5 1.25 1.1 0.3 0.2 0.1 0.05
.func main (%ids i32[T], %pos POS, %rows i32[R], %bt batch) -> %logits
  %x = embed $embd, %ids -> f32[T,64]
  %a = rope %x, %pos, $invf {STYLE heads=4 rot=16 table=0} -> f32[T,64]
  %b = rope %a, %pos, $invf {STYLE heads=4 rot=16 table=1 mscale=1.5} -> f32[T,64]
  %logits = gather %b, %rows -> f32[R,64]
.end
)";
  std::string plain = replaced(replaced(kText, "POS", "i32[T]"), "STYLE", "style=gptj");
  expect_agreement(plain, chunks(96), 2e-6);
  std::string mrope =
      replaced(replaced(kText, "POS", "i32[3,T]"), "STYLE", "style=mrope sections=(3,4,1)");
  mrope = replaced(mrope, "profile=TEXT", "profile=TEXT,VISION");
  std::vector<PackedStep> steps = chunks(96);
  for (PackedStep& step : steps) {
    std::size_t tokens = step.positions.size();
    for (std::size_t i = 0; i < 2 * tokens; ++i) {
      step.positions.push_back(step.positions[i] / 2 + static_cast<i32>(i % 5));
    }
  }
  expect_agreement(mrope, steps, 2e-6);
}

TEST(Profiles, D2_experts_latent_rows_and_prompts_do_not_see_their_batch) {
  struct Case {
    std::string text;
    bool whole;  // prompts only
  };
  for (const Case& c : {Case{every_moe(), false}, Case{latent("q8_0", "q4_0", false), false},
                        Case{decoder("q4_0", "{xq=i8/32}", "mask=tree"), false},
                        Case{isa_text("every_embed.tga"), true}}) {
    isa::VerifiedProgram program = verified(c.text);
    RandomWeights weights(program.program(), 7);
    std::unique_ptr<Executor> one = make(program, weights, 1);
    std::unique_ptr<Executor> two = make(program, weights, 2);
    std::vector<i32> a = tokens_of(30, 1, 96), b = tokens_of(13, 2, 96);
    PackedStep alone, both, other, head, tail;
    alone.add(a, 0, pages_from(1, 2), 1);
    both.add(b, 0, pages_from(9, 1), 1);
    both.add(a, 0, pages_from(20, 2), 1);
    std::vector<f32> expected = run(*one, alone);
    std::vector<f32> mixed = run(*two, both);
    ASSERT_EQ(mixed.size(), 2 * expected.size());
    std::vector<f32> second(mixed.begin() + static_cast<i64>(expected.size()), mixed.end());
    EXPECT_EQ(second, expected);
    if (c.whole) continue;
    head.add(std::span(a).first(11), 0, pages_from(40, 2), 0);
    tail.add(std::span(a).subspan(11), 11, pages_from(40, 2), 1);
    run(*two, head);
    EXPECT_EQ(run(*two, tail), expected);
  }
}

TEST(Profiles, others_are_refused_by_name) {
  struct Case {
    const char* file;
    const char* message;
  };
  for (const Case& c : {Case{"every_sparse.tga", "SPARSE"}, Case{"every_state.tga", "STATE"},
                        Case{"every_vision.tga", "VISION"}, Case{"every_dist.tga", "DIST"}}) {
    isa::VerifiedProgram program = verified(isa_text(c.file));
    RandomWeights weights(program.program(), 7);
    Result<std::unique_ptr<Executor>> made = make_executor("cpu", program, weights.table, kLimits);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().code, Code::kUnsupported);
    EXPECT_NE(made.error().message.find(c.message), std::string::npos) << made.error().message;
  }
}

}  // namespace
}  // namespace tg::backend
