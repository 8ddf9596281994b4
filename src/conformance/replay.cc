#include "conformance/replay.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "conformance/allocation_watch.h"

namespace tg::conformance {

namespace {

using Rows = std::map<RowKey, std::vector<f64>>;

Result<Rows> rows_of(const Replayed& r, backend::Executor& executor, std::span<const Step> steps) {
  Rows rows;
  std::size_t columns = static_cast<std::size_t>(r.columns);
  for (const Step& step : steps) {
    TG_ASSIGN(std::vector<f64> results, run_watched(executor, step, r.is_integer));
    if (results.size() != step.keys.size() * columns) {
      return Error{Code::kInvalid, fmt::format("{} numbers for {} rows of {}", results.size(),
                                               step.keys.size(), columns)};
    }
    for (std::size_t i = 0; i < step.keys.size(); ++i) {
      std::span<const f64> row = std::span<const f64>(results).subspan(i * columns, columns);
      rows[step.keys[i]] = {row.begin(), row.end()};
    }
  }
  return rows;
}

// The last step on copies of all pages, which are in the upper half of the pool.
void move_to_copies(Step& step, i64 page_tokens) {
  for (i32& page : step.pages) page += static_cast<i32>(kPages);
  for (i32& slot : step.slots) slot += static_cast<i32>(kPages * page_tokens);
}

Status copy_all_pages(backend::Executor& executor) {
  std::vector<backend::PageCopy> copies;
  for (i32 p = 0; p < kPages; ++p) copies.push_back({p, p + static_cast<i32>(kPages)});
  return executor.copy_pages(copies);
}

Result<Rows> forked_rows(const Replayed& r, std::vector<Step> steps) {
  std::span<const Step> before = std::span<const Step>(steps).first(steps.size() - 1);
  TG_ASSIGN(Rows rows, rows_of(r, r.other, before));
  TG_TRY(copy_all_pages(r.other));
  move_to_copies(steps.back(), r.layout.page_tokens);
  TG_ASSIGN(Rows last, rows_of(r, r.other, {&steps.back(), 1}));
  rows.merge(last);
  return rows;
}

bool same_bits(const std::vector<f64>& a, const std::vector<f64>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(f64)) == 0;
}

}  // namespace

Outcome failed(std::string text) {
  return {.pass = false, .failure = std::move(text)};
}

Result<std::vector<f64>> run_watched(backend::Executor& executor, const Step& step,
                                     bool is_integer) {
  backend::StepBatch batch = step.view();
  arm_allocation_watch();
  Result<std::span<const f32>> results = executor.run(batch);
  i64 calls = disarm_allocation_watch().backend;
  if (!results) return std::move(results).error();
  if (calls > 0) {
    return Error{Code::kInvalid, fmt::format("run() called the allocator {} times (R4)", calls)};
  }
  if (!is_integer) return std::vector<f64>(results->begin(), results->end());
  std::span<const i32> integers = executor.result(0).ints();
  return std::vector<f64>(integers.begin(), integers.end());
}

Outcome compare_replay(const Replayed& r, Replay replay) {
  Result<Rows> expected = rows_of(r, r.first, steps_of(*find_shape("mixed"), r.layout));
  if (!expected) return failed(expected.error().message);
  std::vector<Step> steps = replay_of(replay, r.layout);
  Result<Rows> got =
      replay == Replay::kFork ? forked_rows(r, std::move(steps)) : rows_of(r, r.other, steps);
  if (!got) return failed(got.error().message);
  for (const auto& [key, row] : *got) {
    if (same_bits(row, (*expected)[key])) continue;
    return failed(fmt::format("sequence {} position {}: other bits {}", key.sequence, key.position,
                              name(replay)));
  }
  return {};
}

}  // namespace tg::conformance
