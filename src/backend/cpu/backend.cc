#include "backend/cpu/backend.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "backend/cpu/exec.h"
#include "backend/cpu/kv_store.h"
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
  return device ? device->error.c_str() : "";
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

// Panels of `matrices` matrices [rows, columns], then the same elements as f32.
struct PackedSize {
  i64 matrices = 0, rows = 0, columns = 0;
  i64 matrix = 0;
  i64 vector = 0;
  i64 panels() const { return aligned(matrices * matrix); }
  i64 bytes() const { return panels() + vector; }
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
  if (w.uses & kUsesAsPanels) {
    std::optional<PanelForm> form = panel_form(codec);
    bool is_many = (w.uses & (TG_USE_BATCHED | TG_USE_GROUPED)) != 0;
    if (!form || w.rank != (is_many ? 3 : 2)) {
      return Error{Code::kUnsupported,
                   label + " of codec " + std::string(isa::info(codec).name) + " as a matrix"};
    }
    size.matrices = is_many ? w.dims[0] : 1;
    size.rows = w.dims[w.rank - 2];
    size.columns = w.dims[w.rank - 1];
    size.matrix = panel_count(size.rows) * panel_bytes(*form, size.columns);
  }
  if (w.uses & TG_USE_VECTOR) {
    if (!isa::is_weight_codec(codec)) {
      return Error{Code::kUnsupported,
                   label + " of codec " + std::string(isa::info(codec).name) + " as a vector"};
    }
    size.vector = aligned(elements(w) * 4);
  }
  return size;
}

tg_status pack_size(tg_dev device, const tg_wdesc* w, uint64_t* bytes) {
  Result<PackedSize> size = packed_size(*w);
  if (!size) return fail(device, size.error());
  *bytes = static_cast<uint64_t>(size->bytes());
  return TG_OK;
}

// Whole panels to each core, as far as there is enough to do for it.
void pack_matrix(isa::DType codec, const u8* from, i64 rows, i64 columns, u8* to) {
  constexpr i64 kWorthAThread = i64{1} << 20;
  i64 panels = panel_count(rows);
  i64 each = panel_bytes(*panel_form(codec), columns);
  i64 parts = std::clamp<i64>(panels * each / kWorthAThread, 1, std::min<i64>(cores(), panels));
  auto share = [&](i64 part) {
    Share range = share_of(panels, static_cast<i32>(part), static_cast<i32>(parts));
    i64 first = range.begin * kPanelRows;
    i64 end = std::min(range.end * kPanelRows, rows);
    pack_panels(codec, from + first * isa::row_bytes(codec, columns), end - first, columns,
                to + range.begin * each);
  };
  std::vector<std::jthread> others;
  for (i64 part = 1; part < parts; ++part) others.emplace_back(share, part);
  share(0);
}

tg_status pack(tg_stream stream, const tg_wdesc* w, tg_buf buf, uint64_t offset) {
  Result<PackedSize> size = packed_size(*w);
  if (!size) return fail(stream->device, size.error());
  isa::DType codec = static_cast<isa::DType>(w->dtype);
  i64 row = w->dims[w->rank - 1];
  if (!holds(buf, offset, static_cast<uint64_t>(size->bytes())) || offset % kAlignment != 0 ||
      row % isa::info(codec).block_elements != 0 ||
      w->ref_size != static_cast<uint64_t>(elements(*w) / row * isa::row_bytes(codec, row))) {
    return fail(stream->device, TG_E_INVALID,
                "cpu: weight " + std::to_string(w->symbol) + " does not fit its place");
  }
  const u8* from = static_cast<const u8*>(w->ref_bytes);
  u8* to = buf->block.data() + offset;
  i64 matrix_bytes = size->rows * (size->rows > 0 ? isa::row_bytes(codec, size->columns) : 0);
  for (i64 i = 0; i < size->matrices; ++i) {
    pack_matrix(codec, from + i * matrix_bytes, size->rows, size->columns, to + i * size->matrix);
  }
  if (size->vector > 0) {
    i64 n = elements(*w);
    std::span<f32> out(reinterpret_cast<f32*>(to + size->panels()), static_cast<std::size_t>(n));
    isa::dequantize_row(codec, {from, w->ref_size}, out);
  }
  return TG_OK;
}

tg_status kv_layout(tg_dev device, const tg_kvdesc* kv, tg_kv_layout* layout) {
  // A host of minor 0 knows no latent caches.
  if (kv->size < offsetof(tg_kvdesc, latent) || layout->size < sizeof(tg_kv_layout)) {
    return fail(device, TG_E_INVALID, "cpu: kv description too small");
  }
  i64 latent = kv->size >= sizeof(tg_kvdesc) ? kv->latent : 0;
  std::optional<KvFormat> format = kv_format(static_cast<isa::DType>(kv->format));
  if (!format || kv->page_tokens % 16 != 0 || kv->dk > kHeadDimMax || kv->dv > kHeadDimMax) {
    return fail(device, TG_E_UNSUPPORTED,
                "cpu: kv cache needs f32, f16, bf16, e4m3, q8_0 or q4_0, pages of a multiple of 16 "
                "tokens and heads of at most " +
                    std::to_string(kHeadDimMax) + " channels; this has pages of " +
                    std::to_string(kv->page_tokens));
  }
  KvPages pages{.page_tokens = kv->page_tokens,
                .heads = kv->heads,
                .dk = kv->dk,
                .dv = kv->dv,
                .latent = latent,
                .format = *format};
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
  std::size_t known = std::min<std::size_t>(info->size, sizeof(tg_plan_info));
  if (known < offsetof(tg_plan_info, routes)) {
    return fail(plan->device, TG_E_INVALID, "cpu: tg_plan_info too small");
  }
  const Plan& p = plan->plan;
  tg_plan_info full = {.size = sizeof(tg_plan_info),
                       .n_segments = static_cast<uint32_t>(p.segments.size()),
                       .segments = p.segments.data(),
                       .activations = static_cast<uint64_t>(p.activation_bytes),
                       .output = static_cast<uint64_t>(p.output_bytes),
                       .routes = static_cast<uint64_t>(p.routes_offset),
                       .n_routes = static_cast<uint32_t>(p.routes)};
  std::memcpy(info, &full, known);
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
  // A host of minor 0 has no trees and no sampling parameters.
  tg_bindings full{};
  std::memcpy(&full, b, std::min<std::size_t>(b->size, sizeof(full)));
  if (b->size < offsetof(tg_bindings, tree) || !has_bytes(b->activations, p.activation_bytes) ||
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
  *out = new tg_exec_s{plan, Exec(p, *plan->device->kernels, memory, full)};
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

tg_status segment_times(tg_exec exec, uint64_t* ns, uint32_t count) {
  std::span<const u64> times = exec->exec.op_times();
  if (count != times.size()) return TG_E_INVALID;
  std::ranges::copy(times, ns);
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
    .version = "1.1",
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
    .segment_times = guarded<segment_times>,
};

}  // namespace

const tg_backend* cpu_backend() {
  return &kBackend;
}

}  // namespace tg::backend::cpu
