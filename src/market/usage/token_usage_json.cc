// Where each dialect keeps its figures, as a table of paths, and one pass over the JSON that looks
// only at them: content of any size costs no tree, and text that imitates a usage object is not at
// the path.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "market/usage/token_usage.h"

namespace tg::market {

namespace {

using Field = UsageReader::Field;

struct Place {
  std::string_view path;  // Members from the root, joined by '.'; "#" is any element of an array.
  Field field;
};

// prompt_cache_hit_tokens is DeepSeek's, cache_write_tokens OpenRouter's, reasoning_tokens beside
// the details SGLang's, timings llama.cpp's.
constexpr Place kChatPlaces[] = {
    {"usage.prompt_tokens", Field::kInput},
    {"usage.prompt_tokens_details.cached_tokens", Field::kCached},
    {"usage.prompt_tokens_details.cache_write_tokens", Field::kCacheWrite},
    {"usage.prompt_cache_hit_tokens", Field::kCached},
    {"usage.completion_tokens", Field::kOutput},
    {"usage.completion_tokens_details.reasoning_tokens", Field::kReasoning},
    {"usage.reasoning_tokens", Field::kReasoning},
    {"usage.total_tokens", Field::kTotal},
    {"timings.cache_n", Field::kCached},
};

constexpr Place kResponsesPlaces[] = {
    {"usage.input_tokens", Field::kInput},
    {"usage.input_tokens_details.cached_tokens", Field::kCached},
    {"usage.output_tokens", Field::kOutput},
    {"usage.output_tokens_details.reasoning_tokens", Field::kReasoning},
    {"usage.total_tokens", Field::kTotal},
    {"response.usage.input_tokens", Field::kInput},
    {"response.usage.input_tokens_details.cached_tokens", Field::kCached},
    {"response.usage.output_tokens", Field::kOutput},
    {"response.usage.output_tokens_details.reasoning_tokens", Field::kReasoning},
    {"response.usage.total_tokens", Field::kTotal},
};

// input_tokens is what was neither read from nor written to the cache.
constexpr Place kAnthropicPlaces[] = {
    {"usage.input_tokens", Field::kFresh},
    {"usage.cache_read_input_tokens", Field::kCached},
    {"usage.cache_creation_input_tokens", Field::kCacheWrite},
    {"usage.output_tokens", Field::kOutput},
    {"message.usage.input_tokens", Field::kFresh},
    {"message.usage.cache_read_input_tokens", Field::kCached},
    {"message.usage.cache_creation_input_tokens", Field::kCacheWrite},
    {"message.usage.output_tokens", Field::kOutput},
};

constexpr Place kSglangPlaces[] = {
    {"meta_info.prompt_tokens", Field::kInput},
    {"meta_info.cached_tokens", Field::kCached},
    {"meta_info.completion_tokens", Field::kOutput},
    {"meta_info.reasoning_tokens", Field::kReasoning},
};

// tokens_cached is the length of the cache at the end, generated tokens included: not a hit count,
// and so not here.
constexpr Place kLlamaCppPlaces[] = {
    {"tokens_evaluated", Field::kInput},     {"tokens_predicted", Field::kOutput},
    {"timings.cache_n", Field::kCached},     {"timings.prompt_n", Field::kEvaluated},
    {"timings.predicted_n", Field::kOutput},
};

constexpr Place kTgiPlaces[] = {
    {"details.generated_tokens", Field::kOutput},
    {"details.input_length", Field::kInput},
    {"#.details.generated_tokens", Field::kOutput},
    {"#.details.input_length", Field::kInput},
};

constexpr Place kOllamaPlaces[] = {
    {"prompt_eval_count", Field::kInput},
    {"prompt_eval_cached_count", Field::kCached},
    {"eval_count", Field::kOutput},
};

struct Places {
  std::span<const Place> own;
  std::span<const Place> shared;  // The OpenAI route of the same server.
};

Places places_of(UsageDialect dialect) {
  switch (dialect) {
    case UsageDialect::kOpenAiChat:
    case UsageDialect::kVllm: return {.shared = kChatPlaces};
    case UsageDialect::kOpenAiResponses: return {.own = kResponsesPlaces};
    case UsageDialect::kAnthropic: return {.own = kAnthropicPlaces};
    case UsageDialect::kSglang: return {kSglangPlaces, kChatPlaces};
    case UsageDialect::kLlamaCpp: return {kLlamaCppPlaces, kChatPlaces};
    case UsageDialect::kTgi: return {kTgiPlaces, kChatPlaces};
    case UsageDialect::kOllama: return {kOllamaPlaces, kChatPlaces};
  }
  return {};
}

constexpr std::size_t kPathDepthMax = 4;

}  // namespace

class UsageHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  UsageHandler(UsageReader& reader, UsageDialect dialect)
      : reader_(reader), places_(places_of(dialect)) {}

  Error error() const {
    if (path_.size() >= static_cast<std::size_t>(kUsageDepthMax))
      return Error{Code::kLimit, fmt::format("usage: nests deeper than {}", kUsageDepthMax)};
    return Error{Code::kInvalid, fmt::format("usage: not JSON at byte {}", error_at_)};
  }

  bool null() override { return true; }  // "no figure", as vendors write it.
  bool boolean(bool) override { return odd(); }
  bool number_integer(number_integer_t value) override { return figure(value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<u64>(INT64_MAX)) return odd();
    return figure(static_cast<i64>(value));
  }
  bool number_float(number_float_t, const string_t&) override { return odd(); }
  bool string(string_t&) override { return odd(); }
  bool binary(binary_t&) override { return true; }
  bool key(string_t& name) override {
    path_.back() = name;
    return true;
  }
  bool start_object(std::size_t) override { return open(""); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open("#"); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    error_at_ = position;
    return false;
  }

 private:
  bool open(const char* member) {
    if (path_.size() >= static_cast<std::size_t>(kUsageDepthMax)) return false;
    path_.emplace_back(member);
    return true;
  }
  bool close() {
    path_.pop_back();
    return true;
  }
  bool figure(i64 value) {
    if (std::optional<Field> field = here()) reader_.set(*field, value);
    return true;
  }
  // Something that is not a whole number where one belongs.
  bool odd() {
    if (std::optional<Field> field = here()) reader_.set(*field, std::nullopt);
    return true;
  }
  std::optional<Field> here() const {
    if (path_.empty() || path_.size() > kPathDepthMax) return std::nullopt;
    for (std::span<const Place> places : {places_.own, places_.shared}) {
      for (const Place& place : places) {
        if (is_here(place.path)) return place.field;
      }
    }
    return std::nullopt;
  }
  bool is_here(std::string_view place) const {
    for (const std::string& member : path_) {
      if (!place.starts_with(member)) return false;
      place.remove_prefix(member.size());
      if (&member == &path_.back()) return place.empty();
      if (!place.starts_with('.')) return false;
      place.remove_prefix(1);
    }
    return false;
  }

  UsageReader& reader_;
  Places places_;
  std::vector<std::string> path_;
  std::size_t error_at_ = 0;
};

namespace {

// `"name":` with something other than null behind it.
bool has_value(std::string_view json, std::string_view name) {
  constexpr std::string_view kSpace = " \t\r\n";
  for (std::size_t at = json.find(name); at != json.npos; at = json.find(name, at + 1)) {
    std::size_t end = at + name.size();
    bool is_quoted = at > 0 && json[at - 1] == '"' && end < json.size() && json[end] == '"';
    if (!is_quoted) continue;
    std::size_t colon = json.find_first_not_of(kSpace, end + 1);
    if (colon == json.npos || json[colon] != ':') continue;
    std::size_t value = json.find_first_not_of(kSpace, colon + 1);
    if (value != json.npos && !json.substr(value).starts_with("null")) return true;
  }
  return false;
}

}  // namespace

bool UsageReader::may_tell(std::string_view json) const {
  // A name may be written with escapes, which only a parser reads.
  if (json.find("\\u") != json.npos) return true;
  Places places = places_of(dialect_);
  std::string_view last;
  for (std::span<const Place> some : {places.own, places.shared}) {
    for (const Place& place : some) {
      std::string_view path = place.path;
      if (path.starts_with("#.")) path.remove_prefix(2);
      std::string_view root = path.substr(0, path.find('.'));
      if (root != last && has_value(json, root)) return true;
      last = root;
    }
  }
  return false;
}

Status UsageReader::read(std::string_view json) {
  if (static_cast<i64>(json.size()) > kUsageJsonBytesMax)
    return Error{Code::kLimit, fmt::format("usage: {} bytes of JSON", json.size())};
  // A text that turns out to be broken leaves nothing behind.
  UsageReader next = *this;
  UsageHandler handler(next, dialect_);
  if (!nlohmann::json::sax_parse(json, &handler)) return handler.error();
  *this = next;
  return {};
}

}  // namespace tg::market
