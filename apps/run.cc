// `tokengrid run`: one prompt through the embedded engine, text on standard output, one line of
// account on standard error.
#include <fmt/format.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>

#include "apps/commands.h"
#include "apps/import_flags.h"
#include "apps/loaded_model.h"
#include "apps/locate.h"
#include "base/json_out.h"
#include "base/log.h"
#include "env/clock.h"
#include "env/random.h"
#include "market/tariff.h"
#include "node/embedded.h"
#include "text/detokenizer.h"
#include "unit/nominal.h"

namespace tg::apps {

namespace {

struct RunOptions {
  std::string model;
  std::string prompt;
  bool raw = false;
  bool json = false;
  ImportFlags import;
  i64 max_tokens = 256;
  i64 context = 0;
  std::string backend = "cpu";
  i32 threads = 0;
  f32 temperature = 0.7f;
  f32 top_p = 1.0f;
  i32 top_k = 0;
  f32 min_p = 0.0f;
  i64 seed = -1;
};

std::atomic<bool> interrupted = false;

struct Generated {
  std::string text;
  unit::Usage usage;
  fleet::FinishReason reason = fleet::FinishReason::kStop;
};

fleet::SupplyRequest make_request(const RunOptions& o, const LoadedModel& loaded,
                                  std::vector<TokenId> prompt) {
  fleet::SupplyRequest request;
  request.id = 1;
  request.prompt = std::move(prompt);
  request.max_tokens = o.max_tokens;
  request.sampling.temperature = o.temperature;
  request.sampling.top_p = o.top_p;
  request.sampling.top_k = o.top_k;
  request.sampling.min_p = o.min_p;
  OsRandom random;
  request.sampling.seed = o.seed < 0 ? random.next_u64() : static_cast<u64>(o.seed);
  request.stop_tokens = loaded.tokenizer->vocab().end_of_generation;
  constexpr i64 kEventsMax = 65'536;
  request.events = std::make_shared<Mailbox<fleet::SupplierEvent>>(kEventsMax);
  return request;
}

// Reads events to the end, printing text as it completes unless `quiet`.
Result<Generated> receive(node::EmbeddedSupplier& supplier, fleet::SupplyRequest request,
                          const Tokenizer& tokenizer, bool quiet) {
  constexpr i64 kWaitNs = 100'000'000;
  std::shared_ptr<Mailbox<fleet::SupplierEvent>> mailbox = request.events;
  u64 id = request.id;
  TG_TRY(supplier.submit(std::move(request)));
  Generated out;
  Detokenizer detokenizer(tokenizer, {.continues_text = true});
  auto emit = [&](const std::string& text) {
    out.text += text;
    if (quiet) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  };
  std::vector<fleet::SupplierEvent> events;
  for (bool done = false; !done;) {
    events.clear();
    mailbox->wait(events, kWaitNs);
    if (interrupted.exchange(false)) supplier.cancel(id);
    for (fleet::SupplierEvent& event : events) {
      for (TokenId token : event.tokens) emit(detokenizer.push(token));
      if (event.kind != fleet::SupplierEvent::Kind::kFinished) continue;
      if (event.reason == fleet::FinishReason::kError) return Error{Code::kIo, event.error};
      out.usage = event.usage;
      out.reason = event.reason;
      done = true;
    }
  }
  emit(detokenizer.flush());
  if (!quiet) std::fputc('\n', stdout);
  return out;
}

f64 tokens_per_second(const unit::Usage& usage) {
  i64 decode_ns = usage.total_ns - usage.first_token_ns;
  if (usage.output_tokens < 2 || decode_ns <= 0) return 0;
  return static_cast<f64>(usage.output_tokens - 1) * 1e9 / static_cast<f64>(decode_ns);
}

f64 yield_of(const unit::NominalWork& work, const unit::Usage& usage) {
  f64 actual = static_cast<f64>(usage.actual_atto_st) / 1e9;
  return actual > 0 ? static_cast<f64>(work.total.value) / actual : 0;
}

std::string account_json(const Generated& g, const unit::NominalWork& work, i64 cost) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("text").string(g.text).key("prompt_tokens").number(g.usage.prompt_tokens);
  json.key("output_tokens").number(g.usage.output_tokens);
  json.key("tokens_per_second").real(tokens_per_second(g.usage));
  json.key("nominal_nst").number(work.total.value).key("yield").real(yield_of(work, g.usage));
  json.key("list_value_ucredit").number(cost).end_object();
  return out;
}

Status run(const RunOptions& o) {
  std::string path = o.model;
  if (path.empty()) {
    TG_ASSIGN(path, bundled_model());
  }
  TG_ASSIGN(LoadedModel loaded, load_model(path, o.import.over()));
  SystemClock clock;
  TG_ASSIGN(std::vector<TokenId> prompt,
            prompt_ids(loaded, o.prompt, o.raw, clock.now().ns / 1'000'000'000));
  node::EmbeddedOptions options;
  options.backend = o.backend;
  options.threads = o.threads;
  options.context_max = o.context;
  options.engine.running_max = 1;
  options.packed = packed_file_of(*loaded.model);
  TG_ASSIGN(std::unique_ptr<node::EmbeddedSupplier> supplier,
            node::EmbeddedSupplier::start(loaded.model->program(), loaded.model->weights(), options,
                                          clock));
  loaded.model->release_weights();
  std::signal(SIGINT, [](int) { interrupted = true; });
  RunOptions fitted = o;
  fitted.max_tokens =
      std::min(o.max_tokens, supplier->context_max() - static_cast<i64>(prompt.size()));
  TG_ASSIGN(Generated g, receive(*supplier, make_request(fitted, loaded, std::move(prompt)),
                                 *loaded.tokenizer, o.json));
  std::vector<i64> outputs{g.usage.output_tokens};
  TG_ASSIGN(unit::NominalWork work,
            unit::nominal_work(loaded.model->program().cost(), {.prompt = g.usage.prompt_tokens,
                                                                .cached = g.usage.cached_tokens,
                                                                .outputs = outputs}));
  i64 cost = market::list_value_ucredit(market::Tariff{}, work.total.value);
  if (o.json) {
    fmt::print("{}\n", account_json(g, work, cost));
    return {};
  }
  fmt::print(stderr, "{} + {} tokens  {:.1f} tok/s  {} ST nominal  yield {:.3f}  {} ucredit\n",
             g.usage.prompt_tokens, g.usage.output_tokens, tokens_per_second(g.usage),
             unit::to_decimal(work.total), yield_of(work, g.usage), cost);
  return {};
}

}  // namespace

void add_run(CLI::App& root, int& exit_status) {
  std::shared_ptr<RunOptions> o = std::make_shared<RunOptions>();
  CLI::App* command = root.add_subcommand("run", "One prompt through the embedded engine");
  command->add_option("prompt", o->prompt, "what to say")->required();
  command->add_option("-m,--model", o->model, "GGUF file (default: the bundled model)");
  command->add_flag("--raw", o->raw, "no chat template");
  command->add_option("--max-tokens", o->max_tokens, "most output tokens")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--context", o->context, "context length (default: the model's)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--backend", o->backend, "cpu, opencl, cuda, cuda:1, or a module's path")
      ->capture_default_str();
  command->add_option("--threads", o->threads, "compute threads (default: one per core)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--temperature", o->temperature, "0 is greedy")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  command->add_option("--top-p", o->top_p, "nucleus")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--top-k", o->top_k, "0 is off")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--min-p", o->min_p, "0 is off")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", o->seed, "the same seed gives the same text");
  add_import_flags(*command, o->import);
  command->add_flag("--json", o->json, "one JSON object instead of streamed text");
  command->callback([o, &exit_status] {
    set_log_level(LogLevel::kWarn);
    exit_status = report(run(*o));
  });
}

}  // namespace tg::apps
