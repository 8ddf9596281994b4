#include "backend/bound_executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "backend/entry.h"
#include "backend/packed_file.h"
#include "backend/param_block.h"
#include "backend/step_check.h"
#include "backend/weight_uses.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"

namespace tg::backend {

namespace {

// Rounds up to the device's alignment.
u64 align_up(u64 bytes, u64 alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

// A program's own bounds win over the asked-for limits.
ExecutorLimits effective_limits(const ExecutorLimits& asked, const isa::Bounds& bounds,
                                const tg_props& props) {
  ExecutorLimits limits = asked;
  limits.tokens_max = std::min(asked.tokens_max, bounds.tokens);
  limits.sequences_max = std::min(asked.sequences_max, bounds.sequences);
  limits.rows_max = std::min(asked.rows_max, bounds.rows);
  limits.context_max = std::min(asked.context_max, bounds.context);
  if (limits.threads <= 0) limits.threads = static_cast<i32>(std::thread::hardware_concurrency());
  i32 most = static_cast<i32>(props.max_threads);
  limits.threads = std::max(1, most > 0 ? std::min(limits.threads, most) : limits.threads);
  return limits;
}

Status check_limits(const ExecutorLimits& limits, i64 page_tokens) {
  if (limits.tokens_max < 1 || limits.sequences_max < 1 || limits.rows_max < 1 ||
      limits.context_max < 1) {
    return Error{Code::kInvalid, "executor: a limit below 1"};
  }
  // Slots are i32: page * page_tokens + offset.
  constexpr i64 kSlotsMax = (i64{1} << 31) - 1;
  i64 most = page_tokens > 0 ? kSlotsMax / page_tokens : 0;
  if (page_tokens > 0 && (limits.kv_pages < 1 || limits.kv_pages > most)) {
    return Error{Code::kInvalid, "executor: kv_pages " + std::to_string(limits.kv_pages)};
  }
  // Without a cache no page is anything, however many are granted.
  i64 left = page_tokens > 0 ? most - limits.kv_pages : kSlotsMax;
  if (limits.swap_pages < 0 || limits.swap_pages > left) {
    return Error{Code::kInvalid, "executor: swap_pages " + std::to_string(limits.swap_pages)};
  }
  return {};
}

class BoundExecutor final : public Executor {
 public:
  BoundExecutor(std::unique_ptr<Device> device, const isa::VerifiedProgram& program)
      : device_(std::move(device)), program_(program) {}
  ~BoundExecutor() override {
    if (limits_.budget != nullptr) limits_.budget->give_back(memory_taken_);
  }

  Status prepare(const isa::WeightTable& weights, const ExecutorLimits& asked,
                 const PackedFile& packed);

  Result<std::span<const f32>> run(const StepBatch& batch) override;
  std::size_t results() const override { return results_.size(); }
  ResultView result(std::size_t i) const override;
  std::span<const u64> expert_hits() const override { return expert_hits_; }
  std::size_t entry() const override { return entry_; }
  std::span<const u64> op_times() override;
  Status copy_pages(std::span<const PageCopy> copies) override;
  i64 vocabulary() const override { return vocabulary_; }
  i64 page_tokens() const override { return page_tokens_; }
  i64 page_bytes() const override { return page_bytes_; }
  const ExecutorLimits& limits() const override { return limits_; }
  std::string device_name() const override { return device_->props().name; }

 private:
  // A result of the entries, which all have the same; its place in the output buffer.
  struct ResultPlace {
    isa::DType dtype{};
    isa::Dim rows;
    i64 columns = 0;
    u64 offset = 0;
  };

  const tg_backend& table() const { return device_->table(); }
  u64 alignment() const { return std::max<u64>(device_->props().alignment, sizeof(i32)); }
  i64 evaluate(const isa::Dim& dim, i64 tokens, i64 sequences, i64 rows) const;

  Status find_pages();
  Status find_results();
  // allocate() within the quota.
  Result<OwnedBuf> take(u64 bytes, u32 kind, const char* what);
  Status place_weights(const isa::WeightTable& weights, const PackedFile& packed);
  Status pack_weights(std::span<const tg_wdesc> list, const PackedFile& packed);
  Digest packed_key(std::span<const tg_wdesc> list, const Digest& source) const;
  Result<tg_wdesc> describe(u32 symbol, u32 layer, u16 uses, const isa::WeightTable& weights) const;
  Status place_cache();
  // A layer's part of a page, in the cache or in the host's memory beside it.
  struct PagePlace {
    tg_buf buf;
    u64 offset;
  };
  PagePlace page_at(const tg_kvplace& layer, u64 offset_in_page, i32 page) const;
  Status copy_page(const PageCopy& c);
  Status allocate_buffers();
  Status bind(Entry& entry);
  tg_step step_of(const StepBatch& batch) const;
  void count_experts(const Entry& entry);

  // In order of making: execs are freed first, the device last.
  std::unique_ptr<Device> device_;
  const isa::VerifiedProgram& program_;
  ExecutorLimits limits_;
  std::unique_ptr<StepChecker> checker_;
  i64 vocabulary_ = 0;
  i64 page_tokens_ = 0;
  i64 page_bytes_ = 0;
  ParamBlock block_;
  std::vector<tg_wplace> weight_places_;
  std::vector<tg_kvplace> kv_places_;
  OwnedBuf weights_, kv_, swap_, params_, activations_, workspace_, output_;
  std::vector<Entry> entries_;
  u64 memory_taken_ = 0;
  u8* params_host_ = nullptr;
  const u8* output_host_ = nullptr;
  std::vector<ResultPlace> results_;
  // Of the last run.
  std::size_t entry_ = 0;
  std::vector<u64> op_times_;
  i64 tokens_ = 0, sequences_ = 0, rows_ = 0;
  std::vector<u64> expert_hits_;
};

Status BoundExecutor::prepare(const isa::WeightTable& weights, const ExecutorLimits& asked,
                              const PackedFile& packed) {
  limits_ = effective_limits(asked, program_.program().bounds, device_->props());
  TG_TRY(find_pages());
  TG_TRY(check_limits(limits_, page_tokens_));
  for (const isa::Function& function : program_.program().functions) {
    if (function.when_fresh && !limits_.fresh_entry) continue;
    TG_ASSIGN(Entry entry, plan_entry(*device_, program_, function, limits_));
    entries_.push_back(std::move(entry));
  }
  TG_TRY(find_results());
  TG_ASSIGN(StepRules rules, step_rules(program_));
  block_ = make_param_block(limits_, {.page_tokens = page_tokens_,
                                      .position_rows = rules.position_rows,
                                      .takes_samples = rules.takes_samples,
                                      .alignment = alignment()});
  checker_ = std::make_unique<StepChecker>(limits_, page_tokens_, std::move(rules));
  expert_hits_.resize(program_.cost().experts.size());
  TG_TRY(place_weights(weights, packed));
  TG_TRY(place_cache());
  TG_TRY(allocate_buffers());
  for (Entry& entry : entries_) TG_TRY(bind(entry));
  return {};
}

i64 BoundExecutor::evaluate(const isa::Dim& dim, i64 tokens, i64 sequences, i64 rows) const {
  return dim.constant + dim.t * tokens + dim.s * sequences + dim.r * rows;
}

Status BoundExecutor::find_pages() {
  for (const isa::KvDecl& kv : program_.program().kv) {
    if (kv.is_state) return Error{Code::kUnsupported, "executor: states (profile STATE)"};
    if (page_tokens_ != 0 && page_tokens_ != kv.page_tokens) {
      return Error{Code::kUnsupported, "executor: caches with pages of " +
                                           std::to_string(page_tokens_) + " and of " +
                                           std::to_string(kv.page_tokens) + " tokens"};
    }
    page_tokens_ = kv.page_tokens;
  }
  return {};
}

// Floats, which the ABI hands over as f32, or i32; in rows of a constant width.
Status BoundExecutor::find_results() {
  const isa::FlatProgram& flat = entries_[0].flat;
  u64 offset = 0;
  for (u32 value : flat.results) {
    const isa::Type& type = flat.values[value];
    bool is_int = type.dtype == isa::DType::kI32;
    bool is_row = type.dims.size() == 1;
    isa::Dim columns = is_row ? isa::Dim{.constant = 1} : type.dims.back();
    if (type.dims.size() > 2 || columns != isa::Dim{.constant = columns.constant}) {
      return Error{Code::kUnsupported,
                   "executor: a result of main is not in rows of a constant width"};
    }
    results_.push_back({.dtype = is_int ? isa::DType::kI32 : isa::DType::kF32,
                        .rows = type.dims[0],
                        .columns = columns.constant,
                        .offset = offset});
    i64 rows = evaluate(type.dims[0], limits_.tokens_max, limits_.sequences_max, limits_.rows_max);
    offset += align_up(static_cast<u64>(rows * columns.constant) * 4, alignment());
  }
  if (results_.empty()) return Error{Code::kUnsupported, "executor: main has no result"};
  vocabulary_ = results_[0].columns;
  return {};
}

Result<tg_wdesc> BoundExecutor::describe(u32 symbol, u32 layer, u16 uses,
                                         const isa::WeightTable& weights) const {
  const isa::WeightDecl& weight = program_.program().weights[symbol];
  std::string label = "weight $" + weight.name + "[" + std::to_string(layer) + "]";
  if (symbol >= weights.by_symbol.size() || layer >= weights.by_symbol[symbol].size()) {
    return Error{Code::kNotFound, label + " is missing"};
  }
  std::span<const u8> bytes = weights.by_symbol[symbol][layer];
  tg_wdesc out{.size = sizeof(tg_wdesc),
               .symbol = symbol,
               .layer = layer,
               .dtype = static_cast<u8>(weight.codec),
               .rank = static_cast<u8>(weight.dims.size()),
               .uses = uses,
               .ref_bytes = bytes.data(),
               .ref_size = bytes.size()};
  i64 rows = 1;
  for (std::size_t i = 0; i < weight.dims.size(); ++i) {
    out.dims[i] = weight.dims[i];
    if (i + 1 < weight.dims.size()) rows *= weight.dims[i];
  }
  u64 expected = static_cast<u64>(rows * isa::row_bytes(weight.codec, weight.dims.back()));
  if (bytes.size() != expected) {
    return Error{Code::kCorrupt, label + " has " + std::to_string(bytes.size()) + " bytes, not " +
                                     std::to_string(expected)};
  }
  return out;
}

Result<OwnedBuf> BoundExecutor::take(u64 bytes, u32 kind, const char* what) {
  if (limits_.memory_max > 0 && bytes > limits_.memory_max - memory_taken_) {
    return Error{Code::kUnavailable,
                 std::string("executor: ") + what + " of " + std::to_string(bytes) +
                     " bytes after " + std::to_string(memory_taken_) +
                     " exceed the model's quota of " + std::to_string(limits_.memory_max)};
  }
  if (limits_.budget != nullptr && !limits_.budget->take(bytes)) {
    return Error{Code::kUnavailable, std::string("executor: ") + what + " of " +
                                         std::to_string(bytes) + " bytes, with " +
                                         std::to_string(limits_.budget->taken()) +
                                         " taken by all models, exceed their common quota of " +
                                         std::to_string(limits_.budget->bytes_max())};
  }
  memory_taken_ += bytes;
  return allocate(*device_, bytes, kind);
}

// One arena; first all sizes, then the bytes.
Status BoundExecutor::place_weights(const isa::WeightTable& weights, const PackedFile& packed) {
  std::vector<tg_wdesc> list;
  TG_ASSIGN(std::vector<std::vector<u16>> uses, weight_uses(program_));
  u64 total = 0;
  for (u32 symbol = 0; symbol < uses.size(); ++symbol) {
    for (u32 layer = 0; layer < uses[symbol].size(); ++layer) {
      if (uses[symbol][layer] == 0) continue;
      TG_ASSIGN(tg_wdesc weight, describe(symbol, layer, uses[symbol][layer], weights));
      u64 bytes = 0;
      TG_TRY(device_->check(table().pack_size(device_->handle(), &weight, &bytes), "pack_size"));
      list.push_back(weight);
      weight_places_.push_back({.symbol = symbol, .layer = layer, .offset = total, .bytes = bytes});
      total += align_up(bytes, alignment());
    }
  }
  // A device that counts threads computes on the host's cores, in the host's memory.
  bool is_kept = !packed.path.empty() && device_->props().max_threads > 0 && total > 0;
  TG_ASSIGN(weights_, take(total, is_kept ? TG_MEM_HOST : TG_MEM_DEVICE, "weights"));
  if (!is_kept) return pack_weights(list, packed);
  void* host = nullptr;
  TG_TRY(device_->check(table().mem_map(weights_.get(), &host), "mem_map"));
  std::span<u8> arena(static_cast<u8*>(host), total);
  Digest key = packed_key(list, packed.source);
  if (read_packed(packed.path, key, arena, limits_.threads)) return {};
  TG_TRY(pack_weights(list, packed));
  Status written = write_packed(packed.path, key, arena);
  if (!written.ok())
    log_info("backend", "packed weights are not kept: {}", written.error().message);
  return {};
}

Status BoundExecutor::pack_weights(std::span<const tg_wdesc> list, const PackedFile& packed) {
  u64 total = 0;
  u64 done = 0;
  for (const tg_wdesc& weight : list) total += weight.ref_size;
  for (std::size_t i = 0; i < list.size(); ++i) {
    tg_status status =
        table().pack(device_->stream(), &list[i], weights_.get(), weight_places_[i].offset);
    TG_TRY(device_->check(status, "pack"));
    done += list[i].ref_size;
    if (packed.progress) packed.progress(done, total);
  }
  return {};
}

// Everything the arena's bytes follow from: who packed, what, and where each weight lies. Of the
// weights' own bytes only a sample is read; `source` answers for the rest.
Digest BoundExecutor::packed_key(std::span<const tg_wdesc> list, const Digest& source) const {
  constexpr std::size_t kSample = 4'096;
  Sha256 hash;
  auto add = [&](const auto& value) {
    hash.update({reinterpret_cast<const u8*>(&value), sizeof(value)});
  };
  hash.update(as_bytes(fmt::format("{} {} {}", table().vendor, table().name, table().version)));
  hash.update(source);
  for (std::size_t i = 0; i < list.size(); ++i) {
    const tg_wdesc& w = list[i];
    for (u64 number : {u64{w.symbol}, u64{w.layer}, u64{w.dtype}, u64{w.rank}, u64{w.uses},
                       w.ref_size, weight_places_[i].offset, weight_places_[i].bytes})
      add(number);
    add(w.dims);
    std::span<const u8> bytes(static_cast<const u8*>(w.ref_bytes), w.ref_size);
    hash.update(bytes.first(std::min(kSample, bytes.size())));
    hash.update(bytes.last(std::min(kSample, bytes.size())));
  }
  return hash.finish();
}

// Every layer has its own run of kv_pages pages; page p of a sequence is page p of each.
Status BoundExecutor::place_cache() {
  u64 total = 0;
  const std::vector<isa::KvDecl>& caches = program_.program().kv;
  for (u32 symbol = 0; symbol < caches.size(); ++symbol) {
    const isa::KvDecl& kv = caches[symbol];
    tg_kvdesc desc{.size = sizeof(tg_kvdesc),
                   .heads = kv.heads,
                   .dk = kv.dk,
                   .dv = kv.dv,
                   .page_tokens = kv.page_tokens,
                   .format = static_cast<u8>(kv.format),
                   .latent = kv.latent};
    tg_kv_layout layout{.size = sizeof(tg_kv_layout)};
    TG_TRY(device_->check(table().kv_layout(device_->handle(), &desc, &layout), "kv_layout"));
    for (u32 layer = 0; layer < std::max<u32>(kv.layers, 1); ++layer) {
      total = align_up(total, std::max<u64>(layout.align, alignment()));
      kv_places_.push_back({.symbol = symbol,
                            .layer = layer,
                            .offset = total,
                            .page_bytes = layout.page_bytes,
                            .pages = static_cast<u32>(limits_.kv_pages)});
      total += layout.page_bytes * static_cast<u64>(limits_.kv_pages);
      page_bytes_ += static_cast<i64>(layout.page_bytes);
    }
  }
  TG_ASSIGN(kv_, take(total, TG_MEM_DEVICE, "a cache"));
  if (limits_.swap_pages == 0) return {};
  u64 swap = static_cast<u64>(page_bytes_) * static_cast<u64>(limits_.swap_pages);
  TG_ASSIGN(swap_, take(swap, TG_MEM_HOST, "swapped pages"));
  return {};
}

// Entries never run at the same time: they share all buffers.
Status BoundExecutor::allocate_buffers() {
  u64 activations = 0, workspace = 0, output = 0;
  for (const Entry& entry : entries_) {
    activations = std::max(activations, entry.info.activations);
    workspace = std::max(workspace, entry.workspace_bytes);
    output = std::max(output, entry.info.output);
  }
  TG_ASSIGN(params_, take(block_.layout.bytes, TG_MEM_HOST, "step parameters"));
  TG_ASSIGN(activations_, take(activations, TG_MEM_DEVICE, "activations"));
  TG_ASSIGN(workspace_, take(workspace, TG_MEM_DEVICE, "a workspace"));
  TG_ASSIGN(output_, take(output, TG_MEM_HOST, "results"));
  void* params = nullptr;
  void* results = nullptr;
  TG_TRY(device_->check(table().mem_map(params_.get(), &params), "mem_map"));
  TG_TRY(device_->check(table().mem_map(output_.get(), &results), "mem_map"));
  params_host_ = static_cast<u8*>(params);
  output_host_ = static_cast<const u8*>(results);
  return {};
}

Status BoundExecutor::bind(Entry& entry) {
  tg_bindings bindings{.size = sizeof(tg_bindings),
                       .n_weights = static_cast<u32>(weight_places_.size()),
                       .n_kv = static_cast<u32>(kv_places_.size()),
                       .weights = weights_.get(),
                       .weight_places = weight_places_.data(),
                       .kv = kv_.get(),
                       .kv_places = kv_places_.data(),
                       .params = params_.get(),
                       .layout = block_.layout,
                       .activations = activations_.get(),
                       .workspace = workspace_.get(),
                       .output = output_.get(),
                       .tree = block_.tree,
                       .samples = block_.samples,
                       .lists = block_.lists};
  tg_exec exec = nullptr;
  TG_TRY(device_->check(table().bind(entry.plan.get(), &bindings, &exec), "bind"));
  entry.exec = OwnedExec(exec, {&table()});
  return {};
}

tg_step BoundExecutor::step_of(const StepBatch& batch) const {
  i32 context = 0;
  for (std::size_t s = 0; s < batch.past.size(); ++s) {
    context = std::max(context, batch.past[s] + batch.cu[s + 1] - batch.cu[s]);
  }
  return {.size = sizeof(tg_step),
          .T = static_cast<u32>(batch.ids.size()),
          .S = static_cast<u32>(batch.past.size()),
          .R = static_cast<u32>(batch.rows.size()),
          .bound_T = static_cast<u32>(limits_.tokens_max),
          .bound_S = static_cast<u32>(limits_.sequences_max),
          .bound_context = static_cast<u32>(context)};
}

void BoundExecutor::count_experts(const Entry& entry) {
  std::fill(expert_hits_.begin(), expert_hits_.end(), 0);
  const u8* counts = output_host_ + entry.info.routes;
  for (std::size_t i = 0; i < entry.route_lines.size(); ++i) {
    u32 hits = 0;
    std::memcpy(&hits, counts + 4 * i, sizeof(hits));
    if (entry.route_lines[i] < expert_hits_.size()) expert_hits_[entry.route_lines[i]] += hits;
  }
}

ResultView BoundExecutor::result(std::size_t i) const {
  TG_ASSERT(i < results_.size());
  const ResultPlace& place = results_[i];
  return {.dtype = place.dtype,
          .rows = evaluate(place.rows, tokens_, sequences_, rows_),
          .columns = place.columns,
          .data = output_host_ + place.offset};
}

Result<std::span<const f32>> BoundExecutor::run(const StepBatch& batch) {
  TG_TRY(checker_->check(batch));
  tokens_ = static_cast<i64>(batch.ids.size());
  sequences_ = static_cast<i64>(batch.past.size());
  rows_ = static_cast<i64>(batch.rows.size());
  std::fill(expert_hits_.begin(), expert_hits_.end(), 0);
  if (batch.past.empty()) return std::span<const f32>();
  bool is_fresh =
      std::all_of(batch.past.begin(), batch.past.end(), [](i32 cached) { return cached == 0; });
  entry_ = is_fresh && entries_.size() > 1 ? 1 : 0;
  const Entry& entry = entries_[entry_];
  fill_params(block_, batch, params_host_);
  tg_step step = step_of(batch);
  TG_TRY(device_->check(table().run(entry.exec.get(), 0, entry.segments, &step, device_->stream()),
                        "run"));
  TG_TRY(device_->check(table().stream_sync(device_->stream()), "stream_sync"));
  count_experts(entry);
  if (results_[0].dtype != isa::DType::kF32) return std::span<const f32>();
  return result(0).floats();
}

std::span<const u64> BoundExecutor::op_times() {
  if (table().segment_times == nullptr) return {};
  const Entry& entry = entries_[entry_];
  op_times_.resize(entry.segments);
  tg_status status =
      table().segment_times(entry.exec.get(), op_times_.data(), static_cast<u32>(entry.segments));
  return status == TG_OK ? std::span<const u64>(op_times_) : std::span<const u64>();
}

Status BoundExecutor::copy_pages(std::span<const PageCopy> copies) {
  for (const PageCopy& c : copies) {
    for (i32 page : {c.from, c.to}) {
      if (page < 0 || page >= limits_.kv_pages + limits_.swap_pages) {
        return Error{Code::kInvalid, "executor: copy of page " + std::to_string(page) + " of " +
                                         std::to_string(limits_.kv_pages + limits_.swap_pages)};
      }
    }
  }
  for (const PageCopy& c : copies) {
    if (c.from != c.to) TG_TRY(copy_page(c));
  }
  return device_->check(table().stream_sync(device_->stream()), "stream_sync");
}

BoundExecutor::PagePlace BoundExecutor::page_at(const tg_kvplace& layer, u64 offset_in_page,
                                                i32 page) const {
  u64 number = static_cast<u64>(page);
  u64 pages = static_cast<u64>(limits_.kv_pages);
  if (number < pages) return {kv_.get(), layer.offset + number * layer.page_bytes};
  return {swap_.get(), (number - pages) * static_cast<u64>(page_bytes_) + offset_in_page};
}

Status BoundExecutor::copy_page(const PageCopy& c) {
  u64 offset = 0;
  for (const tg_kvplace& layer : kv_places_) {
    PagePlace from = page_at(layer, offset, c.from);
    PagePlace to = page_at(layer, offset, c.to);
    if (from.buf == to.buf) {
      tg_pagecopy copy{.size = sizeof(tg_pagecopy),
                       .buf = to.buf,
                       .from = from.offset,
                       .to = to.offset,
                       .bytes = layer.page_bytes};
      TG_TRY(device_->check(table().kv_copy(device_->stream(), &copy, 1), "kv_copy"));
    } else {
      tg_status status = table().copy(device_->stream(), to.buf, to.offset, from.buf, from.offset,
                                      layer.page_bytes);
      TG_TRY(device_->check(status, "copy"));
    }
    offset += layer.page_bytes;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Executor>> bind_executor(const Target& target,
                                                const isa::VerifiedProgram& program,
                                                const isa::WeightTable& weights,
                                                const ExecutorLimits& limits,
                                                const PackedFile& packed) {
  TG_ASSIGN(std::unique_ptr<Device> device, Device::open(target.library, target.device));
  std::unique_ptr<BoundExecutor> executor =
      std::make_unique<BoundExecutor>(std::move(device), program);
  TG_TRY(executor->prepare(weights, limits, packed));
  return std::unique_ptr<Executor>(std::move(executor));
}

}  // namespace tg::backend
