#include "node/encoder.h"

#include <algorithm>

#include "base/log.h"

namespace tg::node {

namespace {

constexpr i64 kIdleWaitNs = 100'000'000;
constexpr i64 kInboxMax = 16'384;
// Texts wait cheaply, and one request may bring thousands.
constexpr i64 kOpenMax = 8'192;

// A step holds the longest prompt at least.
backend::ExecutorLimits executor_limits(const isa::VerifiedProgram& program,
                                        const EmbeddedOptions& options) {
  const isa::Bounds& bounds = program.program().bounds;
  backend::ExecutorLimits limits;
  limits.context_max =
      options.context_max == 0 ? bounds.context : std::min(options.context_max, bounds.context);
  limits.context_max = std::min(limits.context_max, bounds.tokens);
  limits.tokens_max =
      std::min(std::max(options.engine.step_tokens_max, limits.context_max), bounds.tokens);
  limits.sequences_max = std::min(options.engine.running_max, bounds.sequences);
  limits.rows_max = std::min<i64>(limits.sequences_max, bounds.rows);
  limits.threads = options.threads;
  limits.memory_max = options.memory_max;
  limits.budget = options.budget;
  return limits;
}

}  // namespace

bool makes_embeddings(const isa::Program& program) {
  const isa::Function& main = program.functions[0];
  const isa::Type& result = main.value_types[main.results[0]];
  return result.dtype == isa::DType::kF32 && result.dims.size() == 2 &&
         result.dims[0] == isa::Dim{.s = 1} && program.kv.empty();
}

i64 embedding_width(const isa::Program& program) {
  const isa::Function& main = program.functions[0];
  return main.value_types[main.results[0]].dims[1].constant;
}

Result<std::unique_ptr<EncoderSupplier>> EncoderSupplier::start(const isa::VerifiedProgram& program,
                                                                const isa::WeightTable& weights,
                                                                const EmbeddedOptions& options,
                                                                Clock& clock) {
  if (!makes_embeddings(program.program()))
    return Error{Code::kUnsupported, "the model makes no embeddings"};
  TG_ASSIGN(
      std::unique_ptr<backend::Executor> executor,
      backend::make_executor(options.backend, program, weights, executor_limits(program, options)));
  std::unique_ptr<EncoderSupplier> supplier(
      new EncoderSupplier(std::move(executor), program, options, clock));
  supplier->thread_ = std::thread([raw = supplier.get()] { raw->run(); });
  return supplier;
}

EncoderSupplier::EncoderSupplier(std::unique_ptr<backend::Executor> executor,
                                 const isa::VerifiedProgram& program,
                                 const EmbeddedOptions& options, Clock& clock)
    : executor_(std::move(executor)),
      device_name_(executor_->device_name()),
      context_max_(executor_->limits().context_max),
      open_max_(std::max(kOpenMax, options.engine.running_max + options.engine.waiting_max)),
      clock_(clock),
      attribution_(program.cost(), program.program().entry_costs,
                   executor_->limits().sequences_max),
      energy_(open_meter(options), options.watts, clock.monotonic_ns()),
      inbox_(kInboxMax) {
  take_snapshot();
}

EncoderSupplier::~EncoderSupplier() {
  inbox_.close();
  if (thread_.joinable()) thread_.join();
}

Status EncoderSupplier::submit(fleet::SupplyRequest request) {
  if (!request.is_embedding)
    return Error{Code::kUnsupported, "this model makes embeddings and generates no text"};
  i64 tokens = static_cast<i64>(request.prompt.size());
  if (tokens == 0 || tokens > context_max_) {
    return Error{Code::kInvalid, "a text of " + std::to_string(tokens) +
                                     " tokens does not fit a context of " +
                                     std::to_string(context_max_)};
  }
  TG_ASSERT(request.events != nullptr);
  if (open_.fetch_add(1) >= open_max_) {
    open_.fetch_sub(1);
    return Error{Code::kUnavailable,
                 "the encoder's queue of " + std::to_string(open_max_) + " texts is full"};
  }
  Command command(Waiting{std::move(request), clock_.monotonic_ns()});
  if (inbox_.try_push(command)) return {};
  open_.fetch_sub(1);
  return Error{Code::kUnavailable, "the encoder's inbox is full or closed"};
}

void EncoderSupplier::cancel(u64 id) {
  inbox_.push(Cancel{id});
}

fleet::SupplierLoad EncoderSupplier::load() const {
  std::lock_guard lock(snapshot_mutex_);
  return snapshot_;
}

void EncoderSupplier::run() {
  std::vector<Command> commands;
  while (!inbox_.closed()) {
    commands.clear();
    if (waiting_.empty()) {
      inbox_.wait(commands, kIdleWaitNs);
    } else {
      inbox_.drain(commands);
    }
    for (Command& command : commands) obey(command);
    if (!waiting_.empty()) step();
    energy_.settle(clock_.monotonic_ns(), false);
    totals_.energy = energy_.count();
    take_snapshot();
  }
  // Whoever submitted is told how it ended.
  commands.clear();
  inbox_.drain(commands);
  for (Command& command : commands) obey(command);
  while (!waiting_.empty()) {
    u64 id = waiting_.front().request.id;
    Command command(Cancel{id});
    obey(command);
  }
}

void EncoderSupplier::obey(Command& command) {
  if (Waiting* added = std::get_if<Waiting>(&command)) {
    waiting_.push_back(std::move(*added));
    return;
  }
  u64 id = std::get<Cancel>(command).id;
  std::deque<Waiting>::iterator found =
      std::ranges::find_if(waiting_, [id](const Waiting& w) { return w.request.id == id; });
  if (found == waiting_.end()) return;
  Waiting gone = std::move(*found);
  waiting_.erase(found);
  fleet::SupplierEvent event;
  event.reason = fleet::FinishReason::kCancelled;
  finish(gone, std::move(event));
}

// As many of those in front as a step has room for: how many.
i64 EncoderSupplier::pack() {
  const backend::ExecutorLimits& limits = executor_->limits();
  Packed& p = packed_;
  for (std::vector<i32>* list : {&p.ids, &p.positions, &p.cu, &p.zeros, &p.slots}) list->clear();
  p.parts.clear();
  p.cu.push_back(0);
  for (const Waiting& waiting : waiting_) {
    const std::vector<TokenId>& prompt = waiting.request.prompt;
    bool fits = static_cast<i64>(p.parts.size()) < limits.sequences_max &&
                static_cast<i64>(p.ids.size() + prompt.size()) <= limits.tokens_max;
    if (!fits) break;
    for (std::size_t i = 0; i < prompt.size(); ++i) {
      p.ids.push_back(prompt[i]);
      p.positions.push_back(static_cast<i32>(i));
    }
    p.cu.push_back(static_cast<i32>(p.ids.size()));
    p.parts.push_back(
        {.sequence = static_cast<i64>(p.parts.size()), .tokens = static_cast<i64>(prompt.size())});
  }
  p.zeros.assign(p.parts.size() + 1, 0);
  p.slots.assign(p.ids.size(), -1);
  TG_ASSERT(!p.parts.empty());
  return static_cast<i64>(p.parts.size());
}

void EncoderSupplier::step() {
  i64 count = pack();
  const Packed& p = packed_;
  i64 began_ns = clock_.monotonic_ns();
  Result<std::span<const f32>> rows =
      executor_->run({.ids = p.ids,
                      .positions = p.positions,
                      .cu = p.cu,
                      .past = std::span<const i32>(p.zeros).first(p.parts.size()),
                      .page_begin = p.zeros,
                      .pages = {},
                      .slots = p.slots,
                      .rows = {}});
  i64 ended_ns = clock_.monotonic_ns();
  Result<std::span<const unit::StepShare>> shares =
      attribution_.share(p.parts, {.wall_ns = ended_ns - began_ns,
                                   .entry = executor_->entry(),
                                   .expert_hits = executor_->expert_hits()});
  ++totals_.steps;
  for (i64 i = 0; shares.ok() && i < count; ++i) {
    std::size_t at = static_cast<std::size_t>(i);
    energy_.ran(waiting_[at].request.id, (*shares)[at].wall_ns);
  }
  energy_.settle(ended_ns, true);
  totals_.energy = energy_.count();
  for (i64 i = 0; i < count; ++i) {
    Waiting done = std::move(waiting_.front());
    waiting_.pop_front();
    fleet::SupplierEvent event;
    if (!rows.ok() || !shares.ok()) {
      event.reason = fleet::FinishReason::kError;
      event.error = rows.ok() ? shares.error().message : rows.error().message;
      finish(done, std::move(event));
      continue;
    }
    std::span<const f32> row =
        rows->subspan(static_cast<std::size_t>(i * width()), static_cast<std::size_t>(width()));
    event.embedding.assign(row.begin(), row.end());
    event.usage = {.prompt_tokens = static_cast<i64>(done.request.prompt.size()),
                   .steps = 1,
                   .actual_atto_st = (*shares)[static_cast<std::size_t>(i)].atto_st,
                   .attributed_ns = (*shares)[static_cast<std::size_t>(i)].wall_ns,
                   .queue_ns = began_ns - done.submitted_ns,
                   .total_ns = ended_ns - done.submitted_ns};
    energy_.take_into(done.request.id, event.usage);
    totals_.prompt_tokens += static_cast<u64>(event.usage.prompt_tokens);
    finish(done, std::move(event));
  }
}

void EncoderSupplier::finish(Waiting& done, fleet::SupplierEvent event) {
  event.request = done.request.id;
  event.kind = fleet::SupplierEvent::Kind::kFinished;
  if (!done.request.events->try_push(event))
    log_warn("node", "request {}: its reader is gone", done.request.id);
  open_.fetch_sub(1);
}

void EncoderSupplier::take_snapshot() {
  std::lock_guard lock(snapshot_mutex_);
  snapshot_ = totals_;
  snapshot_.waiting = static_cast<i64>(waiting_.size());
  snapshot_.context_max = context_max_;
}

}  // namespace tg::node
