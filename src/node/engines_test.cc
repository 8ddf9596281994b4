// Each engine's dialect: replies in any pieces, what probes and metrics say, what is sent.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "node/engines/dialect.h"
#include "node/engines/event_lines.h"
#include "node/engines/text_tokens.h"
#include "text/small_vocab.h"

namespace tg::node {
namespace {

struct ReplyCase {
  EngineKind kind = EngineKind::kOpenAi;
  std::string name;
  std::string body;
  std::string expected;
};

std::vector<ReplyCase> reply_cases() {
  std::ifstream in(std::string(TG_SOURCE_DIR "/src/node/testdata/replies.txt"));
  std::vector<ReplyCase> cases;
  bool is_body = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("=== ")) {
      std::size_t comma = line.find(',');
      ReplyCase one;
      one.kind = engine_kind_by_name(line.substr(4, comma - 4)).value();
      one.name = line;
      cases.push_back(one);
      is_body = true;
    } else if (cases.empty()) {
      continue;
    } else if (line == "---") {
      is_body = false;
    } else if (is_body) {
      cases.back().body += line + "\n";
    } else if (!line.empty()) {
      cases.back().expected += line + "\n";
    }
  }
  return cases;
}

// What a reply amounts to, in the table's words.
std::string read_reply(const ReplyCase& one, std::size_t piece_bytes, bool is_crlf) {
  const EngineDialect& dialect = engine_dialect(one.kind);
  EventLines lines(dialect.is_lines());
  std::unique_ptr<ReplyReader> reader = dialect.reader();
  market::UsageReader usage(dialect.usage());
  std::string body;
  for (char c : one.body) {
    if (c == '\n' && is_crlf) body += '\r';
    body += c;
  }
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < body.size(); at += piece_bytes)
    EXPECT_TRUE(lines.push(body.substr(at, piece_bytes), texts).ok());
  lines.finish(texts);
  std::string tokens, text, end = "none", out;
  for (const std::string& event : texts) {
    if (event != "[DONE]") (void)usage.read(event).ok();
    Result<EngineNews> news = reader->read(event);
    if (!news.ok()) {
      end = "error " + news.error().message;
      break;
    }
    for (TokenId id : news->tokens) tokens += " " + std::to_string(id);
    if (news->tokens.empty()) text += news->text;
    if (!news->error.empty()) {
      end = "error " + news->error;
      break;
    }
    if (!news->is_finished) continue;
    end = news->reason == fleet::FinishReason::kLength ? "length" : "stop";
    break;
  }
  if (!tokens.empty()) out += "tokens:" + tokens + "\n";
  if (!text.empty()) out += "text: \"" + text + "\"\n";
  out += "end: " + end + "\n";
  market::TokenUsage used = usage.finish().tokens;
  if (one.expected.find("usage:") != std::string::npos) {
    out += "usage: " + std::to_string(used.uncached_input) + " " +
           std::to_string(used.cached_input) + " " + std::to_string(used.output) + "\n";
  }
  return out;
}

TEST(Engines, RepliesAreReadInAnyPieces) {
  std::vector<ReplyCase> cases = reply_cases();
  ASSERT_GE(cases.size(), 18u);
  for (const ReplyCase& one : cases) {
    for (std::size_t bytes : {1u, 7u, 100'000u}) {
      for (bool is_crlf : {false, true}) {
        std::string got = read_reply(one, bytes, is_crlf);
        // Of an error a part of the text is given.
        std::size_t error = one.expected.find("end: error ");
        if (error == std::string::npos) {
          EXPECT_EQ(got, one.expected) << one.name << " in pieces of " << bytes;
          continue;
        }
        std::string part = one.expected.substr(error + 11);
        part = part.substr(0, part.find('\n'));
        EXPECT_EQ(got.substr(0, error), one.expected.substr(0, error)) << one.name;
        EXPECT_NE(got.find(part, error), std::string::npos) << one.name << ": " << got;
      }
    }
  }
}

TEST(Engines, FactsFromProbes) {
  struct Case {
    EngineKind kind;
    std::size_t probe;
    const char* json;
    const char* model;
    i64 context;
    i64 slots;
  };
  const Case cases[] = {
      {EngineKind::kVllm, 0,
       R"({"object":"list","data":[{"id":"qwen","object":"model","max_model_len":4096}]})", "qwen",
       4096, 0},
      {EngineKind::kSglang, 1,
       R"({"context_length":8192,"max_running_requests":48,"version":"0.4.6"})", "", 8192, 48},
      {EngineKind::kSglang, 0, R"({"model_path":"qwen","is_generation":true})", "qwen", 0, 0},
      {EngineKind::kLlamaCpp, 0,
       R"({"default_generation_settings":{"n_ctx":2048},"total_slots":4,"build_info":"b5000"})", "",
       2048, 4},
      {EngineKind::kTgi, 0,
       R"({"model_id":"qwen","max_total_tokens":2048,"max_concurrent_requests":128})", "qwen", 2048,
       128},
      {EngineKind::kOllama, 0, R"({"models":[{"name":"qwen:latest","model":"qwen:latest"}]})",
       "qwen:latest", 0, 0},
      {EngineKind::kOpenAi, 0, R"({"data":[{"id":"x"}]})", "x", 0, 0},
      {EngineKind::kOpenAi, 0, R"(not json)", "", 0, 0},
      {EngineKind::kVllm, 0, R"({"data":[{"id":7,"max_model_len":-4}]})", "", 0, 0},
  };
  for (const Case& one : cases) {
    EngineFacts facts;
    engine_dialect(one.kind).learn(one.probe, one.json, facts);
    EXPECT_EQ(facts.model, one.model) << one.json;
    EXPECT_EQ(facts.context_max, one.context) << one.json;
    EXPECT_EQ(facts.slots, one.slots) << one.json;
  }
}

TEST(Engines, LoadFromMetrics) {
  struct Case {
    EngineKind kind;
    const char* page;
    i64 running, waiting, pages_free;
  };
  const Case cases[] = {
      {EngineKind::kVllm,
       "# HELP vllm:num_requests_running Number\n# TYPE vllm:num_requests_running gauge\n"
       "vllm:num_requests_running{engine=\"0\",model_name=\"a}b\\\"c\"} 3.0\n"
       "vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 2.0\n"
       "vllm:num_requests_waiting{model_name=\"m\"} 4.0\nvllm:kv_cache_usage_perc{} 0.25\n",
       5, 4, 7'500},
      {EngineKind::kVllm, "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.5\n", 1, 0,
       5'000},
      {EngineKind::kSglang,
       "sglang:num_running_reqs{m=\"x\"} 7.0\nsglang:num_queue_reqs 2.0\nsglang:token_usage 0.1\n",
       7, 2, 9'000},
      {EngineKind::kLlamaCpp,
       "llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\n"
       "llamacpp:kv_cache_usage_ratio 0.2\n",
       2, 1, 8'000},
      {EngineKind::kTgi, "tgi_queue_size 3\ntgi_batch_current_size 8\n", 8, 3, 0},
      // Nonsense stays out.
      {EngineKind::kVllm,
       "vllm:num_requests_running NaN\nvllm:num_requests_waiting -5\nvllm:kv_cache_usage_perc 17\n"
       "{} 3\nvllm:num_requests_running{ 4\n",
       0, 0, 10'000},
  };
  for (const Case& one : cases) {
    fleet::SupplierLoad load;
    EngineFacts facts{.slots = 4};
    engine_dialect(one.kind).read_metrics(Metrics::parse(one.page), facts, load);
    EXPECT_EQ(load.running, one.running) << one.page;
    EXPECT_EQ(load.waiting, one.waiting) << one.page;
    EXPECT_EQ(load.kv_pages_free, one.pages_free) << one.page;
  }
}

TEST(Engines, RequestsCarryWhatTheEngineUnderstands) {
  Tokenizer tokenizer = Tokenizer::create(small_bpe_vocab()).value();
  fleet::SupplyRequest request;
  request.id = 9;
  request.prompt = {262, 260, 261};
  request.max_tokens = 5;
  request.stop_tokens = {263};
  request.cache_salt = 77;
  request.sampling.temperature = 0.5f;
  EngineFacts facts{.model = "m"};
  auto body = [&](EngineKind kind) {
    return nlohmann::json::parse(engine_dialect(kind).generate(request, facts, tokenizer).body);
  };
  EXPECT_EQ(body(EngineKind::kVllm)["prompt"], nlohmann::json({262, 260, 261}));
  EXPECT_EQ(body(EngineKind::kVllm)["cache_salt"], "77");
  EXPECT_EQ(body(EngineKind::kSglang)["input_ids"], nlohmann::json({262, 260, 261}));
  EXPECT_EQ(body(EngineKind::kSglang)["sampling_params"]["max_new_tokens"], 5);
  EXPECT_EQ(body(EngineKind::kLlamaCpp)["prompt"], nlohmann::json({262, 260, 261}));
  EXPECT_EQ(body(EngineKind::kLlamaCpp)["n_predict"], 5);
  std::string text = tokenizer.decode(request.prompt, true);
  EXPECT_EQ(body(EngineKind::kTgi)["inputs"], text);
  EXPECT_EQ(body(EngineKind::kOllama)["prompt"], text);
  EXPECT_EQ(body(EngineKind::kOllama)["raw"], true);
  EXPECT_EQ(body(EngineKind::kOpenAi)["prompt"], text);
  request.sampling.temperature = 0;
  EXPECT_FALSE(body(EngineKind::kTgi)["parameters"].contains("temperature"));
  EXPECT_TRUE(engine_dialect(EngineKind::kSglang).abort(9).has_value());
  EXPECT_FALSE(engine_dialect(EngineKind::kVllm).abort(9).has_value());
}

TEST(Engines, TextBecomesTokensOfThatText) {
  struct Case {
    Vocab vocab;
    std::vector<std::string> texts;
  };
  const Case cases[] = {{small_bpe_vocab(), {"hello", " hello", "12", "é", "\n", "<|end|>"}},
                        {small_spm_vocab(), {"ab", " ab", " abc", "abc", "é", "z", "a b", "\n"}}};
  for (const Case& one : cases) {
    Tokenizer tokenizer = Tokenizer::create(one.vocab).value();
    for (const std::string& text : one.texts) {
      std::string joined;
      for (TokenId id : tokens_of_text(tokenizer, text)) {
        EXPECT_FALSE(tokenizer.is_end_of_generation(id)) << text;
        joined += tokenizer.piece(id);
      }
      EXPECT_EQ(joined, text);
    }
    EXPECT_TRUE(tokens_of_text(tokenizer, "").empty());
  }
}

TEST(Engines, NamesAndEventLimits) {
  EXPECT_EQ(name(EngineKind::kLlamaCpp), "llama.cpp");
  EXPECT_EQ(engine_kind_by_name("mindie"), EngineKind::kOpenAi);
  EXPECT_FALSE(engine_kind_by_name("gpt"));
  EventLines lines(false);
  std::vector<std::string> out;
  std::string much(kEventBytesMax + 1, 'x');
  EXPECT_EQ(lines.push(much, out).error().code, Code::kLimit);
}

}  // namespace
}  // namespace tg::node
