#include "gateway/net/admission.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "gateway/prompt.h"
#include "unit/nominal.h"

namespace tg::gateway {
namespace {

constexpr i64 kNsPerSecond = 1'000'000'000;
constexpr i64 kNsPerMs = 1'000'000;
// What a request is taken to put out before its model has answered any.
constexpr i64 kOutputGuess = 256;
// Of work without a known cost, so that fair shares still mean something.
constexpr i64 kNstPerToken = 1'000'000;

i64 prompt_tokens(const Job& job) {
  i64 sum = 0;
  for (const PreparedPrompt& prompt : job.prompts) sum += static_cast<i64>(prompt.ids.size());
  return sum;
}

// Nominal work of all choices if each puts out at most `output_max`.
i64 work_nst(const Job& job, i64 output_max) {
  const ServedModel& model = *job.model;
  i64 sum = 0;
  for (const PreparedPrompt& prompt : job.prompts) {
    i64 input = static_cast<i64>(prompt.ids.size());
    i64 output = std::min(prompt.max_tokens, output_max);
    if (model.cost == nullptr) {
      sum += (input + output * job.request.candidates()) * kNstPerToken;
      continue;
    }
    Result<unit::NominalWork> work = nominal_work_of(job, prompt, output, job.request.candidates());
    // Too large to be counted is refused by the hold.
    if (work.ok()) sum += work->total.value;
  }
  return sum;
}

Demand most_of(const Job& job) {
  Demand most{.tokens = prompt_tokens(job), .nst = work_nst(job, kOutputTokensMax)};
  for (const PreparedPrompt& prompt : job.prompts)
    most.tokens += prompt.max_tokens * job.request.candidates();
  return most;
}

i64 least_limit(const Standing& standing, i64 RateLimits::*limit) {
  i64 least = 0;
  for (const std::shared_ptr<const Subject>& subject : standing.levels) {
    i64 here = subject->policy.limits.*limit;
    if (here > 0 && (least == 0 || here < least)) least = here;
  }
  return least;
}

// A client that names no max_tokens gets as many as its limits could ever let through, rather than
// a refusal because of a default that it did not choose.
void fit_default_output(const Standing& standing, Job& job) {
  if (job.request.max_tokens) return;
  i64 choices = job.request.candidates() * static_cast<i64>(job.prompts.size());
  i64 output = kOutputTokensMax;
  i64 tokens = least_limit(standing, &RateLimits::tokens_per_minute);
  if (tokens > 0) output = std::max<i64>(1, (tokens - prompt_tokens(job)) / choices);
  i64 work = least_limit(standing, &RateLimits::nst_per_minute);
  while (work > 0 && output > 1 && work_nst(job, output) > work) output /= 2;
  for (PreparedPrompt& prompt : job.prompts) {
    prompt.max_tokens = std::min(prompt.max_tokens, output);
  }
}

std::string_view resource_name(LimitedResource resource) {
  switch (resource) {
    case LimitedResource::kRequests: return "requests per minute";
    case LimitedResource::kTokens: return "tokens per minute";
    case LimitedResource::kWork: return "nano-ST per minute";
    case LimitedResource::kConcurrent: return "requests at once";
  }
  return "";
}

ApiError from_refusal(const LimitRefusal& refusal) {
  ApiError error{
      .status = 429, .type = "rate_limit_error", .message = {}, .code = "rate_limit_exceeded"};
  std::string limit =
      fmt::format("{} '{}' is limited to {} {}", name(refusal.subject->level),
                  refusal.subject->name, refusal.limit, resource_name(refusal.resource));
  if (refusal.is_never) {
    error.message = fmt::format(
        "{}, and this request alone may use {}; a smaller max_tokens needs "
        "less",
        limit, refusal.wanted);
    error.code = "request_exceeds_limit";
    error.is_final = true;
    return error;
  }
  error.retry_after_s = (refusal.wait_ns + kNsPerSecond - 1) / kNsPerSecond;
  error.message = fmt::format("{}; try again in {} s", limit, error.retry_after_s);
  return error;
}

// "1m30s", "12s", "250ms": as OpenAI writes them.
std::string duration_text(i64 ns) {
  i64 ms = (ns + kNsPerMs - 1) / kNsPerMs;
  if (ms < 1'000) return fmt::format("{}ms", ms);
  i64 seconds = (ms + 999) / 1'000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  return fmt::format("{}m{}s", seconds / 60, seconds % 60);
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

struct HeaderNames {
  LimitedResource resource;
  std::string_view name;
};
constexpr HeaderNames kLimitHeaders[] = {{LimitedResource::kRequests, "requests"},
                                         {LimitedResource::kTokens, "tokens"},
                                         {LimitedResource::kWork, "nst"}};

// Of resources that some level limits.
std::string limit_headers(GatewayState& state, const Standing& standing, Api api) {
  std::string out;
  i64 now_ns = state.clock.monotonic_ns();
  for (const HeaderNames& header : kLimitHeaders) {
    Headroom left = state.limits.headroom(standing, header.resource, now_ns);
    if (left.limit == 0) continue;
    std::string_view name = header.name;
    append_header(out, fmt::format("x-ratelimit-limit-{}", name), std::to_string(left.limit));
    append_header(out, fmt::format("x-ratelimit-remaining-{}", name),
                  std::to_string(left.remaining));
    append_header(out, fmt::format("x-ratelimit-reset-{}", name), duration_text(left.reset_ns));
    if (api != Api::kMessages) continue;
    append_header(out, fmt::format("anthropic-ratelimit-{}-limit", name),
                  std::to_string(left.limit));
    append_header(out, fmt::format("anthropic-ratelimit-{}-remaining", name),
                  std::to_string(left.remaining));
    append_header(out, fmt::format("anthropic-ratelimit-{}-reset", name),
                  to_rfc3339(Timestamp{state.clock.now().ns + left.reset_ns}));
  }
  return out;
}

FairTenant tenant_of(const Standing& standing) {
  const Subject& organisation = standing.at(Level::kOrganisation);
  const Subject& project = standing.at(Level::kProject);
  return {.service = standing.service,
          .organisation = organisation.number,
          .project = project.number,
          .organisation_weight = organisation.policy.weight,
          .project_weight = project.policy.weight};
}

// What the request will take, by what replies of its model took so far.
i64 expected_cost(const GatewayState& state, const Job& job) {
  std::size_t index = static_cast<std::size_t>(job.model - state.models.data());
  const ModelMetrics& seen = state.model_metrics[index];
  i64 output = kOutputGuess;
  if (seen.whole_replies > 0) {
    output = std::max<i64>(1, seen.whole_reply_tokens / seen.whole_replies);
  }
  return std::max<i64>(1, work_nst(job, output));
}

// One thread waits for the ledger, so that the loop does not.
// Optional, because a spawned coroutine's result must have a default.
awaitable<std::optional<Result<u128>>> open_budget(BudgetKeeper* keeper, Budget budget,
                                                   Timestamp now) {
  co_return keeper->open(budget, now);
}

struct WantedBudget {
  const Budget* budget = nullptr;
  i64 period = 0;
};

}  // namespace

std::optional<KeyInfo> authenticate(GatewayState& state, std::string_view credential) {
  u64 version = state.feed->version();
  if (version != state.directory_version) {
    state.directory = state.feed->current();
    state.directory_version = version;
  }
  return state.directory->find(credential, state.clock.now());
}

std::optional<ApiError> check_scope(const KeyInfo& key, Scope scope) {
  ApiError error{
      .status = 403, .type = "permission_error", .message = {}, .code = "permission_denied"};
  if (const Subject* suspended = key.standing->suspended()) {
    error.message = fmt::format("{} '{}' is suspended", name(suspended->level), suspended->name);
    error.code = "suspended";
    return error;
  }
  if (key.standing->scopes.has(scope)) return std::nullopt;
  error.message = fmt::format("this key does not have the scope '{}'", name(scope));
  return error;
}

std::optional<ApiError> check_model(const KeyInfo& key, const ServedModel& model) {
  if (key.standing->allows_model(model.id)) return std::nullopt;
  return model_not_found(model.id);
}

std::optional<ApiError> admit(GatewayState& state, Connection& connection, const KeyInfo& key,
                              Job& job, std::unique_ptr<Admission>& admission) {
  const Standing& standing = *key.standing;
  fit_default_output(standing, job);
  Demand most = most_of(job);
  std::optional<LimitRefusal> refusal =
      state.limits.admit(standing, most, state.clock.monotonic_ns());
  connection.extra_headers = limit_headers(state, standing, job.request.api);
  if (refusal) {
    ++state.metrics.limit_refusals[static_cast<std::size_t>(refusal->resource)];
    return from_refusal(*refusal);
  }
  admission = std::make_unique<Admission>(state.limits, state.clock, key.standing, most);
  return std::nullopt;
}

static ModelMetrics& metrics_of(GatewayState& state, const Exchange& exchange) {
  return state.model_metrics[static_cast<std::size_t>(exchange.job.model - state.models.data())];
}

static void note_turn(GatewayState& state, Exchange& exchange) {
  i64 waited_ns = state.clock.monotonic_ns() - exchange.started_ns;
  metrics_of(state, exchange).queue_wait.observe_ns(waited_ns);
}

bool take_turn(GatewayState& state, Exchange& exchange) {
  Turns& turns = *state.turns[static_cast<std::size_t>(exchange.job.model - state.models.data())];
  if (turns.waiting() >= state.options.limits.queue_max) {
    exchange.error = overloaded("too many requests wait for this model");
    return true;
  }
  i64 slots = static_cast<i64>(exchange.runs.size());
  turns.enter(exchange.turn, tenant_of(*exchange.key.standing), expected_cost(state, exchange.job),
              slots, &exchange.signal);
  bool is_granted = exchange.turn.is_granted();
  if (is_granted) note_turn(state, exchange);
  return is_granted;
}

awaitable<void> wait_for_turn(GatewayState* state, std::shared_ptr<Exchange> exchange) {
  std::chrono::steady_clock::time_point deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(state->options.limits.queue_ms);
  while (!exchange->turn.is_granted()) {
    exchange->check_abort();
    if (exchange->is_aborted()) break;
    if (std::chrono::steady_clock::now() >= deadline) {
      exchange->error = overloaded("no capacity of this model became free in time");
      break;
    }
    exchange->signal.expires_at(deadline);
    error_code ignored;
    co_await exchange->signal.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  if (!exchange->turn.is_granted()) exchange->turn.end_use();
  note_turn(*state, *exchange);
}

static std::vector<WantedBudget> wanted_budgets(const Standing& standing, Timestamp now) {
  std::vector<WantedBudget> wanted;
  for (const std::shared_ptr<const Subject>& subject : standing.levels) {
    for (const Budget& budget : subject->budgets) {
      wanted.push_back({&budget, period_at(budget.period, now).number});
    }
  }
  return wanted;
}

static bool is_open(const OpenBudget& open, const WantedBudget& wanted) {
  return open.account != 0 && open.period == wanted.period &&
         open.generation == wanted.budget->generation &&
         open.amount_nst == wanted.budget->amount_nst;
}

bool take_budgets(GatewayState& state, Exchange& exchange) {
  if (state.budgets == nullptr) return true;
  std::vector<AccountRef> accounts;
  for (const WantedBudget& each : wanted_budgets(*exchange.key.standing, state.clock.now())) {
    auto open = state.open_budgets.find(each.budget->id);
    if (open == state.open_budgets.end() || !is_open(open->second, each)) return false;
    accounts.push_back(open->second.account);
  }
  exchange.budgets = std::move(accounts);
  return true;
}

awaitable<void> open_budgets(GatewayState* state, std::shared_ptr<Exchange> exchange) {
  Timestamp now = state->clock.now();
  std::shared_ptr<const Standing> standing = exchange->key.standing;
  std::vector<WantedBudget> wanted = wanted_budgets(*standing, now);
  for (const WantedBudget& each : wanted) {
    OpenBudget& open = state->open_budgets[each.budget->id];
    if (is_open(open, each)) {
      exchange->budgets.push_back(open.account);
      continue;
    }
    awaitable<std::optional<Result<u128>>> opening = open_budget(state->budgets, *each.budget, now);
    std::optional<Result<u128>> opened =
        co_await asio::co_spawn(state->slow_pool, std::move(opening), asio::use_awaitable);
    const Result<u128>& account = *opened;
    if (!account.ok()) {
      log_error("gateway", "budget {} could not be opened: {}", each.budget->id,
                account.error().message);
      exchange->error = overloaded("budgets are not available");
      co_return;
    }
    state->open_budgets[each.budget->id] = {.account = *account,
                                            .period = each.period,
                                            .generation = each.budget->generation,
                                            .amount_nst = each.budget->amount_nst};
    exchange->budgets.push_back(*account);
  }
}

}  // namespace tg::gateway
