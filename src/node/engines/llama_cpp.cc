// llama.cpp's server: its own /completion takes and gives ids, keeps prompts in slots
// (cache_prompt) and says how full they are.
#include "node/engines/engines.h"

namespace tg::node {
namespace {

class LlamaCppReader final : public ReplyReader {
 public:
  Result<EngineNews> read(std::string_view text) override {
    EngineNews news;
    if (text == "[DONE]") return news;
    TG_ASSIGN(Json json, parse_object(text, "llama.cpp"));
    news.error = error_of(json);
    if (!news.error.empty()) return news;
    news.text = text_of(member(json, "content"));
    const Json& is_stop = member(json, "stop");
    bool is_end = is_stop.is_boolean() && is_stop.get<bool>();
    // The last message repeats all ids when it was asked for them, and only then has none before
    // it.
    append_ids(member(json, "tokens"), news.tokens);
    if (is_end && has_ids_) news.tokens.clear();
    has_ids_ = has_ids_ || !news.tokens.empty();
    take_logprobs(member(json, "completion_probabilities"), news);
    if (is_end) end(json, news);
    return news;
  }

 private:
  static void take_logprobs(const Json& list, EngineNews& news) {
    if (!list.is_array() || list.size() != news.tokens.size()) return;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const Json& value = member(list[i], "logprob");
      news.logprobs.push_back({news.tokens[i], value.is_number() ? value.get<f32>() : 0.0f});
    }
  }
  static void end(const Json& json, EngineNews& news) {
    news.is_finished = true;
    std::string type = text_of(member(json, "stop_type"));
    // Versions before stop_type said it with three flags.
    const Json& is_limit = member(json, "stopped_limit");
    if (type.empty()) type = is_limit.is_boolean() && is_limit.get<bool>() ? "limit" : "eos";
    news.reason = finish_reason_of(type, news.error);
  }

  bool has_ids_ = false;
};

class LlamaCppDialect final : public EngineDialect {
 public:
  EngineKind kind() const override { return EngineKind::kLlamaCpp; }
  market::UsageDialect usage() const override { return market::UsageDialect::kLlamaCpp; }
  std::unique_ptr<ReplyReader> reader() const override {
    return std::make_unique<LlamaCppReader>();
  }
  HttpCall generate(const fleet::SupplyRequest& request, const EngineFacts&,
                    const Tokenizer&) const override {
    const isa::SamplingParams& s = request.sampling;
    Json body = {{"prompt", request.prompt},
                 {"n_predict", request.max_tokens},
                 {"temperature", s.temperature},
                 {"top_k", s.top_k},
                 {"top_p", s.top_p},
                 {"min_p", s.min_p},
                 {"repeat_penalty", s.repetition_penalty},
                 {"presence_penalty", s.presence_penalty},
                 {"frequency_penalty", s.frequency_penalty},
                 {"seed", s.seed & 0x7fffffff},
                 {"ignore_eos", request.stop_tokens.empty()},
                 {"cache_prompt", true},
                 {"return_tokens", true},
                 {"stream", true}};
    if (s.logprobs >= 0) body["n_probs"] = std::max(1, s.logprobs);
    Json bias = Json::array();
    for (const auto& [id, value] : s.logit_bias) bias.push_back({id, value});
    if (!bias.empty()) body["logit_bias"] = std::move(bias);
    return {.method = "POST", .path = "/completion", .body = dumped(body)};
  }
  std::vector<HttpCall> probes() const override {
    return {{.path = "/props"}, {.path = "/v1/models"}};
  }
  void learn(std::size_t probe, std::string_view text, EngineFacts& facts) const override {
    Result<Json> json = parse_object(text, "llama.cpp");
    if (!json.ok()) return;
    if (probe == 0) {
      facts.has_model = true;
      facts.version = text_of(member(*json, "build_info"));
      facts.slots = count_of(member(*json, "total_slots"));
      facts.context_max = count_of(member(member(*json, "default_generation_settings"), "n_ctx"));
      return;
    }
    const Json& models = member(*json, "data");
    if (facts.model.empty() && models.is_array() && !models.empty())
      facts.model = text_of(member(models[0], "id"));
  }
  void read_metrics(const Metrics& m, const EngineFacts& facts,
                    fleet::SupplierLoad& load) const override {
    load.running = m.count_of({"llamacpp:requests_processing"});
    load.waiting = m.count_of({"llamacpp:requests_deferred"});
    f64 slots = static_cast<f64>(std::max<i64>(1, facts.slots));
    set_cache_use(m.first_of({"llamacpp:kv_cache_usage_ratio"},
                             std::min(1.0, static_cast<f64>(load.running) / slots)),
                  load);
    load.prompt_tokens = static_cast<u64>(m.count_of({"llamacpp:prompt_tokens_total"}));
    load.output_tokens = static_cast<u64>(m.count_of({"llamacpp:tokens_predicted_total"}));
  }
};

}  // namespace

const EngineDialect& llama_cpp_dialect() {
  static const LlamaCppDialect kDialect;
  return kDialect;
}

}  // namespace tg::node
