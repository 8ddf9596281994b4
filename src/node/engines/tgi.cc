// Text Generation Inference: text in, tokens with their ids out, one event each.
#include "node/engines/engines.h"

namespace tg::node {
namespace {

class TgiReader final : public ReplyReader {
 public:
  Result<EngineNews> read(std::string_view text) override {
    EngineNews news;
    TG_ASSIGN(Json json, parse_object(text, "TGI"));
    news.error = error_of(json);
    if (!news.error.empty()) return news;
    const Json& token = member(json, "token");
    if (member(token, "id").is_number_integer())
      append_ids(Json::array({token["id"]}), news.tokens);
    news.text = text_of(member(token, "text"));
    const Json& logprob = member(token, "logprob");
    if (!news.tokens.empty() && logprob.is_number())
      news.logprobs.push_back({news.tokens[0], logprob.get<f32>()});
    const Json& details = member(json, "details");
    if (!details.is_object()) return news;
    news.is_finished = true;
    news.reason = finish_reason_of(text_of(member(details, "finish_reason")), news.error);
    return news;
  }
};

class TgiDialect final : public EngineDialect {
 public:
  EngineKind kind() const override { return EngineKind::kTgi; }
  market::UsageDialect usage() const override { return market::UsageDialect::kTgi; }
  std::unique_ptr<ReplyReader> reader() const override { return std::make_unique<TgiReader>(); }
  // Its parameters have open ranges: greedy is said by leaving temperature away, all by leaving
  // top_p and top_k away.
  HttpCall generate(const fleet::SupplyRequest& request, const EngineFacts&,
                    const Tokenizer& tokenizer) const override {
    const isa::SamplingParams& s = request.sampling;
    Json parameters = {{"max_new_tokens", request.max_tokens},
                       {"details", true},
                       {"do_sample", s.temperature > 0},
                       {"seed", s.seed & 0x7fffffff}};
    if (s.temperature > 0) parameters["temperature"] = s.temperature;
    if (s.temperature > 0 && s.top_k > 0) parameters["top_k"] = s.top_k;
    if (s.temperature > 0 && s.top_p > 0 && s.top_p < 1) parameters["top_p"] = s.top_p;
    if (s.repetition_penalty != 1) parameters["repetition_penalty"] = s.repetition_penalty;
    if (s.frequency_penalty != 0) parameters["frequency_penalty"] = s.frequency_penalty;
    Json body = {{"inputs", prompt_text(request, tokenizer)},
                 {"parameters", std::move(parameters)}};
    return {.method = "POST", .path = "/generate_stream", .body = dumped(body)};
  }
  std::vector<HttpCall> probes() const override { return {{.path = "/info"}}; }
  void learn(std::size_t, std::string_view text, EngineFacts& facts) const override {
    Result<Json> json = parse_object(text, "TGI");
    if (!json.ok()) return;
    facts.has_model = true;
    if (facts.model.empty()) facts.model = text_of(member(*json, "model_id"));
    facts.version = text_of(member(*json, "version"));
    facts.context_max = count_of(member(*json, "max_total_tokens"));
    facts.slots = count_of(member(*json, "max_concurrent_requests"));
  }
  void read_metrics(const Metrics& m, const EngineFacts&,
                    fleet::SupplierLoad& load) const override {
    load.running = m.count_of({"tgi_batch_current_size"});
    load.waiting = m.count_of({"tgi_queue_size"});
  }
};

}  // namespace

const EngineDialect& tgi_dialect() {
  static const TgiDialect kDialect;
  return kDialect;
}

}  // namespace tg::node
