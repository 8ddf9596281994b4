// OpenAI's /v1/completions, as plain servers (MindIE, gateways) speak it, and as vLLM does: with
// token ids on both ends, cache salts and priorities.
#include "node/engines/engines.h"

namespace tg::node {
namespace {

// Ids of the new text, if the server names them.
void take_ids(const Json& choice, EngineNews& news) {
  append_ids(member(choice, "token_ids"), news.tokens);
  const Json& logprobs = member(choice, "logprobs");
  const Json& names = member(logprobs, "tokens");
  const Json& values = member(logprobs, "token_logprobs");
  if (!names.is_array() || !values.is_array()) return;
  bool has_ids = !news.tokens.empty();
  for (std::size_t i = 0; i < names.size() && i < values.size(); ++i) {
    TokenId id = id_in_name(text_of(names[i]));
    if (id < 0) return;
    f32 logprob = values[i].is_number() ? values[i].get<f32>() : 0.0f;
    news.logprobs.push_back({id, logprob});
    if (!has_ids) news.tokens.push_back(id);
  }
}

class CompletionsReader final : public ReplyReader {
 public:
  Result<EngineNews> read(std::string_view text) override {
    EngineNews news;
    if (text == "[DONE]") return end(std::move(news));
    TG_ASSIGN(Json json, parse_object(text, "the engine"));
    news.error = error_of(json);
    if (!news.error.empty()) return news;
    const Json& choices = member(json, "choices");
    if (!choices.is_array() || choices.empty()) return news;
    const Json& choice = choices[0];
    news.text = text_of(member(choice, "text"));
    take_ids(choice, news);
    const Json& reason = member(choice, "finish_reason");
    // The usage comes after the last choice, so the end is told with [DONE].
    if (reason.is_string()) reason_ = finish_reason_of(reason.get<std::string>(), news.error);
    has_reason_ = has_reason_ || reason.is_string();
    return news;
  }

 private:
  EngineNews end(EngineNews news) const {
    news.is_finished = true;
    news.reason = reason_;
    if (!has_reason_) news.error = "the engine ended its reply without a reason";
    return news;
  }

  fleet::FinishReason reason_ = fleet::FinishReason::kStop;
  bool has_reason_ = false;
};

Json base_request(const fleet::SupplyRequest& request, const EngineFacts& facts) {
  Json body = {{"model", facts.model},
               {"max_tokens", request.max_tokens},
               {"temperature", request.sampling.temperature},
               {"top_p", request.sampling.top_p},
               {"presence_penalty", request.sampling.presence_penalty},
               {"frequency_penalty", request.sampling.frequency_penalty},
               {"seed", static_cast<i64>(request.sampling.seed >> 1)},
               {"stream", true},
               {"stream_options", {{"include_usage", true}}}};
  if (request.sampling.logprobs >= 0) body["logprobs"] = request.sampling.logprobs;
  Json bias = Json::object();
  for (const auto& [id, value] : request.sampling.logit_bias) bias[std::to_string(id)] = value;
  if (!bias.empty()) body["logit_bias"] = std::move(bias);
  return body;
}

void learn_models(std::string_view text, EngineFacts& facts) {
  Result<Json> json = parse_object(text, "the engine");
  if (!json.ok()) return;
  const Json& models = member(*json, "data");
  if (!models.is_array()) return;
  for (const Json& model : models) {
    std::string id = text_of(member(model, "id"));
    // Whoever names no model gets the first that is offered.
    if (facts.model.empty()) facts.model = id;
    if (id != facts.model) continue;
    facts.has_model = true;
    i64 context = count_of(member(model, "max_model_len"));
    if (context > 0) facts.context_max = context;
  }
}

class OpenAiDialect final : public EngineDialect {
 public:
  EngineKind kind() const override { return EngineKind::kOpenAi; }
  market::UsageDialect usage() const override { return market::UsageDialect::kOpenAiChat; }
  std::unique_ptr<ReplyReader> reader() const override {
    return std::make_unique<CompletionsReader>();
  }
  HttpCall generate(const fleet::SupplyRequest& request, const EngineFacts& facts,
                    const Tokenizer& tokenizer) const override {
    Json body = base_request(request, facts);
    body["prompt"] = prompt_text(request, tokenizer);
    return {.method = "POST", .path = "/v1/completions", .body = dumped(body)};
  }
  std::vector<HttpCall> probes() const override { return {{.path = "/v1/models"}}; }
  void learn(std::size_t, std::string_view json, EngineFacts& facts) const override {
    learn_models(json, facts);
  }
  std::string metrics_path() const override { return ""; }
  void read_metrics(const Metrics&, const EngineFacts&, fleet::SupplierLoad&) const override {}
  std::string health_path() const override { return "/v1/models"; }
};

class VllmDialect final : public EngineDialect {
 public:
  EngineKind kind() const override { return EngineKind::kVllm; }
  market::UsageDialect usage() const override { return market::UsageDialect::kVllm; }
  std::unique_ptr<ReplyReader> reader() const override {
    return std::make_unique<CompletionsReader>();
  }
  HttpCall generate(const fleet::SupplyRequest& request, const EngineFacts& facts,
                    const Tokenizer&) const override {
    const isa::SamplingParams& sampling = request.sampling;
    Json body = base_request(request, facts);
    body["prompt"] = request.prompt;
    body["return_token_ids"] = true;
    body["return_tokens_as_token_ids"] = true;
    body["stop_token_ids"] = request.stop_tokens;
    body["ignore_eos"] = request.stop_tokens.empty();
    body["repetition_penalty"] = sampling.repetition_penalty;
    body["min_p"] = sampling.min_p;
    if (sampling.top_k > 0) body["top_k"] = sampling.top_k;
    // vLLM's caches are told apart by salt as ours are.
    if (request.cache_salt != 0) body["cache_salt"] = std::to_string(request.cache_salt);
    return {.method = "POST", .path = "/v1/completions", .body = dumped(body)};
  }
  std::vector<HttpCall> probes() const override {
    return {{.path = "/v1/models"}, {.path = "/version"}};
  }
  void learn(std::size_t probe, std::string_view text, EngineFacts& facts) const override {
    if (probe == 0) return learn_models(text, facts);
    Result<Json> json = parse_object(text, "vLLM");
    if (json.ok()) facts.version = text_of(member(*json, "version"));
  }
  // The names of version 1 first, then those it renamed.
  void read_metrics(const Metrics& m, const EngineFacts&,
                    fleet::SupplierLoad& load) const override {
    load.running = m.count_of({"vllm:num_requests_running"});
    load.waiting = m.count_of({"vllm:num_requests_waiting"});
    set_cache_use(m.first_of({"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}), load);
    load.prompt_tokens = static_cast<u64>(m.count_of({"vllm:prompt_tokens_total"}));
    load.output_tokens = static_cast<u64>(m.count_of({"vllm:generation_tokens_total"}));
    load.cached_tokens = static_cast<u64>(
        m.count_of({"vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"}));
  }
};

}  // namespace

const EngineDialect& openai_dialect() {
  static const OpenAiDialect kDialect;
  return kDialect;
}

const EngineDialect& vllm_dialect() {
  static const VllmDialect kDialect;
  return kDialect;
}

}  // namespace tg::node
