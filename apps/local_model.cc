#include "apps/local_model.h"

#include <algorithm>

#include "apps/progress.h"
#include "base/bytes.h"
#include "base/log.h"
#include "node/embedded.h"
#include "node/encoder.h"

namespace tg::apps {

namespace {

using Engine = std::unique_ptr<node::LocalEngine>;

// What the gateway has checked the engine finds compiled.
std::shared_ptr<grammar::ModelGrammars> grammars_of(const LoadedModel& loaded) {
  std::vector<TokenId> markers;
  if (loaded.chat_template) {
    markers = gateway::marker_tokens(*loaded.tokenizer, reply_format_of(*loaded.chat_template));
  }
  Result<grammar::TokenTable> table = grammar::TokenTable::create(*loaded.tokenizer, markers);
  if (!table.ok()) {
    log_warn("serve", "no structured output: {}", table.error().message);
    return nullptr;
  }
  return std::make_shared<grammar::ModelGrammars>(
      std::make_shared<const grammar::TokenTable>(std::move(table).value()));
}

node::EmbeddedOptions options_of(const ModelConfig& config, const LocalModel& model,
                                 const ModelHost& host) {
  constexpr u64 kMiB = 1 << 20;
  node::EmbeddedOptions options;
  options.threads = static_cast<i32>(config.threads);
  options.backend = config.backend;
  options.context_max = config.context;
  options.kv_tokens = config.kv_tokens;
  options.swap_tokens = config.swap_tokens;
  options.memory_max = static_cast<u64>(config.memory_mib_max) * kMiB;
  options.budget = host.memory.get();
  options.engine = host.limits;
  options.engine.prefix_seed = host.random.next_u64();
  options.powercap = config.powercap;
  options.watts = static_cast<f64>(config.watts);
  options.grammars = model.grammars;
  if (config.keep_packed) options.packed = packed_file_of(*model.loaded.model);
  std::shared_ptr<Progress> bar = std::make_shared<Progress>("packing " + model.loaded.id);
  options.packed.progress = [bar](u64 done, u64 total) { bar->update(done, total); };
  return options;
}

Result<Engine> start_once(const model::Model& model, const node::EmbeddedOptions& options,
                          Clock& clock) {
  Engine engine;
  if (node::makes_embeddings(model.program().program())) {
    TG_ASSIGN(engine,
              node::EncoderSupplier::start(model.program(), model.weights(), options, clock));
  } else {
    TG_ASSIGN(engine,
              node::EmbeddedSupplier::start(model.program(), model.weights(), options, clock));
  }
  model.release_weights();
  return engine;
}

Result<Engine> start_engine(const ModelConfig& config, const node::EmbeddedOptions& options,
                            const model::Model& model, const ModelHost& host) {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  node::RestingEngine::Start start = [&model, options, &clock = host.clock] {
    return start_once(model, options, clock);
  };
  if (config.idle_unload_s == 0) return start();
  TG_ASSIGN(Engine engine,
            node::RestingEngine::start(std::move(start),
                                       {.idle_ns = config.idle_unload_s * kNsPerSecond,
                                        .waiting_max = options.engine.waiting_max,
                                        .group = host.resting},
                                       host.clock));
  return engine;
}

}  // namespace

Result<std::unique_ptr<LocalModel>> start_model(const ModelConfig& config, bool has_engine,
                                                const ModelHost& host) {
  std::unique_ptr<LocalModel> out = std::make_unique<LocalModel>();
  i64 begun_ns = host.clock.monotonic_ns();
  TG_ASSIGN(out->loaded, load_model(config.file, config.import));
  if (!config.id.empty()) out->loaded.id = config.id;
  out->grammars = grammars_of(out->loaded);
  if (has_engine) {
    i64 read_ns = host.clock.monotonic_ns();
    TG_ASSIGN(Engine engine,
              start_engine(config, options_of(config, *out, host), *out->loaded.model, host));
    constexpr i64 kNsPerMs = 1'000'000;
    log_info("serve", "model {}: read in {} ms, its engine started in {} ms", out->loaded.id,
             (read_ns - begun_ns) / kNsPerMs, (host.clock.monotonic_ns() - read_ns) / kNsPerMs);
    out->engine = std::move(engine);
    out->context_max = out->engine->context_max();
    return out;
  }
  i64 bound = out->program().program().bounds.context;
  out->context_max = config.context == 0 ? bound : std::min(config.context, bound);
  return out;
}

Result<std::shared_ptr<node::LocalEngine>> start_beside(const LocalModel& model,
                                                        const ModelConfig& config,
                                                        const ModelHost& host) {
  TG_ASSIGN(Engine engine,
            start_engine(config, options_of(config, model, host), *model.loaded.model, host));
  return std::shared_ptr<node::LocalEngine>(std::move(engine));
}

gateway::ServedModel offer(LocalModel& model, const market::Tariff& tariff, Clock& clock) {
  constexpr i64 kNsPerSecond = 1'000'000'000;
  gateway::ServedModel served;
  served.id = model.loaded.id;
  served.created = clock.now().ns / kNsPerSecond;
  served.tokenizer = model.loaded.tokenizer;
  served.guard = std::make_shared<const gateway::ControlGuard>(*served.tokenizer);
  served.chat_template = std::move(model.loaded.chat_template);
  served.supplier = model.engine.get();
  if (node::makes_embeddings(model.program().program())) {
    served.embedding_width = node::embedding_width(model.program().program());
    served.generates = false;
  }
  served.grammars = model.grammars;
  served.program = to_hex(model.program().id());
  served.context_max = model.context_max;
  served.cost = &model.program().cost();
  served.tariff = tariff;
  return served;
}

}  // namespace tg::apps
