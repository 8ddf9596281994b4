// Receipts for tests: consistent ones of every form, and a way to make more.
#pragma once

#include <algorithm>

#include "meter/receipt.h"

namespace tg::meter {

inline unit::CostMatrix sample_cost() {
  unit::CostMatrix cost;
  cost.per_token[unit::kMmF16] = 2'000'000;
  cost.per_row[unit::kMmF16] = 500'000;
  cost.per_pass[unit::kWBytes] = 2'000'000;
  cost.head_bytes = 500'000;
  cost.windows = {{0, 4096, 0, 256}};
  return cost;
}

struct SampleRequest {
  u128 request = 0x0190a1f0c3;
  i64 prompt = 1834;
  i64 cached = 512;
  std::vector<i64> outputs = {612, 3};
  Outcome outcome = Outcome::kCompleted;
};

// A receipt whose arithmetic holds with sample_cost(); not yet a page.
inline Receipt sample_receipt(const SampleRequest& request = {}) {
  Receipt r;
  r.device = "cpu_avx512";
  r.request = request.request;
  r.buyer = 7;
  r.seller = 22;
  r.model = "tiny";
  r.program = sha256("program");
  r.tariff = "list/1";
  r.factor_ppm = 418'000;
  r.time = Timestamp{1'767'225'600'120'000'000};
  r.prompt_tokens = request.prompt;
  r.cached_tokens = request.cached;
  r.output_tokens = request.outputs;
  r.outcome = request.outcome;
  unit::NominalWork work = unit::nominal_work(sample_cost(), {.prompt = r.prompt_tokens,
                                                              .cached = r.cached_tokens,
                                                              .outputs = r.output_tokens})
                               .value();
  r.nominal_nst = work.total.value;
  r.input_nst = work.input.value;
  r.output_nst = work.output.value;
  r.billable_nst = billable(r.outcome, work, output_tokens(r)).value;
  r.held = 3'000'000'000;
  r.billed = billed_amount(r.billable_nst, r.factor_ppm, r.held);
  r.hold = 9;
  r.post = r.billed > 0 ? 10 : 0;
  return r;
}

inline Receipt sample_version_1() {
  Receipt r = sample_receipt();
  r.version = 1;
  r.log = "grid.example/2026";
  r.meter = "gw-1";
  return r;
}

// Two prices, two accounts that pay, reasoning, something written to a cache.
inline Receipt sample_version_3(const SampleRequest& request = {}) {
  Receipt r = sample_receipt(request);
  r.version = 3;
  r.tariff.clear();
  r.factor_ppm = 0;
  r.post = 0;
  r.choice = 1;
  r.output_tokens = {output_tokens(r)};
  r.written_tokens = 5;
  r.reasoning_tokens = r.output_tokens[0] / 3;
  r.pricing = {.card = "list", .version = 7, .digest = sha256("card"), .segments = {}};
  PriceVector first;
  first[RatedClass::kWork] = 418'000'000'000'000;
  first[RatedClass::kReasoning] = 3'000'000;
  first[RatedClass::kCacheWrite] = 9'000'000;
  PriceVector second = first;
  second[RatedClass::kOutput] = 2'000'001;
  r.pricing.segments = {{.prices = first},
                        {.output_from = 40, .reasoning_from = 9, .prices = second}};
  r.mode = "sliced";
  r.max_cost = 4'000'000'000;
  r.slices = 3;
  unit::NominalWork work = unit::nominal_work(sample_cost(), {.prompt = r.prompt_tokens,
                                                              .cached = r.cached_tokens,
                                                              .outputs = r.output_tokens})
                               .value();
  r.nominal_nst = work.total.value;
  r.input_nst = work.input.value;
  r.output_nst = work.output.value;
  r.billable_nst = billable(r.outcome, work, output_tokens(r)).value;
  r.billed = std::min(charge_of(r, sample_cost()).value(), r.held);
  r.paid = {{.account = 33, .amount = r.billed - r.billed / 4},
            {.account = 34, .amount = r.billed / 4}};
  return r;
}

inline Receipt sample_page_3() {
  Receipt r = sample_version_3();
  r.log = "grid.example/2026";
  r.meter = "gw-1";
  r.page = 1;
  r.end = advance({}, r).value();
  return r;
}

inline Receipt sample_page() {
  Receipt r = sample_receipt();
  r.log = "grid.example/2026";
  r.meter = "gw-1";
  r.page = 1;
  r.end = advance({}, r).value();
  return r;
}

// Binds "what was asked" and "what was answered".
inline Draft sample_draft(const SampleRequest& request = {},
                          tlog::Suite suite = tlog::Suite::kEd25519Sha256, i64 version = 3) {
  tlog::Hasher hasher(suite);
  Draft draft{.receipt = version == 3 ? sample_version_3(request) : sample_receipt(request),
              .salt = {}};
  Digest seed = sha256(std::to_string(static_cast<u64>(request.request)));
  std::copy(seed.begin(), seed.end(), draft.salt.begin());
  draft.receipt.suite = suite;
  draft.receipt.binding = {
      .input = bound_bytes(hasher, draft.salt, Side::kInput, "what was asked"),
      .input_bytes = 14,
      .output = bound_bytes(hasher, draft.salt, Side::kOutput, "what was answered"),
      .output_bytes = 17};
  return draft;
}

}  // namespace tg::meter
