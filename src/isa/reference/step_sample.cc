// logits and sample: rows through the pure functions of sampling.h.
#include <algorithm>

#include "isa/reference/step.h"

namespace tg::isa {

static std::vector<f32> as_f32(std::span<const f64> row) {
  std::vector<f32> out;
  for (f64 v : row) out.push_back(static_cast<f32>(v));
  return out;
}

template <typename F>
Status Step<F>::logits(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  for (i64 r = 0; r < x.rows(); ++r) {
    const SampleRow& p = context_.batch.params[static_cast<std::size_t>(r)];
    std::vector<f32> raw = as_f32(x.row(r));
    SampleRow row{raw, p.params, p.prompt, p.output, p.allowed, p.position};
    TG_ASSIGN(std::vector<f32> scores, filter_logits(row));
    std::copy(scores.begin(), scores.end(), y.row(r).begin());
  }
  count(unit::kEw, 8 * static_cast<i64>(x.data.size()));
  finish(op.out[0], std::move(y));
  return {};
}

template <typename F>
Status Step<F>::sample(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  i64 top = op.word(AttributeKey::kTopN);
  std::vector<Tensor> out;
  for (u32 id : op.out) out.push_back(make(id));
  for (i64 r = 0; r < x.rows(); ++r) {
    std::size_t at = static_cast<std::size_t>(r);
    const SampleRow& p = context_.batch.params[at];
    std::vector<f32> scores = as_f32(x.row(r));
    if (std::none_of(scores.begin(), scores.end(), [](f32 s) { return s - s == 0.0f; }))
      return trap("a row of logits is not finite");
    i32 id = draw_token(scores, p.params, p.position);
    out[0].data[at] = id;
    out[1].data[at] = log_probability(scores, id);
    if (top == 0) continue;
    std::vector<std::pair<i32, f32>> likely = most_likely(scores, top);
    // Rows with fewer tokens left than asked for end in -1.
    for (i64 i = 0; i < top; ++i) {
      bool there = i < static_cast<i64>(likely.size());
      std::size_t k = static_cast<std::size_t>(i);
      out[2].row(r)[k] = there ? likely[k].first : -1;
      out[3].row(r)[k] = there ? likely[k].second : 0;
    }
  }
  count(unit::kEw, 3 * static_cast<i64>(x.data.size()));
  count(unit::kIo, 4 * x.rows());
  for (std::size_t i = 0; i < out.size(); ++i) finish(op.out[i], std::move(out[i]));
  return {};
}

template Status Step<f32>::logits(const FlatInstruction&);
template Status Step<f64>::logits(const FlatInstruction&);
template Status Step<f32>::sample(const FlatInstruction&);
template Status Step<f64>::sample(const FlatInstruction&);

}  // namespace tg::isa
