#include "gateway/counting.h"

#include <algorithm>

#include "base/json_out.h"
#include "gateway/chat_request.h"
#include "gateway/dialect/anthropic.h"
#include "gateway/route_wishes.h"
#include "meter/receipt.h"
#include "text/detokenizer.h"
#include "unit/nominal.h"
#include "unit/standard_token.h"

namespace tg::gateway {
namespace {

using Answer = ApiResult<std::string>;

i64 token_count(const Job& job) {
  i64 count = 0;
  for (const PreparedPrompt& prompt : job.prompts) count += static_cast<i64>(prompt.ids.size());
  return count;
}

// ---- tokenize, detokenize -----------------------------------------------------------------------

struct TokenizeRequest {
  std::string model;
  std::string prompt;
  bool has_prompt = false;
  bool add_special = true;
  bool wants_strings = false;
};

Problem read_tokenize(dom::object object, TokenizeRequest& out) {
  for (dom::key_value_pair field : object) {
    if (field.value.is_null()) continue;
    Problem problem;
    if (field.key == "model") problem = read_string("model", field.value, out.model);
    if (field.key == "prompt") {
      out.has_prompt = true;
      problem = read_string("prompt", field.value, out.prompt);
    }
    if (field.key == "add_special_tokens") {
      problem = read_bool("add_special_tokens", field.value, out.add_special);
    }
    if (field.key == "return_token_strs") {
      problem = read_bool("return_token_strs", field.value, out.wants_strings);
    }
    if (field.key == "add_generation_prompt") {
      bool wanted = true;
      problem = read_bool("add_generation_prompt", field.value, wanted);
      if (!wanted && !problem) {
        problem = unsupported("add_generation_prompt",
                              "'add_generation_prompt' false is not supported by this server");
      }
    }
    if (problem) return problem;
  }
  if (out.model.empty()) return missing_field("model");
  return std::nullopt;
}

std::string tokenize_json(const ServedModel& model, const std::vector<TokenId>& ids,
                          bool wants_strings) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("count").number(static_cast<i64>(ids.size()));
  json.key("max_model_len").number(model.context_max);
  json.key("tokens").begin_array();
  for (TokenId id : ids) json.number(id);
  json.end_array().key("token_strs");
  if (wants_strings) {
    json.begin_array();
    for (TokenId id : ids) json.string(model.tokenizer->piece(id));
    json.end_array();
  } else {
    json.null();
  }
  json.end_object();
  return out;
}

Answer tokenize(const CountingWorld& world, std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (Problem problem = parse_object(parser, body, object)) return *std::move(problem);
  TokenizeRequest request;
  if (Problem problem = read_tokenize(object, request)) return *std::move(problem);
  const ServedModel* model = find_model(world.models, request.model);
  if (model == nullptr) return model_not_found(request.model);
  if (request.has_prompt) {
    ApiResult<std::vector<TokenId>> ids =
        encode_prompt(*model, request.prompt, request.add_special);
    if (ApiError* error = std::get_if<ApiError>(&ids)) return std::move(*error);
    return tokenize_json(*model, std::get<std::vector<TokenId>>(ids), request.wants_strings);
  }
  if (is_absent(object["messages"])) return missing_field("prompt");
  ApiResult<Job> job = prepare_job(world.models, Api::kChat, body, world.options);
  if (ApiError* error = std::get_if<ApiError>(&job)) return std::move(*error);
  return tokenize_json(*model, std::get<Job>(job).prompts.at(0).ids, request.wants_strings);
}

Answer detokenize(const CountingWorld& world, std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (Problem problem = parse_object(parser, body, object)) return *std::move(problem);
  std::string name;
  if (is_absent(object["model"])) return missing_field("model");
  Problem problem = read_string("model", object["model"].value_unsafe(), name);
  if (problem) return *std::move(problem);
  const ServedModel* model = find_model(world.models, name);
  if (model == nullptr) return model_not_found(name);
  dom::array items;
  if (is_absent(object["tokens"])) return missing_field("tokens");
  dom::element tokens = object["tokens"].value_unsafe();
  if (tokens.get(items) != simdjson::SUCCESS) return wrong_type("tokens", "an array", tokens);
  std::vector<TokenId> ids;
  for (dom::element item : items) {
    i64 id = 0;
    problem = read_integer("tokens", item, {0, model->tokenizer->size() - 1}, id);
    if (problem) return *std::move(problem);
    ids.push_back(static_cast<TokenId>(id));
  }
  std::string text;
  append_valid_utf8(text, model->tokenizer->decode(ids, true), false);
  std::string out;
  JsonWriter(out).begin_object().key("prompt").string(text).end_object();
  return out;
}

// ---- estimates ----------------------------------------------------------------------------------

// Sums of a request's prompts, each with its choices.
struct Cost {
  i64 input_nst = 0;
  i64 output_nst = 0;
  i64 output_tokens = 0;
  i64 held = 0;  // What would be reserved: every choice has a hold of its own.
};

// `output_max`: tokens per choice at most; cut to what each prompt may put out.
Result<Cost> cost_of(const Job& job, i64 output_max) {
  Cost cost;
  for (const PreparedPrompt& prompt : job.prompts) {
    i64 output = std::min(prompt.max_tokens, output_max);
    i64 choices = job.request.candidates();
    TG_ASSIGN(unit::NominalWork all, nominal_work_of(job, prompt, output, choices));
    TG_ASSIGN(unit::NominalWork one, nominal_work_of(job, prompt, output, 1));
    cost.input_nst += all.input.value;
    cost.output_nst += all.output.value;
    cost.output_tokens += output * choices;
    i64 most = meter::billed_amount(one.total.value, job.model->tariff.factor_ppm, INT64_MAX);
    cost.held += std::max<i64>(1, most) * choices;
  }
  return cost;
}

void write_st(JsonWriter& json, std::string_view name, i64 nst) {
  json.key(std::string(name) + "_st").string(unit::to_decimal(unit::NanoSt(nst)));
  json.key(std::string(name) + "_nst").number(nst);
}

void write_cost(JsonWriter& json, const market::Tariff& tariff, const Cost& cost) {
  json.begin_object();
  json.key("output_tokens").number(cost.output_tokens);
  write_st(json, "output", cost.output_nst);
  write_st(json, "total", cost.input_nst + cost.output_nst);
  i64 billed = meter::billed_amount(cost.input_nst + cost.output_nst, tariff.factor_ppm, INT64_MAX);
  write_st(json, "billed", billed);
  json.key("price_ucredit").number(market::list_value_ucredit(tariff, billed));
  json.end_object();
}

// Who could serve it, and what each is expected to take of time, energy and money: work is the same
// on all of them.
std::string candidates_json(const Job& job, u64 cache_salt) {
  fleet::SupplyRequest question;
  question.prompt = job.prompts.front().ids;
  question.max_tokens = job.prompts.front().max_tokens;
  question.is_embedding = job.request.embedding.has_value();
  question.cache_salt = cache_salt;
  question.wishes = job.request.wishes;
  question.deadline_ns = job.request.ttft_target_ns;
  return job.model->supplier->explain(question);
}

Answer estimate_json(const Job& job, const OutputHistory& history, u64 cache_salt) {
  const ServedModel& model = *job.model;
  Result<Cost> maximum = cost_of(job, kOutputTokensMax);
  if (!maximum.ok()) return invalid_value("", maximum.error().message);
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("object").string("estimate").key("model").string(model.id);
  json.key("program").string(model.program);
  json.key("choices").number(job.request.candidates() * static_cast<i64>(job.prompts.size()));
  json.key("input_tokens").number(token_count(job));
  write_st(json, "input", maximum->input_nst);
  json.key("maximum");
  write_cost(json, model.tariff, *maximum);
  write_st(json, "hold", maximum->held);
  // What replies of this model have taken so far, cut to what this one may take.
  json.key("expected");
  if (history.replies == 0) {
    json.null();
  } else {
    Result<Cost> expected = cost_of(job, std::max<i64>(1, history.tokens / history.replies));
    if (!expected.ok()) return invalid_value("", expected.error().message);
    write_cost(json, model.tariff, *expected);
  }
  json.key("expected_from_replies").number(history.replies);
  json.key("tariff").begin_object().key("name").string(model.tariff.name);
  json.key("factor_ppm").number_u64(model.tariff.factor_ppm);
  json.key("ucredit_per_mst").number(model.tariff.price_ucredit_per_mst).end_object();
  json.key("route").raw(candidates_json(job, cache_salt));
  json.end_object();
  return out;
}

// Which request a body is, by the field that only it has.
Api estimated_api(dom::object body) {
  if (!is_absent(body["input"])) return Api::kEmbeddings;
  return is_absent(body["prompt"]) ? Api::kChat : Api::kCompletions;
}

Answer estimate(const CountingWorld& world, std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (Problem problem = parse_object(parser, body, object)) return *std::move(problem);
  ApiResult<Job> prepared = prepare_job(world.models, estimated_api(object), body, world.options);
  if (ApiError* error = std::get_if<ApiError>(&prepared)) return std::move(*error);
  Job& job = std::get<Job>(prepared);
  if (job.model->cost == nullptr) {
    return unsupported("model", "the cost of model '" + job.model->id + "' is not known here");
  }
  ApiResult<RouteRequest> route = read_route_wishes(world.extensions, body);
  if (ApiError* error = std::get_if<ApiError>(&route)) return std::move(*error);
  job.request.wishes = std::get<RouteRequest>(route).wishes;
  job.request.ttft_target_ns = std::get<RouteRequest>(route).ttft_target_ns;
  std::size_t index = static_cast<std::size_t>(job.model - world.models.data());
  return estimate_json(job, world.history[index], world.cache_salt);
}

// ---- quotes -------------------------------------------------------------------------------------

void write_amount(JsonWriter& json, std::string_view name, i64 amount, bool in_money) {
  json.key(std::string(name) + (in_money ? "_ucredit" : "_nst")).number(amount);
}

// ---- token counts of other APIs -----------------------------------------------------------------

Answer count(const CountingWorld& world, Api api, std::string_view body) {
  ApiResult<CompletionRequest> request = api == Api::kMessages
                                             ? parse_anthropic_request(body, true)
                                             : parse_completion_request(api, body);
  if (ApiError* error = std::get_if<ApiError>(&request)) return std::move(*error);
  const CompletionRequest& parsed = std::get<CompletionRequest>(request);
  if (parsed.responses && !parsed.responses->previous_id.empty()) {
    return unsupported("previous_response_id",
                       "'previous_response_id' is not supported where tokens are only counted");
  }
  ApiResult<Job> job = prepare_request(world.models, parsed, world.options);
  if (ApiError* error = std::get_if<ApiError>(&job)) return std::move(*error);
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  if (api == Api::kResponses) json.key("object").string("response.input_tokens");
  json.key("input_tokens").number(token_count(std::get<Job>(job))).end_object();
  return out;
}

}  // namespace

ApiResult<EstimateShape> estimate_shape(const CountingWorld& world, std::string_view body) {
  dom::parser parser;
  dom::object object;
  if (Problem problem = parse_object(parser, body, object)) return *std::move(problem);
  ApiResult<Job> prepared = prepare_job(world.models, estimated_api(object), body, world.options);
  if (ApiError* error = std::get_if<ApiError>(&prepared)) return std::move(*error);
  const Job& job = std::get<Job>(prepared);
  const OutputHistory& history =
      world.history[static_cast<std::size_t>(job.model - world.models.data())];
  const PreparedPrompt& prompt = job.prompts.at(0);
  EstimateShape out{.model = job.model->id,
                    .prompt_tokens = static_cast<i64>(prompt.ids.size()),
                    .output_tokens_max = prompt.max_tokens,
                    .output_tokens_expected = prompt.max_tokens,
                    .is_embedding = job.request.embedding.has_value()};
  if (history.replies > 0 && !out.is_embedding)
    out.output_tokens_expected =
        std::clamp<i64>(history.tokens / history.replies, 1, prompt.max_tokens);
  return out;
}

std::string with_quote(std::string estimate, const QuoteReply& quote) {
  TG_ASSERT(estimate.ends_with('}'));
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("expires").string(to_rfc3339(quote.expires));
  write_amount(json, "input", quote.input, quote.in_money);
  write_amount(json, "expected", quote.expected, quote.in_money);
  write_amount(json, "maximum", quote.maximum, quote.in_money);
  write_amount(json, "first_hold", quote.first_hold, quote.in_money);
  json.key("output_tokens_paid").number(quote.edge_max);
  // Both views of the same price, whatever it is made of.
  json.key("price_ucredit").begin_object().key("expected").number(quote.expected_ucredit);
  json.key("maximum").number(quote.maximum_ucredit);
  if (quote.views.per_million_tokens)
    json.key("per_million_tokens").number(*quote.views.per_million_tokens);
  if (quote.views.per_mst) json.key("per_mst").number(*quote.views.per_mst);
  json.end_object().key("token");
  if (quote.token.empty()) {
    json.null();
  } else {
    json.string(quote.token);
  }
  json.end_object();
  estimate.back() = ',';
  return estimate + "\"quote\":" + out + "}";
}

bool is_counting(Endpoint endpoint) {
  return endpoint == Endpoint::kTokenize || endpoint == Endpoint::kDetokenize ||
         endpoint == Endpoint::kEstimate || endpoint == Endpoint::kCountTokens ||
         endpoint == Endpoint::kInputTokens;
}

Answer answer_counting(const CountingWorld& world, Endpoint endpoint, std::string_view body) {
  switch (endpoint) {
    case Endpoint::kTokenize: return tokenize(world, body);
    case Endpoint::kDetokenize: return detokenize(world, body);
    case Endpoint::kEstimate: return estimate(world, body);
    case Endpoint::kCountTokens: return count(world, Api::kMessages, body);
    case Endpoint::kInputTokens: return count(world, Api::kResponses, body);
    default: TG_ASSERT(false);
  }
}

}  // namespace tg::gateway
