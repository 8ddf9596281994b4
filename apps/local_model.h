// A model that this process serves: its file, what is made of it, and the engine that runs it.
#pragma once

#include <memory>

#include "apps/config.h"
#include "apps/loaded_model.h"
#include "backend/memory_budget.h"
#include "env/clock.h"
#include "env/random.h"
#include "gateway/served_model.h"
#include "gateway/till.h"
#include "grammar/cache.h"
#include "node/local_engine.h"
#include "node/resting_engine.h"

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

// What the models of a process share; must outlive them.
struct ModelHost {
  const engine::EngineLimits& limits;
  Clock& clock;
  Random& random;
  std::unique_ptr<backend::MemoryBudget> memory;  // null: no quota for all together
  std::shared_ptr<node::RestingGroup> resting = std::make_shared<node::RestingGroup>();
};

// Loads the file and, unless told not to, starts the engine; with `idle_unload_s` one that rests,
// and gives its room to another that finds none.
Result<std::unique_ptr<LocalModel>> start_model(const ModelConfig& config, bool has_engine,
                                                const ModelHost& host);

// Another engine over the same model, on the device and with the memory that `config` says.
Result<std::shared_ptr<node::LocalEngine>> start_beside(const LocalModel& model,
                                                        const ModelConfig& config,
                                                        const ModelHost& host);

// What the gateway offers of it; takes the chat template.
gateway::ServedModel offer(LocalModel& model, const market::Tariff& tariff, Clock& clock);

}  // namespace tg::apps
