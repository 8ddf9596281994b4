// Generated traffic, and published traffic at another load.
#include <cmath>

#include "sim/draw.h"
#include "sim/trace.h"

namespace tg::sim {

namespace {

constexpr f64 kSecond = 1e9;
constexpr i64 kTurnGapNs = 20'000'000'000;  // between an answer and the next question, on average

u64 chain(u64 parent, u64 word) {
  u64 z = parent * 0x9e3779b97f4a7c15ull + word + 1;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  return z ^ (z >> 31);
}

struct Lengths {
  f64 prompt_median;
  f64 output_mean;
};

class Generator {
 public:
  explicit Generator(const GeneratorOptions& options) : o_(options), random_(options.seed) {
    trace_.name = "generated";
  }

  Trace run() {
    f64 weights = 0;
    for (i64 k = 1; k <= o_.tenants; ++k) weights += 1 / static_cast<f64>(k);
    for (i64 k = 1; k <= o_.tenants; ++k) {
      f64 rate = o_.rate / (static_cast<f64>(k) * weights);
      emit_tenant(static_cast<u32>(k), rate / std::max(1.0, o_.turns));
    }
    std::stable_sort(
        trace_.requests.begin(), trace_.requests.end(),
        [](const TraceRequest& a, const TraceRequest& b) { return a.at_ns < b.at_ns; });
    return std::move(trace_);
  }

 private:
  // Conversations begin at gaps of gamma law; each turn's prompt holds all turns before it.
  void emit_tenant(u32 tenant, f64 conversations_per_s) {
    Lengths lengths{o_.prompt_median * std::exp(0.4 * normal(random_)),
                    o_.output_mean * std::exp(0.3 * normal(random_))};
    f64 at_s = exponential(random_, 1 / conversations_per_s);
    while (at_s < o_.seconds) {
      emit_conversation(tenant, at_s, lengths);
      at_s += gamma_of_mean_1(random_, 1 / o_.burstiness) / conversations_per_s;
    }
  }

  void emit_conversation(u32 tenant, f64 at_s, const Lengths& lengths) {
    u64 words = random_.next();
    u64 system = chain(tenant, 0);  // a tenant's system prompt is a block of its own
    f64 context = static_cast<f64>(trace_.block_tokens);
    for (bool goes_on = true; goes_on; goes_on = random_.uniform() < 1 - 1 / o_.turns) {
      context += lengths.prompt_median * std::exp(o_.prompt_sigma * normal(random_));
      if (context > static_cast<f64>(o_.prompt_max) || at_s >= o_.seconds) return;
      f64 output = 1 + exponential(random_, lengths.output_mean);
      TraceRequest r;
      r.at_ns = static_cast<i64>(at_s * kSecond);
      r.prompt_tokens = static_cast<i32>(context);
      r.output_tokens = static_cast<i32>(output);
      r.tenant = tenant;
      r.first_block = static_cast<u32>(trace_.blocks.size());
      r.blocks = static_cast<u32>(r.prompt_tokens / trace_.block_tokens);
      for (u32 b = 0; b < r.blocks; ++b) {
        trace_.blocks.push_back(b == 0 ? system : chain(words, b));
      }
      trace_.requests.push_back(r);
      context += output;
      at_s += exponential(random_, static_cast<f64>(kTurnGapNs) / kSecond);
    }
  }

  GeneratorOptions o_;
  SeededRandom random_;
  Trace trace_;
};

}  // namespace

Trace generate(const GeneratorOptions& options) {
  return Generator(options).run();
}

Trace step_traffic(const StepOptions& o) {
  Trace trace;
  trace.name = "step";
  SeededRandom random(o.seed);
  f64 at_s = 0;
  while (true) {
    f64 rate = at_s < o.jump_s ? o.rate_before : o.rate_after;
    f64 next = at_s + exponential(random, 1 / rate);
    // A gap that began before the jump ends with it: without memory, the rest is drawn anew.
    at_s = at_s < o.jump_s && next > o.jump_s ? o.jump_s : next;
    if (at_s == o.jump_s) continue;
    if (at_s >= o.seconds) return trace;
    TraceRequest r;
    r.at_ns = static_cast<i64>(at_s * kSecond);
    r.prompt_tokens = 1 + static_cast<i32>(exponential(random, o.prompt_mean));
    r.output_tokens = 1 + static_cast<i32>(exponential(random, o.output_mean));
    r.tenant = static_cast<u32>(random.below(100));
    trace.requests.push_back(r);
  }
}

Trace at_load(const Trace& trace, f64 factor, i64 jitter_ns, u64 seed) {
  Trace out = trace;
  SeededRandom random(seed);
  for (TraceRequest& r : out.requests) {
    f64 jitter = static_cast<f64>(jitter_ns) * random.uniform();
    r.at_ns = static_cast<i64>((static_cast<f64>(r.at_ns) + jitter) / factor);
  }
  std::stable_sort(out.requests.begin(), out.requests.end(),
                   [](const TraceRequest& a, const TraceRequest& b) { return a.at_ns < b.at_ns; });
  return out;
}

}  // namespace tg::sim
