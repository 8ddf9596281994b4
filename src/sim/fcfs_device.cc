#include "sim/fcfs_device.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "fleet/energy_split.h"
#include "sim/draw.h"

namespace tg::sim {

namespace {

constexpr i64 kStepNsMin = 1'000;
// Keys that admission leaves free per decoding request, for their outputs to grow into.
constexpr i64 kGrowthTokens = 64;
constexpr i64 kChunkMin = 64;
constexpr f64 kStreamsPart = 8;  // as in engine/sched/scheduler.cc

f64 real(i64 value) {
  return static_cast<f64>(value);
}

}  // namespace

FcfsDevice::FcfsDevice(const DeviceModel& model, u64 seed) : Device(model), random_(seed) {
  TG_ASSERT(model.step_tokens_max > 0);
  TG_ASSERT(model.running_max > 0);
}

bool FcfsDevice::submit(const DeviceJob& job) {
  waiting_.push_back(slot_of(job));
  return true;
}

u32 FcfsDevice::slot_of(const DeviceJob& job) {
  TG_ASSERT(job.prompt_tokens > 0 && job.output_tokens > 0);
  if (free_.empty()) {
    free_.push_back(static_cast<u32>(slots_.size()));
    slots_.emplace_back();
  }
  u32 slot = free_.back();
  free_.pop_back();
  slots_[slot] = Slot{.job = job, .phase = Phase::kWaiting, .to_compute = job.prompt_tokens};
  slots_[slot].serial = ++serial_;
  by_id_[job.id] = slot;
  return slot;
}

i64 FcfsDevice::held_by(const Slot& s) const {
  if (s.phase != Phase::kDecoding) return s.computed;
  return s.computed + static_cast<i64>(decode_steps_ - s.decode_first);
}

i64 FcfsDevice::produced(u64 id) const {
  auto found = by_id_.find(id);
  if (found == by_id_.end()) return 0;
  const Slot& s = slots_[found->second];
  if (s.phase != Phase::kDecoding) return s.produced;
  return s.produced + static_cast<i64>(decode_steps_ - s.decode_first);
}

// Of the time of a step's plan, what a prompt's chunk takes by itself.
f64 FcfsDevice::own_ns(const Slot& s, i64 tokens) const {
  const fleet::StepEstimate& e = model_.step;
  f64 computed = real(s.computed), chunk = real(tokens);
  f64 pairs = computed + chunk * (computed + chunk / 2);
  f64 rows = s.computed + tokens == s.to_compute ? 1 : 0;
  return chunk * e.ns_per_token + rows * e.ns_per_row + (computed + chunk) * e.ns_per_key +
         pairs * e.ns_per_pair;
}

// Who takes part in the step that was planned, and how much of it is whose.
void FcfsDevice::draw(f64 joules, f64 ns) {
  const fleet::StepEstimate& e = model_.step;
  i64 keys = keys_;
  for (u32 slot : prefilling_) keys -= slots_[slot].computed;
  f64 key_ns = e.ns_per_key + e.ns_per_pair;
  f64 own = real(decoding_) * (e.ns_per_token + e.ns_per_row) + real(keys + decoding_) * key_ns;
  for (const Chunk& c : chunks_) own += own_ns(slots_[c.slot], c.tokens);
  // Nobody's own: the step itself, and keys of prompts that found no room in it.
  fleet::EnergySplit split =
      fleet::split_energy(joules, ns, own, decoding_ + static_cast<i64>(chunks_.size()));
  f64 per_ns = split.joules_per_ns;
  for (const Chunk& c : chunks_)
    slots_[c.slot].joules += split.joules(own_ns(slots_[c.slot], c.tokens));
  even_ += split.joules(e.ns_per_token + e.ns_per_row + key_ns);
  per_key_ += per_ns * key_ns;
  key_steps_ += per_ns * key_ns * static_cast<f64>(decode_steps_);
}

// In step n it held as many keys as when it began to decode, and one more for each step since.
void FcfsDevice::settle(Slot& s) {
  if (s.phase != Phase::kDecoding) return;
  f64 keys_first = real(s.computed) - static_cast<f64>(s.decode_first);
  s.joules += even_ - s.even_first + keys_first * (per_key_ - s.per_key_first) + key_steps_ -
              s.key_steps_first;
}

// Gives back what it holds; the caller takes it out of its queue.
void FcfsDevice::release(u32 slot) {
  Slot& s = slots_[slot];
  settle(s);
  if (s.phase == Phase::kPrefilling || s.phase == Phase::kDecoding) {
    keys_ -= held_by(s);
    output_keys_ -= held_by(s) - std::min(held_by(s), s.job.prompt_tokens);
  }
  if (s.phase == Phase::kDecoding) --decoding_;
  s.phase = Phase::kFree;
}

void FcfsDevice::cancel(u64 id) {
  auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  u32 slot = found->second;
  Phase phase = slots_[slot].phase;
  release(slot);
  if (phase == Phase::kWaiting) std::erase(waiting_, slot);
  if (phase == Phase::kPrefilling) {
    std::erase(prefilling_, slot);
    std::erase_if(chunks_, [&](const Chunk& c) { return c.slot == slot; });
  }
  slots_[slot].serial = 0;
  drawn_.push_back({id, slots_[slot].joules});
  by_id_.erase(found);
  free_.push_back(slot);
}

// The first token comes whatever is paid for.
void FcfsDevice::fund(u64 id, i64 output_tokens, bool is_final) {
  auto found = by_id_.find(id);
  if (!is_final || found == by_id_.end()) return;
  Slot& s = slots_[found->second];
  i64 end = std::max({i64{1}, output_tokens, produced(id)});
  if (end >= s.job.output_tokens) return;
  s.job.output_tokens = end;
  if (s.phase == Phase::kDecoding) watch_end(found->second);
}

std::vector<std::pair<u64, i64>> FcfsDevice::crash() {
  std::vector<std::pair<u64, i64>> ids;
  for (const auto& [id, slot] : by_id_) ids.emplace_back(id, produced(id));
  std::sort(ids.begin(), ids.end());
  for (const auto& [id, produced_tokens] : ids) {
    Slot& s = slots_[by_id_.at(id)];
    settle(s);
    drawn_.push_back({id, s.joules});
  }
  slots_.clear();
  free_.clear();
  by_id_.clear();
  waiting_.clear();
  prefilling_.clear();
  due_.clear();
  chunks_.clear();
  cache_.clear();
  places_.clear();
  decoding_ = 0;
  keys_ = 0;
  output_keys_ = 0;
  is_stepping_ = false;
  return ids;
}

i64 FcfsDevice::match(const Slot& s) {
  i64 blocks = 0;
  for (u64 block : s.job.blocks) {
    if (!places_.contains(block)) break;
    ++blocks;
  }
  return std::min(blocks * model_.block_tokens, s.to_compute - 1);
}

void FcfsDevice::remember(std::span<const u64> blocks) {
  if (model_.block_tokens == 0) return;
  for (std::size_t b = blocks.size(); b-- > 0;) {
    auto [place, is_new] = places_.try_emplace(blocks[b]);
    if (is_new) {
      cache_.push_front(blocks[b]);
      place->second = cache_.begin();
    } else {
      cache_.splice(cache_.begin(), cache_, place->second);
    }
  }
  trim_cache();
}

// Prompts' keys of those who run are in the cache too, and used last; outputs' are not.
void FcfsDevice::trim_cache() {
  i64 most = (model_.keys_total - output_keys_) / std::max<i64>(1, model_.block_tokens);
  while (static_cast<i64>(cache_.size()) > std::max<i64>(0, most)) {
    places_.erase(cache_.back());
    cache_.pop_back();
  }
}

bool FcfsDevice::try_admit(u32 slot) {
  Slot& s = slots_[slot];
  i64 cached = match(s);
  i64 wanted = keys_ + s.to_compute + (decoding_ + 1) * kGrowthTokens;
  bool is_alone = decoding_ == 0 && prefilling_.empty();
  if (wanted > model_.keys_total && !is_alone) return false;
  s.phase = Phase::kPrefilling;
  s.computed = cached;
  if (s.produced == 0) {
    s.cached = cached;
    cached_tokens_ += cached;
  }
  keys_ += cached;
  prefilling_.push_back(slot);
  return true;
}

void FcfsDevice::admit() {
  // A prompt that is admitted holds its keys only as they are computed, but is promised them all.
  while (!waiting_.empty() && running() < model_.running_max) {
    i64 promised = 0;
    for (u32 slot : prefilling_) promised += slots_[slot].to_compute - slots_[slot].computed;
    // No more prompts than the next step has room for: who is not begun may go elsewhere.
    if (promised >= model_.step_tokens_max) return;
    keys_ += promised;
    bool fits = try_admit(waiting_.front());
    keys_ -= promised;
    if (!fits) return;
    waiting_.pop_front();
  }
}

void FcfsDevice::plan_chunks() {
  i64 room = model_.step_tokens_max - decoding_;
  if (model_.step_target_ns > 0 && decoding_ > 0 && model_.step.ns_per_token > 0) {
    f64 decode_ns = model_.step.ns_per_step +
                    real(decoding_) * (model_.step.ns_per_token + model_.step.ns_per_row) +
                    real(keys_) * model_.step.ns_per_key;
    f64 target = real(model_.step_target_ns);
    f64 longest = std::max(target, real(model_.step_longest_ns));
    f64 streams_ns = decode_ns - model_.step.ns_per_step;
    f64 length = std::clamp(kStreamsPart * streams_ns, target, longest);
    f64 fits = (length - decode_ns) / model_.step.ns_per_token;
    room = std::min(room, std::max(kChunkMin, static_cast<i64>(fits)));
  }
  chunks_.clear();
  for (u32 slot : prefilling_) {
    if (room <= 0) return;
    i64 tokens = std::min(room, slots_[slot].to_compute - slots_[slot].computed);
    chunks_.push_back({slot, tokens});
    room -= tokens;
  }
}

void FcfsDevice::preempt_last() {
  u32 last = static_cast<u32>(slots_.size());
  for (u32 i = 0; i < slots_.size(); ++i) {
    if (slots_[i].phase != Phase::kDecoding) continue;
    if (last == slots_.size() || slots_[i].serial > slots_[last].serial) last = i;
  }
  if (last == slots_.size()) return;
  Slot& s = slots_[last];
  i64 produced = s.produced + static_cast<i64>(decode_steps_ - s.decode_first);
  release(last);
  s.phase = Phase::kWaiting;
  s.produced = produced;
  s.to_compute = s.job.prompt_tokens + produced;
  s.computed = 0;
  s.serial = ++serial_;
  waiting_.push_front(last);
  ++preemptions_;
}

i64 FcfsDevice::begin_step(i64) {
  TG_ASSERT(!is_stepping_);
  while (keys_ + decoding_ > model_.keys_total && decoding_ > 1) preempt_last();
  admit();
  if (running() == 0) return 0;
  plan_chunks();
  const fleet::StepEstimate& e = model_.step;
  i64 tokens = decoding_;
  i64 rows = decoding_;
  f64 keys = real(keys_ + decoding_);
  f64 pairs = real(keys_ + decoding_);
  for (const Chunk& c : chunks_) {
    const Slot& s = slots_[c.slot];
    tokens += c.tokens;
    rows += s.computed + c.tokens == s.to_compute ? 1 : 0;
    keys += real(c.tokens);
    pairs += real(c.tokens) * (real(s.computed) + real(c.tokens) / 2);
  }
  f64 ns = e.ns_per_step + e.ns_per_token * real(tokens) + e.ns_per_row * real(rows) +
           e.ns_per_key * keys + e.ns_per_pair * pairs;
  f64 planned_ns = ns;
  if (model_.noise > 0) ns *= std::exp(model_.noise * normal(random_));
  is_stepping_ = true;
  i64 wall = std::max(kStepNsMin, static_cast<i64>(ns * slowness_));
  busy_ns_ += wall;
  ++steps_;
  draw(model_.watts_busy * real(wall) * 1e-9, planned_ns);
  return wall;
}

void FcfsDevice::start_decoding(u32 slot) {
  Slot& s = slots_[slot];
  s.phase = Phase::kDecoding;
  s.decode_first = decode_steps_;
  s.even_first = even_;
  s.per_key_first = per_key_;
  s.key_steps_first = key_steps_;
  ++decoding_;
  watch_end(slot);
}

void FcfsDevice::watch_end(u32 slot) {
  const Slot& s = slots_[slot];
  due_.push_back(
      {s.decode_first + static_cast<u64>(s.job.output_tokens - s.produced), slot, s.serial});
  std::push_heap(due_.begin(), due_.end());
}

void FcfsDevice::end_step(std::vector<u64>& first, std::vector<DeviceFinish>& finished) {
  TG_ASSERT(is_stepping_);
  is_stepping_ = false;
  ++decode_steps_;
  keys_ += decoding_;
  output_keys_ += decoding_;
  for (const Chunk& c : chunks_) {
    Slot& s = slots_[c.slot];
    s.computed += c.tokens;
    keys_ += c.tokens;
    computed_tokens_ += c.tokens;
    if (s.computed < s.to_compute) continue;
    std::erase(prefilling_, c.slot);
    output_keys_ += s.to_compute - std::min(s.to_compute, s.job.prompt_tokens);
    remember(s.job.blocks);
    s.produced += 1;
    if (!s.has_first) first.push_back(s.job.id);
    s.has_first = true;
    start_decoding(c.slot);
  }
  chunks_.clear();
  while (!due_.empty() && due_.front().at <= decode_steps_) {
    Due due = due_.front();
    std::pop_heap(due_.begin(), due_.end());
    due_.pop_back();
    if (slots_[due.slot].serial != due.serial) continue;
    Slot& s = slots_[due.slot];
    finished.push_back({s.job.id, s.cached, s.job.output_tokens});
    by_id_.erase(s.job.id);
    release(due.slot);
    drawn_.push_back({s.job.id, s.joules});
    s.serial = 0;
    free_.push_back(due.slot);
  }
  trim_cache();
}

}  // namespace tg::sim
