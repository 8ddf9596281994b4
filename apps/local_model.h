// A model that this process serves: its file, what is made of it, and the engine that runs it.
#pragma once

#include <memory>

#include "apps/config.h"
#include "apps/loaded_model.h"
#include "env/clock.h"
#include "env/random.h"
#include "gateway/served_model.h"
#include "gateway/till.h"
#include "grammar/cache.h"
#include "node/local_engine.h"

namespace tg::apps {

struct LocalModel {
  LoadedModel loaded;
  // Shared by gateway and engine; none: replies cannot be held to a shape.
  std::shared_ptr<grammar::ModelGrammars> grammars;
  std::shared_ptr<node::LocalEngine> engine;  // none: only others serve the model
  i64 context_max = 0;

  const isa::VerifiedProgram& program() const { return loaded.model->program(); }
  std::string device_name() const { return engine == nullptr ? "fleet" : engine->device_name(); }
};

// Loads the file and, unless told not to, starts the engine; with `idle_unload_s` one that rests.
// The clock must outlive the model.
Result<std::unique_ptr<LocalModel>> start_model(const ModelConfig& config,
                                                const engine::EngineLimits& limits, bool has_engine,
                                                Clock& clock, Random& random);

// Another engine over the same model, on the device and with the memory that `config` says.
Result<std::shared_ptr<node::LocalEngine>> start_beside(const LocalModel& model,
                                                        const ModelConfig& config,
                                                        const engine::EngineLimits& limits,
                                                        Clock& clock, Random& random);

// What the gateway offers of it; takes the chat template.
gateway::ServedModel offer(LocalModel& model, const market::Tariff& tariff, Clock& clock);

}  // namespace tg::apps
