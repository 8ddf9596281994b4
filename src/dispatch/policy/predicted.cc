// The shipped rule: the least of price, lateness, time, delay of others, loss of cached prefixes
// and energy, all predicted, in one currency. Where the best is saturated and no other beats it
// even so, the request stays here, because whoever is free first can still have it (late binding).
#include <algorithm>
#include <array>

#include "dispatch/policy/rules.h"

namespace tg::dispatch {

namespace {

constexpr f64 kSecond = 1e9;
// Tokens whose pace counts beside the first one: a tenth of a typical answer, read as it comes.
constexpr f64 kPacedTokens = 25;

// What does not change from supplier to supplier.
struct Weights {
  f64 late_first = 0;  // currency per ns
  f64 late_token = 0;
  f64 first = 0;
  f64 token = 0;
  f64 request = 0;
  f64 crowd = 0;
  f64 copy = 0;
  f64 bill = 0;
  f64 joule = 0;
  f64 gram = 0;
  f64 ttft_target_ns = 0;
  f64 tpot_target_ns = 0;
  f64 prompt = 0;
  f64 output = 0;
  f64 keys = 0;
  f64 longest = 0;  // prefix that anybody has cached
  f64 common = 0;   // ... that most have
};

Weights weights_of(const RouteRequest& r, const CachedPrefix& cached, const RouteSettings& s) {
  Weights w;
  w.first = s.first_weight / kSecond;
  w.token = s.token_weight / kSecond;
  w.request = r.wishes.time_weight / kSecond;
  w.crowd = s.crowd_weight * w.first;
  w.copy = s.copy_weight * w.first;
  w.bill = s.bill_weight;
  w.joule = r.wishes.energy_weight;
  w.gram = r.wishes.carbon_weight;
  f64 late = s.late_weight / kSecond;
  f64 wish = s.wish_weight / kSecond;
  w.late_first = r.wishes.ttft_target_ns > 0 ? wish : late;
  w.late_token = kPacedTokens * (r.wishes.tpot_target_ns > 0 ? wish : late);
  i64 ttft = r.wishes.ttft_target_ns > 0 ? r.wishes.ttft_target_ns : s.ttft_target_ns;
  // What it has waited here is gone.
  w.ttft_target_ns = std::max(0.0, static_cast<f64>(ttft - r.waited_ns));
  w.tpot_target_ns =
      static_cast<f64>(r.wishes.tpot_target_ns > 0 ? r.wishes.tpot_target_ns : s.tpot_target_ns);
  w.prompt = static_cast<f64>(r.prompt_tokens);
  w.output = static_cast<f64>(std::max<i64>(1, r.output_tokens));
  w.keys = w.prompt + w.output / 2;
  for (u32 tokens : cached.tokens) w.longest = std::max(w.longest, static_cast<f64>(tokens));
  w.common = static_cast<f64>(cached.common_tokens);
  return w;
}

// Time until the supplier begins with the prompt.
f64 wait_ns(const SupplierTerms& t, i64 now_ns) {
  return std::max(t.room_ns, static_cast<f64>(std::max<i64>(0, t.prompts_done_ns - now_ns)));
}

// `unique`: the longest prefix that anybody has cached; `common`: what most have.
Forecast forecast_at(const SupplierTerms& t, const Weights& w, f64 cached, f64 wait) {
  Forecast f;
  f64 uncached = w.prompt - cached;
  f64 pairs = uncached * (cached + uncached * 0.5);
  f.cached_tokens = static_cast<i64>(cached);
  f.ttft_ns = t.ttft_ns + wait + uncached * t.token_ns + pairs * t.pair_ns;
  f.tpot_ns = t.tpot_ns + w.keys * t.key_ns;
  f.request_ns = f.ttft_ns + (w.output - 1) * f.tpot_ns;
  f.ttft_p90_ns = f.ttft_ns * t.ttft_band;
  f.price = uncached * t.price.input + cached * t.price.cached + w.output * t.price.output;
  f64 prompt_work = uncached * t.work_token_ns + pairs * t.pair_ns;
  f64 step_more = t.more_ns + w.keys * t.key_ns;
  f64 work = prompt_work + w.output * (t.share_ns + w.keys * t.key_ns);
  f.joules = t.watts * work / kSecond;
  f.energy = f.joules * (w.bill * t.energy_price + w.joule + w.gram * t.carbon);
  f.late = w.late_first * std::max(0.0, f.ttft_p90_ns - w.ttft_target_ns) +
           w.late_token * std::max(0.0, f.tpot_ns * t.tpot_band - w.tpot_target_ns);
  f.time = w.first * f.ttft_ns + w.token * f.tpot_ns + w.request * f.request_ns;
  // Everybody who decodes there is late by the prompt once, and by a longer step per token.
  f.crowd = w.crowd * t.crowd * (prompt_work + step_more * kPacedTokens);
  // A copy of what others hold takes the place of something else.
  f.copy = w.copy * std::max(0.0, w.longest - std::max(cached, w.common)) * t.work_token_ns;
  f.score = f.price + f.energy + f.late + f.time + f.crowd + f.copy;
  return f;
}

struct Ranked {
  u32 supplier = kNobody;
  f64 score = 0;

  bool beats(const Ranked& other) const {
    return supplier != kNobody && (other.supplier == kNobody || score < other.score);
  }
};

// The two best that may have it now, and the best that is saturated.
struct Ranking {
  Ranked first;
  Ranked second;
  Ranked saturated;

  void enter(const Ranked& r, bool is_saturated) {
    if (is_saturated) {
      if (r.beats(saturated)) saturated = r;
      return;
    }
    if (r.beats(first)) {
      second = first;
      first = r;
    } else if (r.beats(second)) {
      second = r;
    }
  }
};

// Nothing that leaves a supplier out; the way most requests are.
bool says_nothing(const Wishes& w) {
  return w.allow.empty() && w.deny.empty() && w.zones == 0 && w.price_max <= 0;
}

f64 cached_at(const CachedPrefix& cached, u32 supplier) {
  return supplier < cached.tokens.size() ? static_cast<f64>(cached.tokens[supplier]) : 0;
}

}  // namespace

Forecast forecast(const RouteRequest& request, const PoolView& pool, const CachedPrefix& cached,
                  const RouteSettings& settings, const Moment& moment, u32 supplier) {
  const SupplierTerms& t = pool.terms()[supplier];
  return forecast_at(t, weights_of(request, cached, settings), cached_at(cached, supplier),
                     wait_ns(t, moment.now_ns));
}

Choice predicted(const Scene& scene) {
  Weights w = weights_of(scene.request, scene.cached, scene.settings);
  f64 hold_ns = static_cast<f64>(scene.settings.hold_ns);
  f64 line_ns = scene.settings.line_weight * static_cast<f64>(scene.request.line_ns);
  Ranking ranking;
  std::span<const SupplierTerms> terms = scene.pool.terms();
  bool is_plain = says_nothing(scene.request.wishes);
  f64 keys = w.prompt + static_cast<f64>(
                            std::max(scene.request.output_tokens, scene.request.output_tokens_p90));
  for (u32 i = 0; i < terms.size(); ++i) {
    bool is_usual = is_plain && terms[i].health == Health::kUp && keys <= terms[i].keys_total;
    if (!is_usual && !scene.is_candidate(i)) continue;
    f64 wait = wait_ns(terms[i], scene.moment.now_ns);
    bool is_saturated = hold_ns > 0 && wait > hold_ns;
    if (is_saturated) wait += line_ns;
    Forecast f = forecast_at(terms[i], w, cached_at(scene.cached, i), wait);
    ranking.enter({i, f.score}, is_saturated);
  }
  Choice c;
  bool holds = ranking.saturated.beats(ranking.first);
  const Ranked& chosen = holds ? ranking.saturated : ranking.first;
  if (chosen.supplier == kNobody) return c;
  c.verdict = holds ? Verdict::kHold : Verdict::kSend;
  c.supplier = chosen.supplier;
  const SupplierTerms& t = terms[chosen.supplier];
  f64 wait = wait_ns(t, scene.moment.now_ns);
  c.forecast = forecast_at(t, w, cached_at(scene.cached, chosen.supplier), wait);
  const Ranked& next = holds ? ranking.first : ranking.second;
  c.second = next.supplier;
  c.second_score = next.score;
  if (holds) c.retry_after_ns = static_cast<i64>(wait - hold_ns);
  if (scene.settings.hedge_factor > 0 && c.second != kNobody) {
    c.hedge_after_ns = static_cast<i64>(c.forecast.ttft_p90_ns * scene.settings.hedge_factor);
  }
  return c;
}

}  // namespace tg::dispatch
