#include "market/usage/token_usage.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::market {

using Field = UsageReader::Field;

std::string_view name(UsageDialect dialect) {
  switch (dialect) {
#define TG_USAGE_DIALECT_NAME(id, text) \
  case UsageDialect::id: return text;
    TG_USAGE_DIALECTS(TG_USAGE_DIALECT_NAME)
#undef TG_USAGE_DIALECT_NAME
  }
  return "unknown";
}

std::optional<UsageDialect> usage_dialect_by_name(std::string_view text) {
#define TG_USAGE_DIALECT_FIND(id, name) \
  if (text == name) return UsageDialect::id;
  TG_USAGE_DIALECTS(TG_USAGE_DIALECT_FIND)
#undef TG_USAGE_DIALECT_FIND
  return std::nullopt;
}

void set_tokens(const TokenUsage& usage, Consumption& use) {
  use[RatedClass::kUncachedInput] = usage.uncached_input;
  use[RatedClass::kCachedInput] = usage.cached_input;
  use[RatedClass::kCacheWrite] = usage.cache_write;
  use[RatedClass::kOutput] = usage.output;
  use[RatedClass::kReasoning] = usage.reasoning;
}

std::string usage_flag_names(u32 flags) {
  std::string out;
#define TG_USAGE_FLAG_APPEND(id, bit, name) \
  if ((flags & usage_flag::id) != 0) out += out.empty() ? name : "," name;
  TG_USAGE_FLAGS(TG_USAGE_FLAG_APPEND)
#undef TG_USAGE_FLAG_APPEND
  return out.empty() ? "-" : out;
}

void UsageReader::set(Field field, std::optional<i64> count) {
  bool is_output = field == Field::kOutput || field == Field::kReasoning;
  if (!count || *count < 0 || *count > kRatedTokensMax) {
    flags_ |= field == Field::kTotal ? usage_flag::kTotalDiffers
              : is_output            ? usage_flag::kOutputAbsurd
                                     : usage_flag::kInputAbsurd;
    return;
  }
  std::optional<i64>& value = values_[static_cast<std::size_t>(field)];
  if (value && *count < *value) flags_ |= usage_flag::kRanBackwards;
  value = count;
}

namespace {

// The figures of one response on their way to disjoint classes.
struct Sums {
  i64 input = 0;  // All of it, once the cached part is known to be inside.
  i64 cached = 0;
  i64 written = 0;
  i64 output = 0;  // All of it, once the reasoning is known to be inside.
  i64 reasoning = 0;
  u32 flags = 0;
};

// A total tells where the parts were counted: the vendor's own sum has to come out.
void place_parts(Sums& s, std::optional<i64> total) {
  if (!total || *total == s.input + s.output) return;
  i64 beside = s.cached + s.written;
  i64 missing = *total - s.input - s.output;
  bool is_cache = beside > 0 && missing == beside;
  bool is_reasoning = s.reasoning > 0 && missing == s.reasoning;
  bool is_both = beside > 0 && s.reasoning > 0 && missing == beside + s.reasoning;
  if (is_cache == is_reasoning && !is_both) {
    // No reading fits, or two do.
    s.flags |= usage_flag::kTotalDiffers;
    return;
  }
  if (is_cache || is_both) {
    s.input += beside;
    s.flags |= usage_flag::kCachedBesideInput;
  }
  if (is_reasoning || is_both) {
    s.output += s.reasoning;
    s.flags |= usage_flag::kReasoningBesideOutput;
  }
}

// Parts never exceed the whole: what does not fit is not billed.
TokenUsage split(Sums& s) {
  if (s.cached + s.written > s.input) s.flags |= usage_flag::kCachedAboveInput;
  if (s.reasoning > s.output) s.flags |= usage_flag::kReasoningAboveOutput;
  TokenUsage out;
  out.cached_input = std::min(s.cached, s.input);
  out.cache_write = std::min(s.written, s.input - out.cached_input);
  out.uncached_input = s.input - out.cached_input - out.cache_write;
  out.reasoning = std::min(s.reasoning, s.output);
  out.output = s.output - out.reasoning;
  return out;
}

u32 implausible(const TokenUsage& t, const ExpectedUse& expected) {
  u32 flags = 0;
  i64 input = t.uncached_input + t.cached_input + t.cache_write;
  i64 slack = expected.prompt_tokens / 4 + kPromptSlackTokens;
  if (expected.prompt_tokens >= 0 &&
      (input > expected.prompt_tokens + slack || input < expected.prompt_tokens - slack))
    flags |= usage_flag::kInputAbsurd;
  // Every request has a prompt; zero is how some servers spell "all of it was cached".
  if (input == 0) flags |= usage_flag::kInputMissing;
  if (expected.output_tokens_max >= 0 && t.output + t.reasoning > expected.output_tokens_max)
    flags |= usage_flag::kOutputAbsurd;
  if (expected.delivered_bytes >= 0 && t.output > expected.delivered_bytes + kInvisibleTokensMax)
    flags |= usage_flag::kOutputAbsurd;
  if (expected.delivered_bytes > 0 && t.output + t.reasoning == 0)
    flags |= usage_flag::kOutputMissing;
  return flags;
}

}  // namespace

ExternalUsage UsageReader::finish(const ExpectedUse& expected) const {
  Sums s{.cached = at(Field::kCached).value_or(0),
         .written = at(Field::kCacheWrite).value_or(0),
         .output = at(Field::kOutput).value_or(0),
         .reasoning = at(Field::kReasoning).value_or(0),
         .flags = flags_};
  if (!at(Field::kOutput)) s.flags |= usage_flag::kOutputMissing;
  std::optional<i64> evaluated = at(Field::kEvaluated);
  if (at(Field::kFresh)) {
    s.input = *at(Field::kFresh) + s.cached + s.written;
  } else if (at(Field::kInput)) {
    s.input = *at(Field::kInput);
    if (!at(Field::kCached) && evaluated) s.cached = std::max<i64>(0, s.input - *evaluated);
  } else if (evaluated && at(Field::kCached)) {
    s.input = *evaluated + s.cached;
  } else {
    s.flags |= usage_flag::kInputMissing;
  }
  place_parts(s, at(Field::kTotal));
  ExternalUsage out;
  out.tokens = split(s);
  out.flags = s.flags | implausible(out.tokens, expected);
  return out;
}

ExternalUsage recounted(const ExternalUsage& usage, const Recount& count) {
  TG_ASSERT(count.prompt_tokens >= 0 && count.output_tokens >= 0 && count.reasoning_tokens >= 0);
  ExternalUsage out = usage;
  if (usage.input_needs_recount()) {
    out.tokens.cached_input = std::min(usage.tokens.cached_input, count.prompt_tokens);
    out.tokens.cache_write = 0;
    out.tokens.uncached_input = count.prompt_tokens - out.tokens.cached_input;
    out.flags |= usage_flag::kInputRecounted;
  }
  if (usage.output_needs_recount()) {
    out.tokens.output = count.output_tokens;
    out.tokens.reasoning = count.reasoning_tokens;
    out.flags |= usage_flag::kOutputRecounted;
  }
  return out;
}

}  // namespace tg::market
