// OpenAI's /v1/completions, as plain servers (MindIE, gateways) speak it, and as vLLM does: with
// token ids on both ends, cache salts and priorities.
#include <simdjson.h>

#include "base/json_out.h"
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

// What nearly every event of a stream is: a choice with text and perhaps ids. simdjson reads it in
// a tenth of the time that a tree takes; whatever else there may be is left to the reader below.
struct PlainChoice {
  std::string_view text;
  std::string_view reason;  // "" for none
  bool has_reason = false;
};

std::optional<PlainChoice> read_plain(std::string_view text, std::vector<TokenId>& ids) {
  thread_local simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (parser.parse(text.data(), text.size()).get(root) != simdjson::SUCCESS) return std::nullopt;
  PlainChoice plain;
  simdjson::dom::array choices;
  std::string_view object;
  bool is_error = root["error"].error() == simdjson::SUCCESS ||
                  (root["object"].get(object) == simdjson::SUCCESS && object == "error");
  if (is_error || root["choices"].get(choices) != simdjson::SUCCESS) return std::nullopt;
  simdjson::dom::object choice;
  if (choices.at(0).get(choice) != simdjson::SUCCESS) return std::nullopt;
  simdjson::dom::element part;
  if (choice["logprobs"].get(part) == simdjson::SUCCESS && !part.is_null()) return std::nullopt;
  if (choice["text"].get(plain.text) != simdjson::SUCCESS) return std::nullopt;
  if (choice["finish_reason"].get(part) == simdjson::SUCCESS && !part.is_null()) {
    if (part.get(plain.reason) != simdjson::SUCCESS) return std::nullopt;
    plain.has_reason = true;
  }
  if (choice["token_ids"].get(part) != simdjson::SUCCESS || part.is_null()) return plain;
  simdjson::dom::array list;
  if (part.get(list) != simdjson::SUCCESS) return std::nullopt;
  ids.reserve(list.size());
  for (simdjson::dom::element value : list) {
    i64 id = -1;
    if (value.get(id) != simdjson::SUCCESS || id < 0 || id >= kVocabTokensMax) return std::nullopt;
    ids.push_back(static_cast<TokenId>(id));
  }
  return plain;
}

class CompletionsReader final : public ReplyReader {
 public:
  Result<EngineNews> read(std::string_view text) override {
    EngineNews news;
    if (text == "[DONE]") return end(std::move(news));
    if (std::optional<PlainChoice> plain = read_plain(text, news.tokens)) {
      news.text = plain->text;
      if (plain->has_reason) reason_ = finish_reason_of(plain->reason, news.error);
      has_reason_ = has_reason_ || plain->has_reason;
      return news;
    }
    news.tokens.clear();
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

// Written straight into text: a tree of it takes several times as long.
void write_base(JsonWriter& json, const fleet::SupplyRequest& request, const EngineFacts& facts) {
  const isa::SamplingParams& sampling = request.sampling;
  json.key("model").string(facts.model);
  json.key("max_tokens").number(request.max_tokens);
  json.key("temperature").real(sampling.temperature);
  json.key("top_p").real(sampling.top_p);
  json.key("presence_penalty").real(sampling.presence_penalty);
  json.key("frequency_penalty").real(sampling.frequency_penalty);
  json.key("seed").number(static_cast<i64>(sampling.seed >> 1));
  json.key("stream").boolean(true);
  json.key("stream_options").begin_object().key("include_usage").boolean(true).end_object();
  if (sampling.logprobs >= 0) json.key("logprobs").number(sampling.logprobs);
  if (sampling.logit_bias.empty()) return;
  json.key("logit_bias").begin_object();
  for (const auto& [id, value] : sampling.logit_bias) json.key(std::to_string(id)).real(value);
  json.end_object();
}

void write_ids(JsonWriter& json, const std::vector<TokenId>& ids) {
  json.begin_array();
  for (TokenId id : ids) json.number(id);
  json.end_array();
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
    HttpCall call{.method = "POST", .path = "/v1/completions"};
    JsonWriter json(call.body);
    json.begin_object();
    write_base(json, request, facts);
    json.key("prompt").string(prompt_text(request, tokenizer)).end_object();
    return call;
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
    HttpCall call{.method = "POST", .path = "/v1/completions"};
    constexpr std::size_t kBaseBytes = 512, kIdBytes = 7;
    call.body.reserve(kBaseBytes + kIdBytes * request.prompt.size());
    JsonWriter json(call.body);
    json.begin_object();
    write_base(json, request, facts);
    json.key("return_token_ids").boolean(true);
    json.key("return_tokens_as_token_ids").boolean(true);
    json.key("stop_token_ids");
    write_ids(json, request.stop_tokens);
    json.key("ignore_eos").boolean(request.stop_tokens.empty());
    json.key("repetition_penalty").real(sampling.repetition_penalty);
    json.key("min_p").real(sampling.min_p);
    if (sampling.top_k > 0) json.key("top_k").number(sampling.top_k);
    // vLLM's caches are told apart by salt as ours are.
    if (request.cache_salt != 0) json.key("cache_salt").string(std::to_string(request.cache_salt));
    json.key("prompt");
    write_ids(json, request.prompt);
    json.end_object();
    return call;
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
