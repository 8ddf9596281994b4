// The device of the engine's tests: an Executor without a model. The key of a token is a hash of
// the token, its position and every key it sees through the page table; a row of logits is a hash
// of the row's whole context. So any mistake of paging, position or order changes the output, and
// anything the contract of StepBatch forbids is an error. It can have habits, so that drafts come
// true, and take the time that a given model says.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "backend/executor.h"
#include "engine/sched/step_model.h"

namespace tg::engine {

class FakeExecutor final : public backend::Executor {
 public:
  struct Shape {
    i64 vocabulary = 64;
    i64 page_tokens = 4;
    backend::ExecutorLimits limits;
    u64 habit = 0;  // of 256 rows, those whose best token by far follows from the last one alone
  };

  explicit FakeExecutor(const Shape& shape)
      : shape_(shape),
        keys_(static_cast<std::size_t>((shape.limits.kv_pages + shape.limits.swap_pages) *
                                       shape.page_tokens)) {}

  // What the habit makes of a token: five tokens that lead to one another.
  i32 habit_after(i32 token) const {
    return static_cast<i32>((token + 1) % std::min<i64>(5, shape_.vocabulary));
  }

  Result<std::span<const f32>> run(const backend::StepBatch& batch) override {
    ++steps;
    if (steps == fail_at_step) return Error{Code::kUnavailable, "fake: injected trap"};
    TG_TRY(check(batch));
    logits_.assign(batch.rows.size() * static_cast<std::size_t>(shape_.vocabulary), 0.0f);
    for (std::size_t s = 0; s < batch.past.size(); ++s) compute_sequence(batch, s);
    for (std::size_t r = 0; r < batch.rows.size(); ++r) fill_row(batch, r);
    if (time_ns != nullptr) *time_ns += static_cast<i64>(time.predict_ns(size_));
    if (steps == nan_at_step) logits_.at(3) = std::numeric_limits<f32>::quiet_NaN();
    return std::span<const f32>(logits_);
  }

  Status copy_pages(std::span<const backend::PageCopy> copies) override {
    if (fails_to_copy) return Error{Code::kUnsupported, "fake: no copies"};
    for (const backend::PageCopy& copy : copies) {
      for (i32 page : {copy.from, copy.to}) {
        if (page < 0 || page >= shape_.limits.kv_pages + shape_.limits.swap_pages) {
          return Error{Code::kInvalid, "fake: copy of page " + std::to_string(page)};
        }
      }
      std::copy_n(keys_.begin() + copy.from * shape_.page_tokens, shape_.page_tokens,
                  keys_.begin() + copy.to * shape_.page_tokens);
    }
    return {};
  }
  i64 vocabulary() const override { return shape_.vocabulary; }
  i64 page_tokens() const override { return shape_.page_tokens; }
  i64 page_bytes() const override { return shape_.page_tokens * 8; }
  const backend::ExecutorLimits& limits() const override { return shape_.limits; }
  std::string device_name() const override { return "fake"; }

  i64 steps = 0;
  i64 tokens = 0;  // computed in all steps
  i64 fail_at_step = -1;
  i64 nan_at_step = -1;
  bool fails_to_copy = false;
  i64* time_ns = nullptr;  // a clock that each step moves
  StepTime time;           // by so much

 private:
  static u64 mix(u64 a, u64 b) {
    u64 z = (a ^ (b + 0x9E3779B97F4A7C15u + (a << 6))) * 0xBF58476D1CE4E5B9u;
    return z ^ (z >> 29);
  }

  // Where the token at `position` of sequence s lives.
  i64 slot_of(const backend::StepBatch& batch, std::size_t s, i64 position) const {
    i64 page =
        batch.pages[static_cast<std::size_t>(batch.page_begin[s] + position / shape_.page_tokens)];
    return page * shape_.page_tokens + position % shape_.page_tokens;
  }

  Status check(const backend::StepBatch& batch) {
    const backend::ExecutorLimits& most = shape_.limits;
    std::size_t sequences = batch.past.size();
    std::size_t count = batch.ids.size();
    auto wrong = [](const std::string& what) { return Error{Code::kInvalid, "fake: " + what}; };
    if (static_cast<i64>(count) > most.tokens_max || count == 0) return wrong("tokens");
    if (static_cast<i64>(sequences) > most.sequences_max) return wrong("sequences");
    if (static_cast<i64>(batch.rows.size()) > most.rows_max) return wrong("rows");
    if (batch.positions.size() != count || batch.slots.size() != count) return wrong("sizes");
    if (batch.cu.size() != sequences + 1 || batch.page_begin.size() != sequences + 1) {
      return wrong("cu or page_begin");
    }
    if (batch.cu[0] != 0 || static_cast<std::size_t>(batch.cu.back()) != count) return wrong("cu");
    for (i32 page : batch.pages) {
      if (page < 0 || page >= most.kv_pages) return wrong("page");
    }
    users_.assign(static_cast<std::size_t>(most.kv_pages), 0);
    for (i32 page : batch.pages) ++users_[static_cast<std::size_t>(page)];
    size_ = {};
    for (std::size_t s = 0; s < sequences; ++s) {
      i64 fresh = batch.cu[s + 1] - batch.cu[s];
      i64 end = batch.past[s] + fresh;
      i64 pages = batch.page_begin[s + 1] - batch.page_begin[s];
      size_.add(batch.past[s], fresh, 0);
      if (fresh <= 0 || end > most.context_max) return wrong("length");
      if (pages != (end + shape_.page_tokens - 1) / shape_.page_tokens) return wrong("page count");
      for (i64 i = 0; i < fresh; ++i) {
        std::size_t t = static_cast<std::size_t>(batch.cu[s] + i);
        if (batch.positions[t] != batch.past[s] + i) return wrong("position");
        if (batch.slots[t] != slot_of(batch, s, batch.positions[t])) return wrong("slot");
        if (batch.ids[t] < 0 || batch.ids[t] >= shape_.vocabulary) return wrong("id");
        // What one sequence writes, no other may see.
        if (users_[static_cast<std::size_t>(batch.slots[t] / shape_.page_tokens)] != 1) {
          return wrong("write to a shared page");
        }
      }
    }
    for (i32 row : batch.rows) {
      if (row < 0 || static_cast<std::size_t>(row) >= count) return wrong("row");
    }
    tokens += static_cast<i64>(count);
    size_.rows = static_cast<i64>(batch.rows.size());
    return {};
  }

  u64 context_hash(const backend::StepBatch& batch, std::size_t s, i64 keys) const {
    u64 hash = 1;
    for (i64 k = 0; k < keys; ++k) {
      hash = mix(hash, keys_[static_cast<std::size_t>(slot_of(batch, s, k))]);
    }
    return hash;
  }

  void compute_sequence(const backend::StepBatch& batch, std::size_t s) {
    for (i32 t = batch.cu[s]; t < batch.cu[s + 1]; ++t) {
      std::size_t at = static_cast<std::size_t>(t);
      i64 position = batch.positions[at];
      u64 seen = context_hash(batch, s, position);
      keys_[static_cast<std::size_t>(batch.slots[at])] =
          mix(mix(seen, static_cast<u64>(batch.ids[at])), static_cast<u64>(position));
    }
  }

  void fill_row(const backend::StepBatch& batch, std::size_t r) {
    std::size_t s = 0;
    while (batch.cu[s + 1] <= batch.rows[r]) ++s;
    u64 seen = context_hash(batch, s, batch.positions[static_cast<std::size_t>(batch.rows[r])] + 1);
    std::size_t width = static_cast<std::size_t>(shape_.vocabulary);
    for (std::size_t v = 0; v < width; ++v) {
      logits_[r * width + v] = static_cast<f32>(mix(seen, v) >> 40) * 0x1.0p-21f;  // [0, 8)
    }
    if (mix(seen, width) % 256 >= shape_.habit) return;
    i32 last = batch.ids[static_cast<std::size_t>(batch.rows[r])];
    logits_[r * width + static_cast<std::size_t>(habit_after(last))] += 20;
  }

  Shape shape_;
  std::vector<u64> keys_;  // by slot
  std::vector<f32> logits_;
  std::vector<i32> users_;  // of a page, in this step
  StepSize size_;
};

}  // namespace tg::engine
