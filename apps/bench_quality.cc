// `tokengrid bench quality`: what rounding costs. The same held-out questions with their expected
// answers go through one model under several arithmetics; each answer's tokens are judged where the
// model, fed the expected ones before them, would have put them. A probe counts as right if every
// one of them, and the end, is the model's first choice: then greedy decoding says exactly that.
#include "apps/bench_quality.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "apps/bench_probes.h"
#include "apps/bench_report.h"
#include "apps/loaded_model.h"
#include "backend/packed_step.h"

namespace tg::apps {

namespace {

struct Variant {
  const char* name;
  model::ImportOptions options;
};

// The first is what the others are compared with. What is rounded, and to what, the weights decide:
// to int8 or to bf16, or nothing.
std::vector<Variant> variants() {
  using isa::DType;
  return {{"exact, f32 keys", {.exact = true, .kv_format = DType::kF32}},
          {"exact, f16 keys (--exact)", {.exact = true}},
          {"rounded, f16 keys (default)", {}},
          {"rounded, q8_0 keys", {.kv_format = DType::kQ8_0}},
          {"rounded, e4m3 keys", {.kv_format = DType::kE4m3}},
          {"rounded, q4_0 keys", {.kv_format = DType::kQ4_0}}};
}

// -log of the softmax of `row` at `token`.
f64 loss_of(std::span<const f32> row, i32 token) {
  f64 top = *std::max_element(row.begin(), row.end());
  f64 total = 0;
  for (f32 score : row) total += std::exp(static_cast<f64>(score) - top);
  return top + std::log(total) - static_cast<f64>(row[static_cast<std::size_t>(token)]);
}

// A row for each token of the answer, which it should choose, and one that should end it.
void judge(const Probe& item, const Tokenizer& tokenizer, std::span<const f32> logits,
           Judged& out) {
  bool is_right = true;
  std::size_t first = item.first();
  std::size_t vocabulary = logits.size() / static_cast<std::size_t>(item.answer + 1);
  for (i64 i = 0; i <= item.answer; ++i) {
    std::span<const f32> row = logits.subspan(static_cast<std::size_t>(i) * vocabulary, vocabulary);
    i32 choice = static_cast<i32>(std::max_element(row.begin(), row.end()) - row.begin());
    out.choices.push_back(choice);
    if (i == item.answer) {
      is_right &= tokenizer.is_end_of_generation(choice);
    } else {
      i32 expected = item.ids[first + static_cast<std::size_t>(i)];
      is_right &= choice == expected;
      out.loss += loss_of(row, expected);
    }
  }
  out.tokens += item.answer;
  out.right += is_right ? 1 : 0;
  ++out.probes;
}

Result<Judged> judge_variant(const Variant& variant, const std::string& path,
                             const std::string& probes, i32 threads, i64& key_bytes) {
  TG_ASSIGN(LoadedModel loaded, load_model(path, variant.options));
  TG_ASSIGN(std::vector<Probe> items, read_probes(probes, loaded));
  const isa::Bounds& bounds = loaded.model->program().program().bounds;
  i64 most = std::min(bounds.tokens, bounds.context);
  TG_ASSIGN(std::unique_ptr<backend::Executor> executor,
            backend::make_executor("cpu", loaded.model->program(), loaded.model->weights(),
                                   {.tokens_max = most,
                                    .sequences_max = 1,
                                    .rows_max = bounds.rows,
                                    .context_max = most,
                                    .kv_pages = most / 16 + 1,
                                    .threads = threads}));
  i64 page_tokens = executor->page_tokens();
  key_bytes = executor->page_bytes() / page_tokens;
  Judged out;
  for (const Probe& item : items) {
    i64 tokens = static_cast<i64>(item.ids.size());
    if (tokens > most || item.answer >= bounds.rows) continue;
    backend::PackedStep step;
    i64 pages = (tokens + page_tokens - 1) / page_tokens;
    step.add(item.ids, 0, backend::pages_from(0, pages), item.answer + 1, page_tokens);
    TG_ASSIGN(std::span<const f32> logits, executor->run(step.view()));
    judge(item, *loaded.tokenizer, logits, out);
  }
  if (out.tokens == 0) return Error{Code::kInvalid, probes + " has no probe that fits the model"};
  return out;
}

}  // namespace

Status bench_quality(const QualityOptions& o) {
  Report report("quality", {"arithmetic", "probes", "right", "perplexity", "top-1 as first",
                            "KV bytes/token"});
  std::optional<Judged> first;
  for (const Variant& variant : variants()) {
    i64 key_bytes = 0;  // of a token
    TG_ASSIGN(Judged judged, judge_variant(variant, o.model, o.probes, o.threads, key_bytes));
    if (!first) first = judged;
    report.row({variant.name, judged.probes, judged.right, judged.perplexity(),
                agreement(*first, judged), key_bytes});
  }
  report.print(o.json);
  return report.plot(o.svg);
}

}  // namespace tg::apps
