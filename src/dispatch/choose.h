// Which supplier gets a request: a pure function of the request, a view of the pool, what prompts
// are cached where, settings, a moment and a random word. The shipped rule (policy/predicted.h)
// takes the least of price, lateness and energy on predicted values; the field's own rules stand
// beside it behind the same signature, to be measured against (policy/).
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "base/types.h"
#include "dispatch/view.h"

namespace tg::dispatch {

inline constexpr u32 kNobody = ~u32{0};  // no supplier
inline constexpr u32 kZonesMax = 64;

// What the user may say of a request; zeros say nothing.
struct Wishes {
  f64 price_max = 0;  // predicted price of the request
  i64 ttft_target_ns = 0;
  i64 tpot_target_ns = 0;
  f64 energy_weight = 0;       // currency per joule, beside the zone's own energy price
  f64 carbon_weight = 0;       // currency per gram
  f64 time_weight = 0;         // currency per second of the whole request, beside the settings
  u64 zones = 0;               // bit per zone; 0: all
  std::span<const u32> allow;  // supplier indexes; empty: all
  std::span<const u32> deny;
};

struct RouteRequest {
  i64 prompt_tokens = 0;
  i64 output_tokens = 0;      // expected (p50)
  i64 output_tokens_p90 = 0;  // ... hardly exceeded
  fleet::ServiceClass service = fleet::ServiceClass::kStandard;
  u64 session = 0;    // 0: none; for rules that stick to sessions
  i64 waited_ns = 0;  // here, so far
  i64 line_ns = 0;    // until those before it in the line are sent, should it wait on
  Wishes wishes;
};

// Tokens of the request's prompt that each supplier has cached. Empty: nobody has any.
struct CachedPrefix {
  std::span<const u32> tokens;  // by supplier
  // Leading tokens that most suppliers hold, or will soon: no reason to prefer one of them.
  i64 common_tokens = 0;
};

struct RouteSettings {
  i64 ttft_target_ns = 2'000'000'000;  // where the request names none
  i64 tpot_target_ns = 100'000'000;
  f64 late_weight = 1e4;   // currency per second beyond a target of these settings, at p90
  f64 wish_weight = 2e6;   // ... beyond a target that the request names
  f64 first_weight = 4e5;  // currency per second until the first token
  f64 token_weight = 2e5;  // currency per second per token
  f64 bill_weight = 0;     // of a zone's energy price: it is in prices already, unless one pays it
  f64 crowd_weight = 0;    // of first_weight: per second by which another request is delayed
  f64 copy_weight = 0.25;  // of the time that a cached prefix saves: lost to others by a copy
  i64 hold_ns = 200'000'000;  // prompts queued at a supplier beyond which it is saturated; 0: never
  f64 line_weight = 2;        // of the time that those before it take, counted against waiting on
  i64 waited_max_ns = 60'000'000'000;  // refuse what has waited longer
  f64 hedge_factor = 0;  // hedge when the first token is this many times later than its p90
};

struct Moment {
  i64 now_ns = 0;
  u64 sequence = 0;  // ascends by one per decision
  u64 random = 0;
};

// Why a supplier was not considered, in order of precedence.
enum class Excluded : u8 {
  kNo,
  kDown,
  kDraining,
  kDenied,
  kZone,
  kContext,  // prompt and output are longer than it can hold
  kPrice,
  kCount,
};

enum class Verdict : u8 {
  kSend,
  kHold,    // everybody who may serve it is saturated: decide again when something changes
  kRefuse,  // nobody may serve it (see `excluded`), or it has waited too long
};

// What is expected of a request on a supplier.
struct Forecast {
  f64 ttft_ns = 0;
  f64 ttft_p90_ns = 0;
  f64 tpot_ns = 0;
  f64 request_ns = 0;
  f64 price = 0;
  f64 joules = 0;
  i64 cached_tokens = 0;
  // The parts of the score, in currency; their sum decides, least first.
  f64 late = 0;
  f64 time = 0;
  f64 crowd = 0;
  f64 copy = 0;
  f64 energy = 0;
  f64 score = 0;
};

struct Choice {
  Verdict verdict = Verdict::kRefuse;
  u32 supplier = kNobody;  // kSend: to it. kHold: it would have been best
  Forecast forecast;
  u32 second = kNobody;  // for failover and hedging
  f64 second_score = 0;
  i64 hedge_after_ns = 0;  // without a first token; 0: do not
  std::array<u32, static_cast<std::size_t>(Excluded::kCount)> excluded{};  // counts; [kNo]: others
  i64 retry_after_ns = 0;  // kRefuse, kHold: when it may be worth another try
};

enum class Policy : u8 {
  kPredicted,  // the shipped one
  kRoundRobin,
  kRandom,
  kPowerOfTwo,
  kLeastRequests,
  kLeastTokens,
  kSessionHash,
  kSglangCacheAware,
  kLeastUncachedWork,
  kAibrix,
  kDynamo,
  kLlmdScorers,
  kProductionStack,
  kLlmdPredicted,
  kPredictedLatency,
  kCount,
};
std::string_view policy_name(Policy policy);
std::optional<Policy> policy_of(std::string_view name);

// Deterministic; allocates nothing.
Choice choose(Policy policy, const RouteRequest& request, const PoolView& pool,
              const CachedPrefix& cached, const RouteSettings& settings, const Moment& moment);

// The shipped rule.
inline Choice choose(const RouteRequest& request, const PoolView& pool, const CachedPrefix& cached,
                     const RouteSettings& settings, const Moment& moment) {
  return choose(Policy::kPredicted, request, pool, cached, settings, moment);
}

// Whether the supplier may serve the request at all.
Excluded exclusion(const RouteRequest& request, const PoolView& pool, const CachedPrefix& cached,
                   u32 supplier);
// ... if it were up.
Excluded exclusion_when_up(const RouteRequest& request, const PoolView& pool,
                           const CachedPrefix& cached, u32 supplier);
// What the shipped rule expects of it there.
Forecast forecast(const RouteRequest& request, const PoolView& pool, const CachedPrefix& cached,
                  const RouteSettings& settings, const Moment& moment, u32 supplier);

std::string_view excluded_name(Excluded excluded);
std::string_view verdict_name(Verdict verdict);

}  // namespace tg::dispatch
