#include "backend/bound_executor.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "backend/coverage.h"
#include "backend/step_check.h"
#include "backend/weight_uses.h"
#include "base/assert.h"
#include "base/log.h"

namespace tg::backend {

namespace {

// Rounds up to the device's alignment.
u64 align_up(u64 bytes, u64 alignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

// An array of structs whose writer may know a longer one: elements are `size` bytes apart (R2).
template <typename T>
Result<std::vector<T>> read_array(const T* first, u32 count, const char* what) {
  std::vector<T> out(count);
  if (count == 0) return out;
  u32 stride = first->size;
  if (stride < sizeof(T)) return Error{Code::kInvalid, std::string("backend: short ") + what};
  for (u32 i = 0; i < count; ++i) {
    const u8* at = reinterpret_cast<const u8*>(first) + std::size_t{i} * stride;
    std::memcpy(&out[i], at, sizeof(T));
  }
  return out;
}

void log_from_backend(int level, const char* line) {
  if (level >= 2) {
    log_warn("backend", "{}", line);
  } else {
    log_info("backend", "{}", line);
  }
}

const u8* program_bytes(void* handle, u64* bytes) {
  const isa::VerifiedProgram& program = *static_cast<const isa::VerifiedProgram*>(handle);
  *bytes = program.bytes().size();
  return program.bytes().data();
}

constexpr tg_host kHost = {
    .size = sizeof(tg_host), .log = log_from_backend, .program = program_bytes};

// Where the arrays of a step lie in its parameter block.
tg_param_layout make_layout(const ExecutorLimits& limits, i64 page_tokens, u64 alignment) {
  i64 pages = page_tokens == 0 ? 0 : (limits.context_max + page_tokens - 1) / page_tokens;
  tg_param_layout layout{.size = sizeof(tg_param_layout)};
  auto take = [&layout, alignment](i64 count) {
    u64 offset = layout.bytes;
    layout.bytes += align_up(static_cast<u64>(count) * sizeof(i32), alignment);
    return offset;
  };
  layout.ids = take(limits.tokens_max);
  layout.pos = take(limits.tokens_max);
  layout.rows = take(limits.rows_max);
  layout.cu = take(limits.sequences_max + 1);
  layout.past = take(limits.sequences_max);
  layout.page_begin = take(limits.sequences_max + 1);
  layout.pages = take(limits.sequences_max * pages);
  layout.slots = take(limits.tokens_max);
  return layout;
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
  return {};
}

class BoundExecutor final : public Executor {
 public:
  BoundExecutor(std::unique_ptr<Device> device, const isa::VerifiedProgram& program)
      : device_(std::move(device)), program_(program) {}

  Status prepare(const isa::WeightTable& weights, const ExecutorLimits& asked);

  Result<std::span<const f32>> run(const StepBatch& batch) override;
  Status copy_pages(std::span<const PageCopy> copies) override;
  i64 vocabulary() const override { return vocabulary_; }
  i64 page_tokens() const override { return page_tokens_; }
  i64 page_bytes() const override { return page_bytes_; }
  const ExecutorLimits& limits() const override { return limits_; }
  std::string device_name() const override { return device_->props().name; }

 private:
  const tg_backend& table() const { return device_->table(); }
  u64 alignment() const { return std::max<u64>(device_->props().alignment, sizeof(i32)); }

  Status find_shapes();
  Status make_plan();
  Status pack_weights(const isa::WeightTable& weights);
  Result<tg_wdesc> describe(u32 symbol, u32 layer, u16 uses, const isa::WeightTable& weights) const;
  Status place_cache();
  Status bind();
  void fill(const StepBatch& batch);

  // In order of making: the exec is freed first, the device last.
  std::unique_ptr<Device> device_;
  const isa::VerifiedProgram& program_;
  isa::FlatProgram flat_;
  ExecutorLimits limits_;
  std::unique_ptr<StepChecker> checker_;
  i64 vocabulary_ = 0;
  i64 page_tokens_ = 0;
  i64 page_bytes_ = 0;
  u32 segments_ = 0;
  u64 workspace_bytes_ = 0;
  tg_plan_info info_{};
  tg_param_layout layout_{};
  std::vector<tg_wplace> weight_places_;
  std::vector<tg_kvplace> kv_places_;
  OwnedBuf weights_, kv_, params_, activations_, workspace_, output_;
  OwnedPlan plan_;
  OwnedExec exec_;
  u8* params_host_ = nullptr;
  const f32* logits_ = nullptr;
};

Status BoundExecutor::prepare(const isa::WeightTable& weights, const ExecutorLimits& asked) {
  TG_ASSIGN(flat_, program_.flatten("main"));
  limits_ = effective_limits(asked, program_.program().bounds, device_->props());
  TG_TRY(find_shapes());
  TG_TRY(check_limits(limits_, page_tokens_));
  TG_ASSIGN(std::vector<IndexBound> bounds, index_bounds(program_.program(), flat_));
  checker_ = std::make_unique<StepChecker>(limits_, page_tokens_, std::move(bounds));
  TG_TRY(make_plan());
  TG_TRY(pack_weights(weights));
  TG_TRY(place_cache());
  return bind();
}

// What the executor's own promises need of the program: f32 logits [R, V], one page size.
Status BoundExecutor::find_shapes() {
  Error wrong{Code::kUnsupported, "executor: main does not return logits f32[R,V]"};
  if (flat_.results.size() != 1) return wrong;
  const isa::Type& logits = flat_.values[flat_.results[0]];
  if (logits.dtype != isa::DType::kF32 || logits.dims.size() != 2) return wrong;
  vocabulary_ = logits.dims[1].constant;
  if (logits.dims != std::vector<isa::Dim>{{.r = 1}, {.constant = vocabulary_}}) return wrong;
  for (const isa::KvDecl& kv : program_.program().kv) {
    if (page_tokens_ != 0 && page_tokens_ != kv.page_tokens) {
      return Error{Code::kUnsupported, "executor: caches with pages of " +
                                           std::to_string(page_tokens_) + " and of " +
                                           std::to_string(kv.page_tokens) + " tokens"};
    }
    page_tokens_ = kv.page_tokens;
  }
  return {};
}

Status BoundExecutor::make_plan() {
  const tg_row* first = nullptr;
  u32 count = 0;
  TG_TRY(device_->check(table().rows(device_->handle(), &first, &count), "rows"));
  TG_ASSIGN(std::vector<tg_row> rows, read_array(first, count, "capability row"));
  TG_TRY(check_coverage(program_.program(), flat_, rows,
                        {.tokens = limits_.tokens_max, .context = limits_.context_max}));
  tg_planopts options{.size = sizeof(tg_planopts),
                      .threads = static_cast<u32>(limits_.threads),
                      .function = "main",
                      .max_tokens = static_cast<u32>(limits_.tokens_max),
                      .max_sequences = static_cast<u32>(limits_.sequences_max),
                      .max_rows = static_cast<u32>(limits_.rows_max),
                      .max_context = static_cast<u32>(limits_.context_max)};
  tg_plan plan = nullptr;
  void* handle = const_cast<isa::VerifiedProgram*>(&program_);
  TG_TRY(device_->check(table().plan(device_->handle(), &kHost, handle, &options, &plan), "plan"));
  plan_ = OwnedPlan(plan, {&table()});
  info_.size = sizeof(info_);
  TG_TRY(device_->check(table().plan_info(plan, &info_), "plan_info"));
  TG_ASSIGN(std::vector<tg_segment> segments,
            read_array(info_.segments, info_.n_segments, "segment"));
  TG_TRY(check_segments(flat_, segments));
  segments_ = info_.n_segments;
  for (const tg_segment& s : segments) workspace_bytes_ = std::max(workspace_bytes_, s.workspace);
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

// One arena; first all sizes, then the bytes.
Status BoundExecutor::pack_weights(const isa::WeightTable& weights) {
  std::vector<tg_wdesc> list;
  std::vector<std::vector<u16>> uses = weight_uses(program_.program(), flat_);
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
  TG_ASSIGN(weights_, allocate(*device_, total, TG_MEM_DEVICE));
  for (std::size_t i = 0; i < list.size(); ++i) {
    tg_status status =
        table().pack(device_->stream(), &list[i], weights_.get(), weight_places_[i].offset);
    TG_TRY(device_->check(status, "pack"));
  }
  return {};
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
                   .format = static_cast<u8>(kv.format)};
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
  TG_ASSIGN(kv_, allocate(*device_, total, TG_MEM_DEVICE));
  return {};
}

Status BoundExecutor::bind() {
  layout_ = make_layout(limits_, page_tokens_, alignment());
  TG_ASSIGN(params_, allocate(*device_, layout_.bytes, TG_MEM_HOST));
  TG_ASSIGN(activations_, allocate(*device_, info_.activations, TG_MEM_DEVICE));
  TG_ASSIGN(workspace_, allocate(*device_, workspace_bytes_, TG_MEM_DEVICE));
  TG_ASSIGN(output_, allocate(*device_, info_.output, TG_MEM_HOST));
  tg_bindings bindings{.size = sizeof(tg_bindings),
                       .n_weights = static_cast<u32>(weight_places_.size()),
                       .n_kv = static_cast<u32>(kv_places_.size()),
                       .weights = weights_.get(),
                       .weight_places = weight_places_.data(),
                       .kv = kv_.get(),
                       .kv_places = kv_places_.data(),
                       .params = params_.get(),
                       .layout = layout_,
                       .activations = activations_.get(),
                       .workspace = workspace_.get(),
                       .output = output_.get()};
  tg_exec exec = nullptr;
  TG_TRY(device_->check(table().bind(plan_.get(), &bindings, &exec), "bind"));
  exec_ = OwnedExec(exec, {&table()});
  void* params = nullptr;
  void* logits = nullptr;
  TG_TRY(device_->check(table().mem_map(params_.get(), &params), "mem_map"));
  TG_TRY(device_->check(table().mem_map(output_.get(), &logits), "mem_map"));
  params_host_ = static_cast<u8*>(params);
  logits_ = static_cast<const f32*>(logits);
  return {};
}

void BoundExecutor::fill(const StepBatch& batch) {
  auto put = [this](u64 offset, std::span<const i32> values) {
    if (!values.empty()) std::memcpy(params_host_ + offset, values.data(), values.size_bytes());
  };
  put(layout_.ids, batch.ids);
  put(layout_.pos, batch.positions);
  put(layout_.rows, batch.rows);
  put(layout_.cu, batch.cu);
  put(layout_.past, batch.past);
  put(layout_.page_begin, batch.page_begin);
  if (page_tokens_ > 0) put(layout_.pages, batch.pages);
  put(layout_.slots, batch.slots);
}

Result<std::span<const f32>> BoundExecutor::run(const StepBatch& batch) {
  TG_TRY(checker_->check(batch));
  if (batch.ids.empty()) return std::span<const f32>();
  fill(batch);
  i32 context = 0;
  for (std::size_t s = 0; s < batch.past.size(); ++s) {
    context = std::max(context, batch.past[s] + batch.cu[s + 1] - batch.cu[s]);
  }
  tg_step step{.size = sizeof(tg_step),
               .T = static_cast<u32>(batch.ids.size()),
               .S = static_cast<u32>(batch.past.size()),
               .R = static_cast<u32>(batch.rows.size()),
               .bound_T = static_cast<u32>(limits_.tokens_max),
               .bound_S = static_cast<u32>(limits_.sequences_max),
               .bound_context = static_cast<u32>(context)};
  TG_TRY(device_->check(table().run(exec_.get(), 0, segments_, &step, device_->stream()), "run"));
  TG_TRY(device_->check(table().stream_sync(device_->stream()), "stream_sync"));
  return std::span<const f32>(logits_, batch.rows.size() * static_cast<std::size_t>(vocabulary_));
}

Status BoundExecutor::copy_pages(std::span<const PageCopy> copies) {
  for (const PageCopy& c : copies) {
    for (i32 page : {c.from, c.to}) {
      if (page < 0 || page >= limits_.kv_pages) {
        return Error{Code::kInvalid, "executor: copy of page " + std::to_string(page) + " of " +
                                         std::to_string(limits_.kv_pages)};
      }
    }
  }
  for (const PageCopy& c : copies) {
    if (c.from == c.to) continue;
    for (const tg_kvplace& place : kv_places_) {
      tg_pagecopy copy{.size = sizeof(tg_pagecopy),
                       .buf = kv_.get(),
                       .from = place.offset + static_cast<u64>(c.from) * place.page_bytes,
                       .to = place.offset + static_cast<u64>(c.to) * place.page_bytes,
                       .bytes = place.page_bytes};
      TG_TRY(device_->check(table().kv_copy(device_->stream(), &copy, 1), "kv_copy"));
    }
  }
  return device_->check(table().stream_sync(device_->stream()), "stream_sync");
}

}  // namespace

Result<std::unique_ptr<Executor>> bind_executor(const Target& target,
                                                const isa::VerifiedProgram& program,
                                                const isa::WeightTable& weights,
                                                const ExecutorLimits& limits) {
  TG_ASSIGN(std::unique_ptr<Device> device, Device::open(target.library, target.device));
  std::unique_ptr<BoundExecutor> executor =
      std::make_unique<BoundExecutor>(std::move(device), program);
  TG_TRY(executor->prepare(weights, limits));
  return std::unique_ptr<Executor>(std::move(executor));
}

}  // namespace tg::backend
