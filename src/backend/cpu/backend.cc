#include "backend/cpu/backend.h"

#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "backend/cpu/exec.h"
#include "backend/cpu/memory.h"
#include "backend/cpu/pack.h"
#include "backend/cpu/rows.h"
#include "backend/cpu/variant.h"
#include "isa/codec.h"

struct tg_dev_s {
  const tg::backend::cpu::Kernels* kernels;
  std::vector<tg_row> rows;
  std::string error;
};
struct tg_stream_s {
  tg_dev device;
};
struct tg_event_s {
  uint64_t ns;
};
struct tg_buf_s {
  tg::backend::cpu::Block block;
  uint32_t kind;
};
struct tg_plan_s {
  tg_dev device;
  tg::backend::cpu::Plan plan;
};
struct tg_exec_s {
  tg_plan plan;
  tg::backend::cpu::Exec exec;
};

namespace tg::backend::cpu {

namespace {

constexpr i64 kThreadsMax = 256;

tg_status fail(tg_dev device, tg_status status, std::string text) {
  device->error = std::move(text);
  return status;
}

tg_status fail(tg_dev device, const Error& error) {
  tg_status status = error.code == Code::kUnavailable   ? TG_E_MEMORY
                     : error.code == Code::kUnsupported ? TG_E_UNSUPPORTED
                                                        : TG_E_INVALID;
  return fail(device, status, error.message);
}

i32 cores() {
  return static_cast<i32>(std::max(1u, std::thread::hardware_concurrency()));
}

// ---- devices

tg_status dev_count(uint32_t* count) {
  *count = static_cast<uint32_t>(supported_variants().size());
  return TG_OK;
}

tg_status dev_open(uint32_t index, tg_dev* device) {
  if (index >= supported_variants().size()) return TG_E_INVALID;
  *device = new tg_dev_s{supported_variants()[index], capability_rows(), ""};
  return TG_OK;
}

void dev_close(tg_dev device) {
  delete device;
}

tg_status dev_props(tg_dev device, tg_props* props) {
  if (props->size < sizeof(tg_props)) return fail(device, TG_E_INVALID, "cpu: tg_props too small");
  *props = {.size = sizeof(tg_props), .cores = static_cast<uint32_t>(cores())};
  std::string name = std::string("cpu ") + device->kernels->name;
  std::memcpy(props->name, name.c_str(), std::min(name.size(), sizeof(props->name) - 1));
  props->memory =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  props->alignment = static_cast<uint32_t>(kAlignment);
  props->max_threads = static_cast<uint32_t>(kThreadsMax);
  return TG_OK;
}

tg_status dev_rows(tg_dev device, const tg_row** rows, uint32_t* count) {
  *rows = device->rows.data();
  *count = static_cast<uint32_t>(device->rows.size());
  return TG_OK;
}

const char* error_text(tg_dev device) {
  return device->error.c_str();
}

// ---- memory

tg_status mem_alloc(tg_dev device, uint64_t bytes, uint32_t kind, tg_buf* buf) {
  Result<Block> block = Block::allocate(bytes);
  if (!block) return fail(device, block.error());
  *buf = new tg_buf_s{std::move(block).value(), kind};
  return TG_OK;
}

void mem_free(tg_buf buf) {
  delete buf;
}

tg_status mem_map(tg_buf buf, void** host) {
  if (buf->kind != TG_MEM_HOST) return TG_E_INVALID;
  *host = buf->block.data();
  return TG_OK;
}

tg_status mem_import(tg_dev, void* host, uint64_t bytes, tg_buf* buf) {
  *buf = new tg_buf_s{Block::borrow(static_cast<u8*>(host), bytes), TG_MEM_HOST};
  return TG_OK;
}

bool holds(tg_buf buf, uint64_t offset, uint64_t bytes) {
  return offset <= buf->block.bytes() && bytes <= buf->block.bytes() - offset;
}

tg_status copy(tg_stream stream, tg_buf to, uint64_t to_offset, tg_buf from, uint64_t from_offset,
               uint64_t bytes) {
  if (!holds(to, to_offset, bytes) || !holds(from, from_offset, bytes)) {
    return fail(stream->device, TG_E_INVALID, "cpu: copy outside a buffer");
  }
  std::memmove(to->block.data() + to_offset, from->block.data() + from_offset, bytes);
  return TG_OK;
}

// ---- streams and events: work is done when the call returns

tg_status stream_new(tg_dev device, tg_stream* stream) {
  *stream = new tg_stream_s{device};
  return TG_OK;
}
void stream_free(tg_stream stream) {
  delete stream;
}
tg_status stream_sync(tg_stream) {
  return TG_OK;
}

tg_status event_record(tg_stream, tg_event* event) {
  std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
  *event = new tg_event_s{static_cast<uint64_t>(now.count())};
  return TG_OK;
}
tg_status event_wait(tg_stream, tg_event) {
  return TG_OK;
}
tg_status event_query(tg_event event, int* done, uint64_t* ns) {
  *done = 1;
  *ns = event->ns;
  return TG_OK;
}
void event_free(tg_event event) {
  delete event;
}

// ---- weights and KV

struct PackedSize {
  i64 panels = 0;
  i64 vector = 0;
};

i64 elements(const tg_wdesc& w) {
  i64 n = 1;
  for (int i = 0; i < w.rank; ++i) n *= w.dims[i];
  return n;
}

Result<PackedSize> packed_size(const tg_wdesc& w) {
  isa::DType codec = static_cast<isa::DType>(w.dtype);
  std::string label = "cpu: weight " + std::to_string(w.symbol);
  if (w.size < sizeof(tg_wdesc) || w.rank < 1 || w.rank > 4 || codec >= isa::DType::kCount) {
    return Error{Code::kInvalid, label + " is malformed"};
  }
  PackedSize size;
  if (w.uses & (TG_USE_MATRIX | TG_USE_ROWS)) {
    std::optional<PanelForm> form = panel_form(codec);
    if (!form || w.rank != 2) {
      return Error{Code::kUnsupported,
                   label + " of codec " + std::string(isa::info(codec).name) + " as a matrix"};
    }
    size.panels = aligned(panel_count(w.dims[0]) * panel_bytes(*form, w.dims[1]));
  }
  if (w.uses & (TG_USE_VECTOR | TG_USE_BATCHED)) {
    if (!isa::can_dequantize(codec)) {
      return Error{Code::kUnsupported, label + " of codec " + std::string(isa::info(codec).name)};
    }
    size.vector = aligned(elements(w) * 4);
  }
  return size;
}

tg_status pack_size(tg_dev device, const tg_wdesc* w, uint64_t* bytes) {
  Result<PackedSize> size = packed_size(*w);
  if (!size) return fail(device, size.error());
  *bytes = static_cast<uint64_t>(size->panels + size->vector);
  return TG_OK;
}

tg_status pack(tg_stream stream, const tg_wdesc* w, tg_buf buf, uint64_t offset) {
  Result<PackedSize> size = packed_size(*w);
  if (!size) return fail(stream->device, size.error());
  isa::DType codec = static_cast<isa::DType>(w->dtype);
  i64 row = w->dims[w->rank - 1];
  if (!holds(buf, offset, static_cast<uint64_t>(size->panels + size->vector)) ||
      offset % kAlignment != 0 || row % isa::info(codec).block_elements != 0 ||
      w->ref_size != static_cast<uint64_t>(elements(*w) / row * isa::row_bytes(codec, row))) {
    return fail(stream->device, TG_E_INVALID,
                "cpu: weight " + std::to_string(w->symbol) + " does not fit its place");
  }
  const u8* from = static_cast<const u8*>(w->ref_bytes);
  u8* to = buf->block.data() + offset;
  if (size->panels > 0) pack_panels(*panel_form(codec), from, w->dims[0], w->dims[1], to);
  if (size->vector > 0) {
    i64 n = elements(*w);
    std::span<f32> out(reinterpret_cast<f32*>(to + size->panels), static_cast<std::size_t>(n));
    isa::dequantize_row(codec, {from, w->ref_size}, out);
  }
  return TG_OK;
}

tg_status kv_layout(tg_dev device, const tg_kvdesc* kv, tg_kv_layout* layout) {
  if (kv->size < sizeof(tg_kvdesc) || layout->size < sizeof(tg_kv_layout)) {
    return fail(device, TG_E_INVALID, "cpu: kv description too small");
  }
  if (kv->format != static_cast<u8>(isa::DType::kF16) || kv->page_tokens % 16 != 0 ||
      kv->dk > kHeadDimMax || kv->dv > kHeadDimMax) {
    return fail(device, TG_E_UNSUPPORTED,
                "cpu: kv cache needs f16, pages of a multiple of 16 tokens and heads of at most " +
                    std::to_string(kHeadDimMax) + " channels; this has pages of " +
                    std::to_string(kv->page_tokens));
  }
  KvPages pages{.page_tokens = kv->page_tokens, .heads = kv->heads, .dk = kv->dk, .dv = kv->dv};
  i64 bytes = aligned(pages.heads * kv_head_bytes(pages));
  *layout = {.size = sizeof(tg_kv_layout),
             .align = static_cast<uint32_t>(kAlignment),
             .page_bytes = static_cast<uint64_t>(bytes)};
  return TG_OK;
}

tg_status kv_copy(tg_stream stream, const tg_pagecopy* copies, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    const tg_pagecopy& c = copies[i];
    tg_status status = copy(stream, c.buf, c.to, c.buf, c.from, c.bytes);
    if (status != TG_OK) return status;
  }
  return TG_OK;
}

// ---- plan, bind, run

tg_status plan(tg_dev device, const tg_host* host, void* handle, const tg_planopts* options,
               tg_plan* out) {
  if (host->size < sizeof(tg_host) || options->size < sizeof(tg_planopts) ||
      options->threads > kThreadsMax) {
    return fail(device, TG_E_INVALID, "cpu: bad plan options");
  }
  uint64_t bytes = 0;
  const u8* program = host->program(handle, &bytes);
  PlanLimits limits{.tokens = options->max_tokens,
                    .sequences = options->max_sequences,
                    .rows = options->max_rows,
                    .context = options->max_context,
                    .threads = options->threads > 0 ? static_cast<i32>(options->threads) : cores()};
  Result<Plan> made = make_plan({program, bytes}, options->function, limits);
  if (!made) return fail(device, made.error());
  *out = new tg_plan_s{device, std::move(made).value()};
  return TG_OK;
}

tg_status plan_info(tg_plan plan, tg_plan_info* info) {
  if (info->size < sizeof(tg_plan_info)) {
    return fail(plan->device, TG_E_INVALID, "cpu: tg_plan_info too small");
  }
  const Plan& p = plan->plan;
  *info = {.size = sizeof(tg_plan_info),
           .n_segments = static_cast<uint32_t>(p.segments.size()),
           .segments = p.segments.data(),
           .activations = static_cast<uint64_t>(p.activation_bytes),
           .output = static_cast<uint64_t>(p.output_bytes)};
  return TG_OK;
}

void plan_free(tg_plan plan) {
  delete plan;
}

u8* data(tg_buf buf) {
  return buf ? buf->block.data() : nullptr;
}

bool has_bytes(tg_buf buf, i64 bytes) {
  return bytes == 0 || (buf && buf->block.bytes() >= static_cast<u64>(bytes));
}

tg_status bind(tg_plan plan, const tg_bindings* b, tg_exec* out) {
  const Plan& p = plan->plan;
  if (b->size < sizeof(tg_bindings) || !has_bytes(b->activations, p.activation_bytes) ||
      !has_bytes(b->workspace, p.workspace_bytes) || !has_bytes(b->output, p.output_bytes) ||
      !has_bytes(b->params, static_cast<i64>(b->layout.bytes))) {
    return fail(plan->device, TG_E_INVALID, "cpu: bind with buffers smaller than the plan needs");
  }
  Memory memory{.weights = data(b->weights),
                .kv = data(b->kv),
                .params = data(b->params),
                .activations = data(b->activations),
                .workspace = data(b->workspace),
                .output = data(b->output)};
  *out = new tg_exec_s{plan, Exec(p, *plan->device->kernels, memory, *b)};
  return TG_OK;
}

void exec_free(tg_exec exec) {
  delete exec;
}

tg_status run(tg_exec exec, uint32_t first, uint32_t count, const tg_step* step, tg_stream stream) {
  const Plan& p = exec->plan->plan;
  if (step->size < sizeof(tg_step) || first > p.segments.size() ||
      count > p.segments.size() - first) {
    return fail(stream->device, TG_E_INVALID, "cpu: run outside the plan");
  }
  if (step->T > p.limits.tokens || step->S > p.limits.sequences || step->R > p.limits.rows) {
    return fail(stream->device, TG_E_INVALID, "cpu: step larger than the plan's limits");
  }
  exec->exec.run(first, count, *step);
  return TG_OK;
}

// R1: nothing is thrown across the boundary. Containers throw for memory, a pool for threads.
template <auto kFunction, typename... Args>
tg_status guarded(Args... args) {
  try {
    return kFunction(args...);
  } catch (const std::bad_alloc&) {
    return TG_E_MEMORY;
  } catch (const std::system_error&) {
    return TG_E_DEVICE;
  }
}

constexpr tg_backend kBackend = {
    .size = sizeof(tg_backend),
    .abi_major = TG_ABI_MAJOR,
    .abi_minor = TG_ABI_MINOR,
    .vendor = "tokengrid",
    .name = "cpu",
    .version = "1.0",
    .dev_count = dev_count,
    .dev_open = guarded<dev_open>,
    .dev_close = dev_close,
    .dev_props = dev_props,
    .rows = dev_rows,
    .error_text = error_text,
    .mem_alloc = guarded<mem_alloc>,
    .mem_free = mem_free,
    .mem_map = mem_map,
    .mem_import = guarded<mem_import>,
    .copy = copy,
    .stream_new = guarded<stream_new>,
    .stream_free = stream_free,
    .stream_sync = stream_sync,
    .event_record = guarded<event_record>,
    .event_wait = event_wait,
    .event_query = event_query,
    .event_free = event_free,
    .pack_size = pack_size,
    .pack = guarded<pack>,
    .kv_layout = kv_layout,
    .kv_copy = kv_copy,
    .plan = guarded<plan>,
    .plan_info = plan_info,
    .plan_free = plan_free,
    .bind = guarded<bind>,
    .exec_free = exec_free,
    .run = run,
};

}  // namespace

const tg_backend* cpu_backend() {
  return &kBackend;
}

}  // namespace tg::backend::cpu
