#include "apps/recount.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "apps/loaded_model.h"
#include "gateway/prompt.h"

namespace tg::apps {

namespace {

constexpr i64 kAnyContext = i64{1} << 32;

std::optional<gateway::Api> api_by_name(const std::string& name) {
  static const std::map<std::string, gateway::Api> kNames = {
      {"chat", gateway::Api::kChat},
      {"completions", gateway::Api::kCompletions},
      {"messages", gateway::Api::kMessages},
      {"responses", gateway::Api::kResponses},
      {"ollama-chat", gateway::Api::kOllamaChat},
      {"ollama-generate", gateway::Api::kOllamaGenerate},
      {"embeddings", gateway::Api::kEmbeddings},
      {"ollama-embed", gateway::Api::kOllamaEmbed}};
  std::map<std::string, gateway::Api>::const_iterator found = kNames.find(name);
  if (found == kNames.end()) return std::nullopt;
  return found->second;
}

// The model as the gateway offers it, with nothing behind it that could run.
Result<gateway::ServedModel> tokenizing_model(const std::string& path, const std::string& id) {
  TG_ASSIGN(LoadedModel loaded, load_model(path, {}));
  gateway::ServedModel served;
  served.id = id;
  served.tokenizer = loaded.tokenizer;
  served.guard = std::make_shared<const gateway::ControlGuard>(*served.tokenizer);
  served.chat_template = std::move(loaded.chat_template);
  served.context_max = kAnyContext;
  served.embedding_width = kAnyContext;
  gateway::describe(served);
  return served;
}

// Templates may show the date of the request's beginning.
i64 began_at_seconds(const meter::Receipt& receipt) {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  constexpr i64 kUsPerSecond = 1'000'000;
  return receipt.time.ns / kNsPerSecond - receipt.total_us / kUsPerSecond;
}

Status count_prompt(const gateway::Job& job, i64 stated) {
  std::string counts;
  for (const gateway::PreparedPrompt& prompt : job.prompts) {
    i64 count = static_cast<i64>(prompt.ids.size());
    if (count == stated) return {};
    counts += fmt::format("{}{}", counts.empty() ? "" : ", ", count);
  }
  return Error{Code::kCorrupt,
               fmt::format("what was sent is {} tokens, the receipt says {}", counts, stated)};
}

}  // namespace

meter::Check recount(const std::string& model, const std::string& api_name, std::string_view body,
                     const meter::Receipt& receipt) {
  std::optional<gateway::Api> api = api_by_name(api_name);
  if (!api) return meter::not_made("no API named '" + api_name + "'");
  Result<gateway::ServedModel> served = tokenizing_model(model, receipt.model);
  if (!served.ok()) return meter::not_made(served.error().message);
  gateway::PrepareOptions options;
  options.unix_seconds = began_at_seconds(receipt);
  gateway::ApiResult<gateway::Job> job = gateway::prepare_job({&*served, 1}, *api, body, options);
  if (gateway::ApiError* problem = std::get_if<gateway::ApiError>(&job))
    return meter::not_made("what was sent is no request: " + problem->message);
  return meter::check_of(count_prompt(std::get<gateway::Job>(job), receipt.prompt_tokens));
}

}  // namespace tg::apps
