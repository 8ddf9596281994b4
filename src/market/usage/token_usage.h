// What a supplier outside this process says it used, brought to one form: five disjoint integer
// classes. Vendors count cached tokens inside the input or beside it, reasoning inside the output
// or beside it, and sometimes nothing at all; whoever prices must never meet that (gateways.md §4).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "market/rating/price_vector.h"

namespace tg::market {

inline constexpr i64 kUsageJsonBytesMax = 16 << 20;
inline constexpr i64 kUsageDepthMax = 64;

// Wire shapes, streamed or not. The OpenAI shapes of vLLM, SGLang, llama.cpp, TGI and Ollama are
// kOpenAiChat with the fields that they add; their own routes are the dialects named after them.
#define TG_USAGE_DIALECTS(X)              \
  X(kOpenAiChat, "openai_chat")           \
  X(kOpenAiResponses, "openai_responses") \
  X(kAnthropic, "anthropic")              \
  X(kVllm, "vllm")                        \
  X(kSglang, "sglang")                    \
  X(kLlamaCpp, "llama_cpp")               \
  X(kTgi, "tgi")                          \
  X(kOllama, "ollama")

enum class UsageDialect : u8 {
#define TG_USAGE_DIALECT_ENUM(id, name) id,
  TG_USAGE_DIALECTS(TG_USAGE_DIALECT_ENUM)
#undef TG_USAGE_DIALECT_ENUM
};
std::string_view name(UsageDialect dialect);
std::optional<UsageDialect> usage_dialect_by_name(std::string_view name);

// Disjoint: a token is counted once. `output` is without reasoning.
struct TokenUsage {
  i64 uncached_input = 0;
  i64 cached_input = 0;
  i64 cache_write = 0;
  i64 output = 0;
  i64 reasoning = 0;
  friend bool operator==(const TokenUsage&, const TokenUsage&) = default;
};
void set_tokens(const TokenUsage& usage, Consumption& use);

// What was odd. The first group asks for a recount of the input, the second of the output, the
// third is only told.
#define TG_USAGE_FLAGS(X)                                  \
  X(kInputMissing, 0, "input_missing")                     \
  X(kInputAbsurd, 1, "input_absurd")                       \
  X(kCachedAboveInput, 2, "cached_above_input")            \
  X(kOutputMissing, 8, "output_missing")                   \
  X(kOutputAbsurd, 9, "output_absurd")                     \
  X(kReasoningAboveOutput, 10, "reasoning_above_output")   \
  X(kTotalDiffers, 16, "total_differs")                    \
  X(kRanBackwards, 17, "ran_backwards")                    \
  X(kCachedBesideInput, 24, "cached_beside_input")         \
  X(kReasoningBesideOutput, 25, "reasoning_beside_output") \
  X(kInputRecounted, 26, "input_recounted")                \
  X(kOutputRecounted, 27, "output_recounted")

namespace usage_flag {
#define TG_USAGE_FLAG_BIT(id, bit, name) inline constexpr u32 id = u32{1} << (bit);
TG_USAGE_FLAGS(TG_USAGE_FLAG_BIT)
#undef TG_USAGE_FLAG_BIT
inline constexpr u32 kBoth = kTotalDiffers | kRanBackwards;
inline constexpr u32 kAsksInput = kInputMissing | kInputAbsurd | kCachedAboveInput | kBoth;
inline constexpr u32 kAsksOutput = kOutputMissing | kOutputAbsurd | kReasoningAboveOutput | kBoth;
}  // namespace usage_flag
// "input_missing,total_differs"; "-" for none.
std::string usage_flag_names(u32 flags);

struct ExternalUsage {
  TokenUsage tokens;
  u32 flags = 0;
  bool input_needs_recount() const { return (flags & usage_flag::kAsksInput) != 0; }
  bool output_needs_recount() const { return (flags & usage_flag::kAsksOutput) != 0; }
};

// What we know ourselves, against which the supplier's figures must be plausible; -1 is unknown.
struct ExpectedUse {
  i64 prompt_tokens = -1;      // By our tokenizer, or an estimate of it.
  i64 output_tokens_max = -1;  // max_tokens of all choices.
  i64 delivered_bytes = -1;    // Visible text that came.
};
// A supplier's prompt count may differ from ours by its template: a quarter and this many.
inline constexpr i64 kPromptSlackTokens = 256;
// Visible tokens without visible bytes: markers of tools, turns and ends.
inline constexpr i64 kInvisibleTokensMax = 256;

// Reads the JSON texts of one response in order: the body, or each streamed event's data. Figures
// are cumulative in every dialect, so that an event seen twice counts once.
class UsageReader {
 public:
  explicit UsageReader(UsageDialect dialect) : dialect_(dialect) {}
  // kInvalid or kLimit if the text is not JSON; what was read before stays. A figure that is not a
  // count is no error but a flag.
  Status read(std::string_view json);
  // False if read() would find no figure in it: for the texts of a stream, most of which have none.
  bool may_tell(std::string_view json) const;
  ExternalUsage finish(const ExpectedUse& expected = {}) const;

  // Figures as vendors name them.
  enum class Field : u8 {
    kInput,      // All of the prompt.
    kFresh,      // The prompt without what was cached or written to a cache.
    kEvaluated,  // The prompt without what was cached.
    kCached,
    kCacheWrite,
    kOutput,
    kReasoning,
    kTotal,
    kCount
  };
  static constexpr std::size_t kFields = static_cast<std::size_t>(Field::kCount);

 private:
  friend class UsageHandler;
  std::optional<i64> at(Field field) const { return values_[static_cast<std::size_t>(field)]; }
  void set(Field field, std::optional<i64> count);

  UsageDialect dialect_;
  std::array<std::optional<i64>, kFields> values_{};
  u32 flags_ = 0;
};

// Our own count, from the bytes sent and received and the public tokenizer.
struct Recount {
  i64 prompt_tokens = 0;
  i64 output_tokens = 0;     // Reasoning excluded.
  i64 reasoning_tokens = 0;  // As far as it was visible.
};
// Replaces the side or sides that ask for it and says so. A recounted input keeps the cached part
// that was claimed, as far as it fits: it only lowers the bill. REQUIRES: counts >= 0.
ExternalUsage recounted(const ExternalUsage& usage, const Recount& count);

}  // namespace tg::market
