#include "sim/engine_device.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "env/clock.h"
#include "fleet/energy_split.h"
#include "sim/draw.h"

namespace tg::sim {

namespace {

// Enough for the contents of pages to differ, few enough for a row of logits to cost nothing.
constexpr i64 kVocabulary = 64;
constexpr i64 kBitsPerToken = 6;
constexpr i64 kStepNsMin = 1'000;
// Pages are for real here; who has more has no lack of them.
constexpr i64 kPoolTokensMax = i64{1} << 25;
constexpr i64 kContextMax = i64{1} << 20;
constexpr u64 kGolden = 0x9e3779b97f4a7c15;

u64 mix(u64 z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// The same where the blocks are the same, and nowhere else.
std::vector<i32> tokens_of(const DeviceJob& job, i64 block_tokens) {
  std::vector<i32> tokens(static_cast<std::size_t>(job.prompt_tokens));
  std::size_t block = static_cast<std::size_t>(std::max<i64>(1, block_tokens));
  u64 word = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    constexpr std::size_t kPerWord = 8;
    if (i % kPerWord == 0) {
      bool is_shared = block_tokens > 0 && i / block < job.blocks.size();
      u64 whose = is_shared ? job.blocks[i / block] : ~job.id;
      word = mix(mix(whose + kGolden) + i * kGolden);
    }
    tokens[i] = static_cast<i32>(word % kVocabulary);
    word >>= kBitsPerToken;
  }
  return tokens;
}

// What the engine divides a step's time among its requests by: a dense model of eight billion
// parameters.
const unit::CostMatrix& matrix() {
  static const unit::CostMatrix kMatrix = [] {
    unit::CostMatrix m;
    m.per_token[unit::kMmF16] = 16'000'000'000;
    m.windows = {{.window = 0, .attn_flops_per_pair = 524'288, .kv_rd_bytes_per_key = 131'072}};
    return m;
  }();
  return kMatrix;
}

engine::StepTime time_of(const fleet::StepEstimate& e) {
  return {.ns_per_step = e.ns_per_step,
          .ns_per_token = e.ns_per_token,
          .ns_per_row = e.ns_per_row,
          .ns_per_key = e.ns_per_key,
          .ns_per_pair = e.ns_per_pair};
}

engine::Priority to_engine(fleet::ServiceClass service) {
  switch (service) {
    case fleet::ServiceClass::kInteractive: return engine::Priority::kInteractive;
    case fleet::ServiceClass::kStandard: return engine::Priority::kStandard;
    case fleet::ServiceClass::kBatch: return engine::Priority::kBatch;
  }
  return engine::Priority::kStandard;
}

}  // namespace

class EngineDevice::World final : public backend::Executor, public Clock {
 public:
  World(const DeviceModel& model, u64 seed)
      : step_(time_of(model.step)),
        noise_(model.noise),
        page_tokens_(model.page_tokens),
        random_(seed),
        outputs_(mix(seed)) {
    limits_.tokens_max = model.step_tokens_max;
    limits_.sequences_max = std::min(model.running_max, model.step_tokens_max);
    limits_.rows_max = limits_.sequences_max;
    limits_.kv_pages =
        std::max<i64>(1, std::min(model.keys_total, kPoolTokensMax) / model.page_tokens);
    limits_.context_max = std::min(kContextMax, limits_.kv_pages * model.page_tokens);
  }

  Result<std::span<const f32>> run(const backend::StepBatch& batch) override {
    engine::StepSize size;
    for (std::size_t s = 0; s < batch.past.size(); ++s) {
      size.add(batch.past[s], batch.cu[s + 1] - batch.cu[s], 0);
    }
    size.rows = static_cast<i64>(batch.rows.size());
    f64 ns = step_.predict_ns(size);
    if (noise_ > 0) ns *= std::exp(noise_ * normal(random_));
    now_ns += std::max(kStepNsMin, static_cast<i64>(ns * slowness));
    return draw_tokens(batch.rows.size());
  }
  // Within the device's memory, and beside the step.
  Status copy_pages(std::span<const backend::PageCopy>) override { return {}; }
  i64 vocabulary() const override { return kVocabulary; }
  i64 page_tokens() const override { return page_tokens_; }
  i64 page_bytes() const override { return page_tokens_; }
  const backend::ExecutorLimits& limits() const override { return limits_; }
  std::string device_name() const override { return "simulated"; }

  Timestamp now() override { return {now_ns}; }
  i64 monotonic_ns() override { return now_ns; }

  i64 now_ns = 0;  // of the world; at a step's end once it has been run
  f64 slowness = 1;

 private:
  // Any token, by chance: outputs that were all alike would share their pages.
  std::span<const f32> draw_tokens(std::size_t rows) {
    for (std::size_t at : hot_) logits_[at] = 0;
    hot_.clear();
    logits_.resize(std::max(logits_.size(), rows * kVocabulary));
    for (std::size_t row = 0; row < rows; ++row) {
      hot_.push_back(row * kVocabulary + outputs_.below(kVocabulary));
      logits_[hot_.back()] = 1;
    }
    return std::span<const f32>(logits_).first(rows * kVocabulary);
  }

  const engine::StepTime step_;
  const f64 noise_;
  const i64 page_tokens_;
  SeededRandom random_;
  SeededRandom outputs_;
  backend::ExecutorLimits limits_;
  std::vector<f32> logits_;
  std::vector<std::size_t> hot_;  // the tokens that the last rows are for
};

EngineDevice::EngineDevice(const DeviceModel& model, u64 seed)
    : Device(model), world_(std::make_unique<World>(model, seed)) {
  TG_ASSERT(model.page_tokens > 0);
}

EngineDevice::~EngineDevice() = default;

void EngineDevice::start() {
  engine::EngineLimits limits;
  limits.running_max = model_.running_max;
  limits.step_tokens_max = model_.step_tokens_max;
  limits.step_target_ns = model_.step_target_ns;
  limits.step_longest_ns = model_.step_longest_ns;
  limits.prefix_cache = model_.block_tokens > 0;
  limits.funds_wait_ns = engine::kFundsWaitNs;
  engine_ = std::make_unique<engine::Engine>(*world_, matrix(), limits, *world_);
}

bool EngineDevice::submit(const DeviceJob& job) {
  TG_ASSERT(job.prompt_tokens > 0 && job.output_tokens > 0);
  if (job.prompt_tokens + job.output_tokens > world_->limits().context_max) return false;
  if (engine_ == nullptr) start();
  TG_ASSERT(jobs_.emplace(job.id, Job{.asked = job}).second);
  outside_.push_back(job.id);
  ++outside_count_;
  return true;
}

void EngineDevice::fill_queue() {
  i64 room = engine::EngineLimits{}.waiting_max - status().waiting - status().paused;
  for (; room > 0 && !outside_.empty(); outside_.pop_front()) {
    auto found = jobs_.find(outside_.front());
    if (found == jobs_.end()) continue;
    hand_over(found->second);
    --outside_count_;
    --room;
  }
}

void EngineDevice::hand_over(Job& job) {
  engine::EngineRequest request{.id = job.asked.id,
                                .prompt = tokens_of(job.asked, model_.block_tokens),
                                .max_tokens = job.asked.output_tokens,
                                .funded_tokens = job.asked.funded_tokens,
                                .is_funding_final = job.is_final};
  request.sampling.temperature = 0;
  request.priority = to_engine(job.asked.service);
  job.is_with_engine = true;
  Status taken = engine_->submit(std::move(request));
  TG_ASSERT(taken.ok());
}

// What it drew is told once; of its part of the step under way nothing is heard any more.
void EngineDevice::forget(u64 id) {
  auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  if (!found->second.is_with_engine) --outside_count_;
  drawn_.push_back({id, found->second.joules});
  jobs_.erase(found);
}

void EngineDevice::cancel(u64 id) {
  if (engine_ != nullptr) engine_->cancel(id);
  forget(id);
}

void EngineDevice::fund(u64 id, i64 output_tokens, bool is_final) {
  auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  Job& job = found->second;
  // The first token comes whatever is paid for.
  job.asked.funded_tokens = std::clamp<i64>(output_tokens, 1, job.asked.output_tokens);
  job.is_final = is_final;
  if (!job.is_with_engine) return;
  // It may have come to its end in the step under way.
  [[maybe_unused]] Status told = engine_->extend(id, job.asked.funded_tokens, is_final);
}

std::vector<std::pair<u64, i64>> EngineDevice::crash() {
  std::vector<std::pair<u64, i64>> lost;
  for (const auto& [id, job] : jobs_) lost.emplace_back(id, job.produced);
  std::sort(lost.begin(), lost.end());
  for (const auto& [id, produced_tokens] : lost) forget(id);
  outside_.clear();
  before_ = totals();
  result_ = {};
  is_stepping_ = false;
  engine_.reset();
  return lost;
}

i64 EngineDevice::waiting() const {
  engine::EngineStatus s = status();
  return std::min(s.waiting + s.paused + outside_count_, static_cast<i64>(jobs_.size()));
}

i64 EngineDevice::keys() const {
  engine::EngineStatus s = status();
  return (s.kv_pages_total - s.kv_pages_free) * model_.page_tokens;
}

EngineDevice::Totals EngineDevice::totals() const {
  engine::EngineStatus s = status();
  return {.computed = before_.computed + s.prompt_tokens - s.cached_tokens + s.recomputed_tokens,
          .cached = before_.cached + s.cached_tokens,
          .preemptions = before_.preemptions + s.preemptions};
}

i64 EngineDevice::computed_tokens() const {
  return static_cast<i64>(totals().computed);
}
i64 EngineDevice::cached_tokens() const {
  return static_cast<i64>(totals().cached);
}
i64 EngineDevice::preemptions() const {
  return static_cast<i64>(totals().preemptions);
}

i64 EngineDevice::begin_step(i64 now_ns) {
  TG_ASSERT(!is_stepping_);
  if (engine_ == nullptr) return 0;
  world_->now_ns = std::max(world_->now_ns, now_ns);
  world_->slowness = slowness_;
  fill_queue();
  result_ = {};
  // Steps that only put away what was cancelled take no time, and those who wait for funds take no
  // steps.
  while (engine_->has_work() && !engine_->is_paused()) {
    result_ = engine_->step();
    if (result_.wall_ns > 0 || ends_somebody()) break;
  }
  is_stepping_ = result_.wall_ns > 0 || ends_somebody();
  if (!is_stepping_) return 0;
  busy_ns_ += result_.wall_ns;
  steps_ += result_.wall_ns > 0 ? 1 : 0;
  draw();
  // Who ends without a step is told so all the same, a moment later.
  return std::max(kStepNsMin, result_.wall_ns);
}

bool EngineDevice::ends_somebody() const {
  return std::ranges::any_of(result_.finished, [this](const engine::FinishEvent& end) {
    return jobs_.contains(end.request);
  });
}

void EngineDevice::draw() {
  constexpr f64 kSeconds = 1e-9;
  f64 wall_ns = static_cast<f64>(result_.wall_ns);
  fleet::EnergySplit split =
      fleet::split_energy(model_.watts_busy * wall_ns * kSeconds, wall_ns, wall_ns,
                          std::max<i64>(1, static_cast<i64>(result_.parts.size())));
  for (const engine::StepPart& part : result_.parts) {
    auto found = jobs_.find(part.request);
    TG_ASSERT(found != jobs_.end());
    found->second.joules += split.joules(static_cast<f64>(part.wall_ns));
  }
}

void EngineDevice::end_step(std::vector<u64>& first, std::vector<DeviceFinish>& finished) {
  TG_ASSERT(is_stepping_);
  is_stepping_ = false;
  for (const engine::TokenEvent& token : result_.tokens) {
    auto found = jobs_.find(token.request);
    if (found != jobs_.end() && ++found->second.produced == 1) first.push_back(token.request);
  }
  for (const engine::FinishEvent& end : result_.finished) {
    if (!jobs_.contains(end.request)) continue;
    TG_ASSERT(end.reason == engine::Finish::kLength || end.reason == engine::Finish::kFunds);
    finished.push_back({end.request, end.usage.cached_tokens, end.usage.output_tokens});
    forget(end.request);
  }
  result_ = {};
}

i64 EngineDevice::produced(u64 id) const {
  auto found = jobs_.find(id);
  return found == jobs_.end() ? 0 : found->second.produced;
}

}  // namespace tg::sim
