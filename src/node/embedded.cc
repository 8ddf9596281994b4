#include "node/embedded.h"

#include <algorithm>

#include "base/log.h"
#include "grammar/reply_grammar.h"
#include "node/paced_executor.h"

namespace tg::node {

namespace {

constexpr i64 kIdleWaitNs = 100'000'000;
constexpr i64 kInboxMax = 8'192;
constexpr i64 kContextsInPool = 8;
constexpr i64 kDraftRowsMax = 32;

fleet::FinishReason to_fleet(engine::Finish finish) {
  switch (finish) {
    case engine::Finish::kStop: return fleet::FinishReason::kStop;
    case engine::Finish::kLength: return fleet::FinishReason::kLength;
    case engine::Finish::kCancelled: return fleet::FinishReason::kCancelled;
    case engine::Finish::kError: return fleet::FinishReason::kError;
    case engine::Finish::kFunds: return fleet::FinishReason::kFunds;
  }
  return fleet::FinishReason::kError;
}

engine::Priority to_engine(fleet::ServiceClass service) {
  switch (service) {
    case fleet::ServiceClass::kInteractive: return engine::Priority::kInteractive;
    case fleet::ServiceClass::kStandard: return engine::Priority::kStandard;
    case fleet::ServiceClass::kBatch: return engine::Priority::kBatch;
  }
  return engine::Priority::kStandard;
}

const char* name_of(engine::PreemptReason reason) {
  return reason == engine::PreemptReason::kPriority ? "a higher class" : "lack of blocks";
}

// Besides its own limits, the device's: a row of logits for each proposal, if there are any.
i64 rows_wanted(const engine::EngineLimits& limits) {
  return limits.running_max + std::min(kDraftRowsMax, limits.running_max * limits.draft_tokens_max);
}

bool has_states(const isa::Program& program) {
  return std::ranges::any_of(program.kv, [](const isa::KvDecl& kv) { return kv.is_state; });
}

// A step says of states only which sequence of the batch they belong to, so sequences of a program
// with states run one at a time, from their start and straight on.
engine::EngineLimits allowed_limits(const isa::Program& program, engine::EngineLimits limits) {
  if (!has_states(program)) return limits;
  limits.running_max = 1;
  limits.prefix_cache = false;
  limits.draft_tokens_max = 0;
  return limits;
}

i64 page_tokens_of(const isa::VerifiedProgram& program) {
  return program.program().kv.empty() ? 16 : program.program().kv[0].page_tokens;
}

backend::ExecutorLimits executor_limits(const isa::VerifiedProgram& program,
                                        const EmbeddedOptions& options) {
  const isa::Bounds& bounds = program.program().bounds;
  engine::EngineLimits asked = allowed_limits(program.program(), options.engine);
  backend::ExecutorLimits limits;
  limits.context_max =
      options.context_max == 0 ? bounds.context : std::min(options.context_max, bounds.context);
  limits.tokens_max = std::min(asked.step_tokens_max, bounds.tokens);
  limits.sequences_max = std::min(asked.running_max, bounds.sequences);
  limits.rows_max = std::min(rows_wanted(asked), bounds.rows);
  limits.threads = options.threads;
  limits.memory_max = options.memory_max;
  limits.budget = options.budget;
  i64 tokens = options.kv_tokens == 0 ? kContextsInPool * limits.context_max : options.kv_tokens;
  i64 page = page_tokens_of(program);
  limits.kv_pages = (tokens + page - 1) / page;
  limits.swap_pages = (options.swap_tokens + page - 1) / page;
  return limits;
}

engine::EngineLimits engine_limits(const backend::ExecutorLimits& device,
                                   const engine::EngineLimits& asked) {
  engine::EngineLimits limits = asked;
  limits.running_max = std::min(device.sequences_max, device.rows_max);
  limits.step_tokens_max = device.tokens_max;
  return limits;
}

}  // namespace

// A machine without counters is nothing to complain of; its power is modelled, or not known.
std::unique_ptr<fleet::EnergyMeter> open_meter(const EmbeddedOptions& options) {
  if (options.powercap.empty()) return nullptr;
  bool is_cpu = options.backend == "cpu";
  std::optional<i64> gpu = fleet::nvml_device_of(options.backend);
  if (!is_cpu && !gpu) return nullptr;
  Result<std::unique_ptr<fleet::EnergyMeter>> meter =
      is_cpu ? fleet::open_rapl(options.powercap) : fleet::open_nvml(*gpu);
  if (meter.ok()) return std::move(*meter);
  if (meter.error().code != Code::kNotFound)
    log_warn("node", "no energy is measured: {}", meter.error().message);
  return nullptr;
}

// A program that generates gives one row of scores for each row asked for, and keeps what it saw.
static Status check_generates(const isa::Program& program) {
  const isa::Function& main = program.functions[0];
  const isa::Type& result = main.value_types[main.results[0]];
  bool gives_scores = result.dtype == isa::DType::kF32 && result.dims.size() == 2 &&
                      result.dims[0] == isa::Dim{.r = 1};
  bool has_cache = false;
  for (const isa::KvDecl& kv : program.kv) has_cache |= !kv.is_state;
  if (gives_scores && has_cache) return {};
  return Error{Code::kUnsupported,
               "the model gives no scores of next tokens (an encoder?), so it cannot generate"};
}

Result<std::unique_ptr<EmbeddedSupplier>> EmbeddedSupplier::start(
    const isa::VerifiedProgram& program, const isa::WeightTable& weights,
    const EmbeddedOptions& options, Clock& clock) {
  TG_TRY(check_generates(program.program()));
  TG_ASSIGN(std::unique_ptr<backend::Executor> executor,
            backend::make_executor(options.backend, program, weights,
                                   executor_limits(program, options), options.packed));
  if (options.step_ns_min > 0)
    executor = std::make_unique<PacedExecutor>(std::move(executor), options.step_ns_min, clock);
  std::unique_ptr<EmbeddedSupplier> supplier(
      new EmbeddedSupplier(std::move(executor), program, options, clock));
  supplier->thread_ = std::thread([raw = supplier.get()] { raw->run(); });
  return supplier;
}

EmbeddedSupplier::EmbeddedSupplier(std::unique_ptr<backend::Executor> executor,
                                   const isa::VerifiedProgram& program,
                                   const EmbeddedOptions& options, Clock& clock)
    : executor_(std::move(executor)),
      device_name_(executor_->device_name()),
      context_max_(executor_->limits().context_max),
      open_max_(options.engine.running_max + options.engine.waiting_max),
      grammars_(options.grammars),
      engine_(*executor_, {program.cost(), program.program().entry_costs},
              engine_limits(executor_->limits(), allowed_limits(program.program(), options.engine)),
              clock),
      energy_(open_meter(options), options.watts, clock.monotonic_ns()),
      clock_(clock),
      inbox_(kInboxMax) {
  take_snapshot();
}

EmbeddedSupplier::~EmbeddedSupplier() {
  inbox_.close();
  if (thread_.joinable()) thread_.join();
}

Status EmbeddedSupplier::submit(fleet::SupplyRequest request) {
  if (request.is_embedding) {
    return Error{Code::kUnsupported, "this model generates text and makes no embeddings"};
  }
  i64 prompt = static_cast<i64>(request.prompt.size());
  if (prompt == 0 || request.max_tokens <= 0 || prompt + request.max_tokens > context_max_) {
    return Error{Code::kInvalid, "request of " + std::to_string(prompt) + " prompt and " +
                                     std::to_string(request.max_tokens) +
                                     " output tokens does not fit a context of " +
                                     std::to_string(context_max_)};
  }
  TG_ASSERT(request.events != nullptr);
  Begin begin;
  if (request.shape != nullptr) {
    TG_ASSIGN(begin.mask, mask_of(*request.shape));
  }
  begin.request = std::move(request);
  if (open_.fetch_add(1) >= open_max_) {
    open_.fetch_sub(1);
    return Error{Code::kUnavailable,
                 "the engine's queue of " + std::to_string(open_max_) + " requests is full"};
  }
  Command command(std::move(begin));
  if (!inbox_.try_push(command)) {
    open_.fetch_sub(1);
    return Error{Code::kUnavailable, "the engine's inbox is full or closed"};
  }
  return {};
}

Result<std::unique_ptr<GrammarMask>> EmbeddedSupplier::mask_of(const grammar::ReplyShape& shape) {
  if (grammars_ == nullptr || grammars_->tokens().size() > executor_->vocabulary()) {
    return Error{Code::kUnsupported, "this supplier cannot hold replies to a shape"};
  }
  TG_ASSIGN(std::shared_ptr<const grammar::CompiledGrammar> compiled, grammars_->get(shape));
  grammar::GrammarMatcher matcher(std::move(compiled));
  std::string written = grammar::with_markers(shape.written, grammars_->tokens().markers());
  if (!written.empty() && !matcher.accept_bytes(written)) {
    return Error{Code::kInvalid, "the reply's shape does not allow what its prompt begins with"};
  }
  return std::make_unique<GrammarMask>(std::move(matcher), mask_worker_);
}

void EmbeddedSupplier::cancel(u64 id) {
  // Waits for room rather than losing a cancellation; the engine drains its inbox every step.
  inbox_.push(Cancel{id});
}

Status EmbeddedSupplier::extend(u64 id, i64 funded_tokens, bool is_final) {
  if (inbox_.push(Extend{id, funded_tokens, is_final})) return {};
  return Error{Code::kUnavailable, "the engine is shutting down"};
}

fleet::SupplierLoad EmbeddedSupplier::load() const {
  std::lock_guard lock(snapshot_mutex_);
  return snapshot_;
}

void EmbeddedSupplier::run() {
  std::vector<Command> commands;
  while (!inbox_.closed()) {
    commands.clear();
    i64 began_ns = clock_.monotonic_ns();
    if (engine_.has_work() && !engine_.is_paused()) {
      inbox_.drain(commands);
    } else {
      inbox_.wait(commands, kIdleWaitNs);
      began_ns = clock_.monotonic_ns();
    }
    for (Command& command : commands) obey(command);
    if (!engine_.has_work()) {
      energy_.settle(clock_.monotonic_ns(), false);
      take_energy();
      continue;
    }
    engine::StepResult result = engine_.step();
    note_energy(result);
    // First the picture, then the events: who has seen a request end also sees its blocks free.
    take_snapshot();
    engine::StepSize size{.sequences = result.batch_sequences,
                          .tokens = result.batch_tokens,
                          .rows = static_cast<i64>(result.tokens.size())};
    deliver(result);
    if (result.wall_ns > 0) note_turn(size, clock_.monotonic_ns() - began_ns, result.wall_ns);
  }
  shut_down();
}

// Scheduling, sampling and events take their time too, beside small models as much as the steps:
// whoever forecasts by our steps should know.
void EmbeddedSupplier::note_turn(const engine::StepSize& size, i64 turn_ns, i64 step_ns) {
  busy_ns_ += turn_ns;
  between_.observe(size, turn_ns - step_ns);
}

// Whoever submitted is told how it ended, also what still waited in the inbox.
void EmbeddedSupplier::shut_down() {
  std::vector<Command> commands;
  inbox_.drain(commands);
  for (Command& command : commands) obey(command);
  std::vector<u64> left;
  for (const auto& [id, events] : events_) left.push_back(id);
  for (u64 id : left) engine_.cancel(id);
  while (engine_.has_work()) {
    engine::StepResult result = engine_.step();
    note_energy(result);
    deliver(result);
  }
}

void EmbeddedSupplier::obey(Command& command) {
  if (Begin* started = std::get_if<Begin>(&command)) {
    begin(*started);
  } else if (Extend* extension = std::get_if<Extend>(&command)) {
    // The request may have ended while the funds were on their way.
    Status extended = engine_.extend(extension->id, extension->funded_tokens, extension->is_final);
    if (!extended.ok()) log_info("node", "not extended: {}", extended.error().message);
  } else {
    engine_.cancel(std::get<Cancel>(command).id);
  }
}

void EmbeddedSupplier::begin(Begin& command) {
  fleet::SupplyRequest& request = command.request;
  u64 id = request.id;
  Events events = std::move(request.events);
  Status accepted = engine_.submit({.id = id,
                                    .prompt = std::move(request.prompt),
                                    .max_tokens = request.max_tokens,
                                    .funded_tokens = request.funded_tokens,
                                    .is_funding_final = request.is_funding_final,
                                    .sampling = std::move(request.sampling),
                                    .stop_tokens = std::move(request.stop_tokens),
                                    .cache_salt = request.cache_salt,
                                    .priority = to_engine(request.service),
                                    .deadline_ns = request.deadline_ns},
                                   std::move(command.mask));
  if (accepted.ok()) {
    events_.emplace(id, std::move(events));
    return;
  }
  open_.fetch_sub(1);
  fleet::SupplierEvent refusal;
  refusal.request = id;
  refusal.kind = fleet::SupplierEvent::Kind::kFinished;
  refusal.reason = fleet::FinishReason::kError;
  refusal.error = accepted.error().message;
  if (!events->try_push(refusal)) log_warn("node", "request {}: its reader is gone", id);
}

// A request that ends is told its joules, so the meter is read then.
void EmbeddedSupplier::note_energy(const engine::StepResult& result) {
  for (const engine::StepPart& part : result.parts) energy_.ran(part.request, part.wall_ns);
  energy_.settle(clock_.monotonic_ns(), !result.finished.empty());
}

void EmbeddedSupplier::take_energy() {
  std::lock_guard lock(snapshot_mutex_);
  snapshot_.energy = energy_.count();
}

void EmbeddedSupplier::deliver(engine::StepResult& result) {
  for (const engine::PreemptEvent& event : result.preempted) {
    log_info(
        "node",
        "request {} gives way to {} for {}: {} tokens, {} of them kept, {} pages free, {} times "
        "so far",
        event.request, event.beneficiary, name_of(event.reason), event.tokens_lost,
        event.tokens_kept, event.kv_pages_free, event.preemptions);
  }
  for (engine::TokenEvent& token : result.tokens) {
    fleet::SupplierEvent event;
    event.request = token.request;
    event.kind = fleet::SupplierEvent::Kind::kTokens;
    event.tokens.push_back(token.token);
    event.logprobs.push_back({token.token, token.logprob});
    std::vector<fleet::TokenLogprob>& top = event.top_logprobs.emplace_back();
    for (const auto& [id, logprob] : token.top_logprobs) top.push_back({id, logprob});
    send(std::move(event));
  }
  for (engine::FinishEvent& finish : result.finished) {
    fleet::SupplierEvent event;
    event.request = finish.request;
    event.kind = fleet::SupplierEvent::Kind::kFinished;
    event.reason = to_fleet(finish.reason);
    event.error = std::move(finish.error);
    event.usage = finish.usage;
    energy_.take_into(finish.request, event.usage);
    send(std::move(event));
    events_.erase(finish.request);
    open_.fetch_sub(1);
  }
}

void EmbeddedSupplier::send(fleet::SupplierEvent event) {
  u64 id = event.request;
  std::unordered_map<u64, Events>::iterator found = events_.find(id);
  TG_ASSERT(found != events_.end());
  if (found->second->try_push(event)) return;
  // The reader is gone or hopelessly behind: nobody may make the engine wait.
  log_warn("node", "request {}: events cannot be delivered, cancelled", id);
  engine_.cancel(id);
}

void EmbeddedSupplier::take_snapshot() {
  engine::EngineStatus status = engine_.status();
  std::lock_guard lock(snapshot_mutex_);
  snapshot_.running = status.running;
  snapshot_.waiting = status.waiting;
  snapshot_.kv_pages_total = status.kv_pages_total;
  snapshot_.kv_pages_free = status.kv_pages_free;
  snapshot_.context_max = context_max_;
  snapshot_.energy = energy_.count();
  snapshot_.steps = status.steps;
  snapshot_.prompt_tokens = status.prompt_tokens;
  snapshot_.cached_tokens = status.cached_tokens;
  snapshot_.output_tokens = status.output_tokens;
  const engine::StepTime& between = between_.time();
  snapshot_.step = {.ns_per_step = status.step_time.ns_per_step + between.ns_per_step,
                    .ns_per_token = status.step_time.ns_per_token + between.ns_per_token,
                    .ns_per_row = status.step_time.ns_per_row + between.ns_per_row,
                    .ns_per_key = status.step_time.ns_per_key,
                    .ns_per_pair = status.step_time.ns_per_pair,
                    .error = status.step_time.error};
}

}  // namespace tg::node
