#include "dispatch/explain.h"

#include <fmt/format.h>

#include "base/json_out.h"

namespace tg::dispatch {

namespace {

constexpr f64 kMs = 1e6;
constexpr std::size_t kNameBytesMax = 64;

std::string header_safe(std::string_view name) {
  std::string out;
  for (char c : name.substr(0, kNameBytesMax)) {
    out += c > ' ' && c < 0x7f && c != ';' && c != '=' ? c : '_';
  }
  return out;
}

std::string name_of(u32 supplier, std::span<const std::string> names) {
  if (supplier < names.size()) return header_safe(names[supplier]);
  return supplier == kNobody ? "none" : fmt::format("{}", supplier);
}

void write_forecast(const Forecast& f, JsonWriter& json) {
  json.begin_object();
  json.key("ttft_ms").real(f.ttft_ns / kMs).key("ttft_p90_ms").real(f.ttft_p90_ns / kMs);
  json.key("tpot_ms").real(f.tpot_ns / kMs).key("request_ms").real(f.request_ns / kMs);
  json.key("cached_tokens").number(f.cached_tokens).key("joules").real(f.joules);
  json.key("score").real(f.score).key("price").real(f.price).key("late").real(f.late);
  json.key("time").real(f.time).key("crowd").real(f.crowd).key("copy").real(f.copy);
  json.key("energy").real(f.energy).end_object();
}

}  // namespace

Explanation explain(Policy policy, const RouteRequest& request, const PoolView& pool,
                    const CachedPrefix& cached, const RouteSettings& settings,
                    const Moment& moment) {
  Explanation e;
  e.policy = policy;
  e.choice = choose(policy, request, pool, cached, settings, moment);
  e.candidates.reserve(pool.size());
  for (u32 i = 0; i < pool.size(); ++i) {
    Candidate c{.supplier = i, .excluded = exclusion(request, pool, cached, i)};
    if (c.excluded == Excluded::kNo) {
      c.forecast = forecast(request, pool, cached, settings, moment, i);
    }
    e.candidates.push_back(c);
  }
  return e;
}

std::string route_header(Policy policy, const Choice& choice, std::span<const std::string> names) {
  std::string out =
      fmt::format("supplier={}; policy={}; verdict={}", name_of(choice.supplier, names),
                  policy_name(policy), verdict_name(choice.verdict));
  if (choice.verdict == Verdict::kRefuse) {
    for (std::size_t i = 1; i < choice.excluded.size(); ++i) {
      if (choice.excluded[i] == 0) continue;
      out += fmt::format("; {}={}", excluded_name(static_cast<Excluded>(i)), choice.excluded[i]);
    }
    return out;
  }
  const Forecast& f = choice.forecast;
  out += fmt::format("; ttft_ms={:.1f}; tpot_ms={:.2f}; price={:.0f}; joules={:.3f}; cached={}",
                     f.ttft_ns / kMs, f.tpot_ns / kMs, f.price, f.joules, f.cached_tokens);
  if (choice.second != kNobody) out += fmt::format("; next={}", name_of(choice.second, names));
  return out;
}

std::string to_json(const Explanation& explanation, std::span<const std::string> names) {
  std::string out;
  JsonWriter json(out);
  const Choice& c = explanation.choice;
  json.begin_object().key("policy").string(policy_name(explanation.policy));
  json.key("verdict").string(verdict_name(c.verdict));
  json.key("supplier").string(name_of(c.supplier, names));
  json.key("next").string(name_of(c.second, names));
  json.key("hedge_after_ms").real(static_cast<f64>(c.hedge_after_ns) / kMs);
  json.key("retry_after_ms").real(static_cast<f64>(c.retry_after_ns) / kMs);
  json.key("candidates").begin_array();
  for (const Candidate& candidate : explanation.candidates) {
    json.begin_object().key("supplier").string(name_of(candidate.supplier, names));
    if (candidate.excluded != Excluded::kNo) {
      json.key("excluded").string(excluded_name(candidate.excluded));
    } else {
      json.key("forecast");
      write_forecast(candidate.forecast, json);
    }
    json.end_object();
  }
  json.end_array().end_object();
  return out;
}

}  // namespace tg::dispatch
