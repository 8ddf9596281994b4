#include "backend/gpu/table.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <new>

#include "backend/gpu/packed.h"
#include "backend/gpu/resolve.h"
#include "backend/gpu/rows.h"

namespace tg::backend::gpu {

namespace {

// What the opaque handles point to. The ABI's own struct names belong to whoever defines them in a
// process with several backends, so that these have names of their own.
struct DeviceState {
  std::unique_ptr<Opened> opened;
  std::vector<tg_row> rows;
  std::string name, error;
  bool is_lost = false;
};
struct StreamState {
  DeviceState* device;
};
struct EventState {
  u64 ns;
};
struct BufferState {
  DeviceState* device;
  std::unique_ptr<Memory> memory;    // TG_MEM_DEVICE
  std::unique_ptr<HostMemory> host;  // TG_MEM_HOST
  u64 bytes = 0;
};
struct PlanState {
  DeviceState* device;
  Lowered program;
};
struct ExecState {
  PlanState* plan;
  std::unique_ptr<Executable> executable;
};

template <typename State, typename Handle>
State* state(Handle handle) {
  return reinterpret_cast<State*>(handle);
}
template <typename Handle, typename State>
Handle handle(State* state) {
  return reinterpret_cast<Handle>(state);
}

// Of the last dev_count or dev_open that failed.
std::string& open_error() {
  static std::string text;
  return text;
}

tg_status status_of(Code code) {
  switch (code) {
    case Code::kUnavailable: return TG_E_MEMORY;
    case Code::kUnsupported: return TG_E_UNSUPPORTED;
    case Code::kIo: return TG_E_DEVICE;
    default: return TG_E_INVALID;
  }
}

tg_status fail(DeviceState* device, const Error& error) {
  // The first error of a lost device says why; what follows only says that it is lost.
  if (device->is_lost) return TG_E_DEVICE;
  device->error = error.message;
  if (error.code == Code::kIo) {
    device->is_lost = true;
    device->error += "; the device is lost";
  }
  return status_of(error.code);
}

tg_status fail(DeviceState* device, const char* text) {
  return fail(device, Error{Code::kInvalid, text});
}

tg_status done(DeviceState* device, const Status& status) {
  return status.ok() ? TG_OK : fail(device, status.error());
}

// ---- devices

void dev_close(tg_dev device) {
  delete state<DeviceState>(device);
}

tg_status dev_props(tg_dev handle, tg_props* props) {
  DeviceState* device = state<DeviceState>(handle);
  if (props->size < sizeof(tg_props)) return fail(device, "tg_props too small");
  const DeviceFacts& facts = device->opened->facts();
  *props = {.size = sizeof(tg_props), .cores = facts.units};
  std::memcpy(props->name, device->name.data(),
              std::min(device->name.size(), sizeof(props->name) - 1));
  props->memory = facts.memory;
  props->alignment = static_cast<uint32_t>(kAlignment);
  return TG_OK;
}

tg_status dev_rows(tg_dev handle, const tg_row** rows, uint32_t* count) {
  DeviceState* device = state<DeviceState>(handle);
  *rows = device->rows.data();
  *count = static_cast<uint32_t>(device->rows.size());
  return TG_OK;
}

const char* error_text(tg_dev device) {
  return device ? state<DeviceState>(device)->error.c_str() : open_error().c_str();
}

// ---- memory

tg_status mem_alloc(tg_dev dev, uint64_t bytes, uint32_t kind, tg_buf* buf) {
  DeviceState* device = state<DeviceState>(dev);
  if (device->is_lost) return TG_E_DEVICE;
  std::unique_ptr<BufferState> made(new BufferState{device, nullptr, nullptr, bytes});
  if (kind == TG_MEM_HOST) {
    Result<std::unique_ptr<HostMemory>> host = device->opened->allocate_host(bytes);
    if (!host) return fail(device, host.error());
    made->host = std::move(host).value();
  } else {
    Result<std::unique_ptr<Memory>> memory = device->opened->allocate(bytes);
    if (!memory) return fail(device, memory.error());
    made->memory = std::move(memory).value();
  }
  *buf = handle<tg_buf>(made.release());
  return TG_OK;
}

void mem_free(tg_buf buf) {
  delete state<BufferState>(buf);
}

tg_status mem_map(tg_buf buf, void** host) {
  BufferState* buffer = state<BufferState>(buf);
  if (!buffer->host) return TG_E_INVALID;
  *host = buffer->host->data();
  return TG_OK;
}

bool holds(const BufferState& buffer, uint64_t offset, uint64_t bytes) {
  return buffer.memory && offset <= buffer.bytes && bytes <= buffer.bytes - offset;
}

tg_status copy(tg_stream stream, tg_buf to, uint64_t to_offset, tg_buf from, uint64_t from_offset,
               uint64_t bytes) {
  DeviceState* device = state<StreamState>(stream)->device;
  if (device->is_lost) return TG_E_DEVICE;
  BufferState& target = *state<BufferState>(to);
  BufferState& source = *state<BufferState>(from);
  if (!holds(target, to_offset, bytes) || !holds(source, from_offset, bytes)) {
    return fail(device, "copy outside a device buffer");
  }
  return done(device,
              device->opened->copy(*target.memory, to_offset, *source.memory, from_offset, bytes));
}

// ---- streams and events

tg_status stream_new(tg_dev device, tg_stream* stream) {
  *stream = handle<tg_stream>(new StreamState{state<DeviceState>(device)});
  return TG_OK;
}

void stream_free(tg_stream stream) {
  delete state<StreamState>(stream);
}

tg_status stream_sync(tg_stream stream) {
  DeviceState* device = state<StreamState>(stream)->device;
  if (device->is_lost) return TG_E_DEVICE;
  return done(device, device->opened->sync());
}

tg_status event_record(tg_stream stream, tg_event* event) {
  // One stream: an event is reached once the queue is empty.
  tg_status status = stream_sync(stream);
  if (status != TG_OK) return status;
  std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
  *event = handle<tg_event>(new EventState{static_cast<u64>(now.count())});
  return TG_OK;
}

tg_status event_wait(tg_stream, tg_event) {
  return TG_OK;
}

tg_status event_query(tg_event event, int* done, uint64_t* ns) {
  *done = 1;
  *ns = state<EventState>(event)->ns;
  return TG_OK;
}

void event_free(tg_event event) {
  delete state<EventState>(event);
}

// ---- weights and caches

tg_status pack_size(tg_dev dev, const tg_wdesc* weight, uint64_t* bytes) {
  Result<Packed> packed = packed_form(*weight);
  if (!packed) return fail(state<DeviceState>(dev), packed.error());
  *bytes = static_cast<uint64_t>(packed->bytes());
  return TG_OK;
}

tg_status pack(tg_stream stream, const tg_wdesc* weight, tg_buf buf, uint64_t offset) {
  DeviceState* device = state<StreamState>(stream)->device;
  if (device->is_lost) return TG_E_DEVICE;
  Result<Packed> packed = packed_form(*weight);
  if (!packed) return fail(device, packed.error());
  BufferState& buffer = *state<BufferState>(buf);
  u64 bytes = static_cast<u64>(packed->bytes());
  if (!holds(buffer, offset, bytes)) return fail(device, "pack outside a device buffer");
  std::vector<u8> staged(bytes);
  Status made = pack_weight(*weight, *packed, staged.data());
  if (!made.ok()) return fail(device, made.error());
  return done(device, device->opened->write(*buffer.memory, offset, staged));
}

tg_status kv_layout(tg_dev dev, const tg_kvdesc* kv, tg_kv_layout* layout) {
  DeviceState* device = state<DeviceState>(dev);
  if (layout->size < sizeof(tg_kv_layout)) return fail(device, "tg_kv_layout too small");
  Result<CacheForm> form = cache_form(*kv);
  if (!form) return fail(device, form.error());
  *layout = {.size = sizeof(tg_kv_layout),
             .align = static_cast<uint32_t>(kAlignment),
             .page_bytes = static_cast<uint64_t>(form->page_bytes())};
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

tg_status plan(tg_dev dev, const tg_host* host, void* host_handle, const tg_planopts* options,
               tg_plan* out) {
  DeviceState* device = state<DeviceState>(dev);
  if (device->is_lost) return TG_E_DEVICE;
  if (host->size < sizeof(tg_host) || options->size < sizeof(tg_planopts)) {
    return fail(device, "bad plan options");
  }
  uint64_t bytes = 0;
  const u8* program = host->program(host_handle, &bytes);
  Result<Lowered> lowered = lower({program, bytes}, options->function,
                                  {.tokens = options->max_tokens,
                                   .sequences = options->max_sequences,
                                   .rows = options->max_rows,
                                   .context = options->max_context},
                                  device->opened->facts().traits);
  if (!lowered) return fail(device, lowered.error());
  Status compiled = device->opened->prepare(lowered->variants);
  if (!compiled.ok()) return fail(device, compiled.error());
  *out = handle<tg_plan>(new PlanState{device, std::move(lowered).value()});
  return TG_OK;
}

tg_status plan_info(tg_plan handle, tg_plan_info* info) {
  PlanState& plan = *state<PlanState>(handle);
  std::size_t known = std::min<std::size_t>(info->size, sizeof(tg_plan_info));
  if (known < offsetof(tg_plan_info, routes)) return fail(plan.device, "tg_plan_info too small");
  const cpu::Plan& p = plan.program.plan;
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
  delete state<PlanState>(plan);
}

Memory* memory_of(tg_buf buf) {
  return buf ? state<BufferState>(buf)->memory.get() : nullptr;
}

bool has_bytes(tg_buf buf, i64 bytes, bool on_host) {
  if (bytes == 0) return true;
  if (!buf) return false;
  BufferState& buffer = *state<BufferState>(buf);
  return (on_host ? buffer.host != nullptr : buffer.memory != nullptr) &&
         buffer.bytes >= static_cast<u64>(bytes);
}

tg_status bind(tg_plan plan_handle, const tg_bindings* b, tg_exec* out) {
  PlanState* plan = state<PlanState>(plan_handle);
  if (plan->device->is_lost) return TG_E_DEVICE;
  const cpu::Plan& p = plan->program.plan;
  // A host of minor 0 has no trees and no sampling parameters.
  tg_bindings full{};
  std::memcpy(&full, b, std::min<std::size_t>(b->size, sizeof(full)));
  if (b->size < offsetof(tg_bindings, tree) ||
      !has_bytes(full.activations, p.activation_bytes, false) ||
      !has_bytes(full.workspace, p.workspace_bytes, false) ||
      !has_bytes(full.output, p.output_bytes, true) ||
      !has_bytes(full.params, static_cast<i64>(full.layout.bytes), true)) {
    return fail(plan->device, "bind with buffers smaller than the plan needs");
  }
  Result<std::vector<Launch>> launches = resolve(plan->program, full);
  if (!launches) return fail(plan->device, launches.error());
  BufferState* params = state<BufferState>(full.params);
  BufferState* output = state<BufferState>(full.output);
  Result<std::unique_ptr<Executable>> executable =
      plan->device->opened->bind({.program = &plan->program,
                                  .launches = std::move(launches).value(),
                                  .weights = memory_of(full.weights),
                                  .kv = memory_of(full.kv),
                                  .activations = memory_of(full.activations),
                                  .workspace = memory_of(full.workspace),
                                  .params = params ? params->host->data() : nullptr,
                                  .params_bytes = full.layout.bytes,
                                  .samples = full.lists > 0 ? full.samples : 0,
                                  .lists = full.lists,
                                  .output = output ? output->host->data() : nullptr,
                                  .output_bytes = static_cast<u64>(p.output_bytes)});
  if (!executable) return fail(plan->device, executable.error());
  *out = handle<tg_exec>(new ExecState{plan, std::move(executable).value()});
  return TG_OK;
}

void exec_free(tg_exec exec) {
  delete state<ExecState>(exec);
}

tg_status run(tg_exec handle, uint32_t first, uint32_t count, const tg_step* step, tg_stream) {
  ExecState& exec = *state<ExecState>(handle);
  DeviceState* device = exec.plan->device;
  if (device->is_lost) return TG_E_DEVICE;
  const cpu::Plan& p = exec.plan->program.plan;
  if (step->size < sizeof(tg_step) || first > p.segments.size() ||
      count > p.segments.size() - first) {
    return fail(device, "run outside the plan");
  }
  if (step->T > p.limits.tokens || step->S > p.limits.sequences || step->R > p.limits.rows) {
    return fail(device, "step larger than the plan's limits");
  }
  return done(device, exec.executable->run({.first = first,
                                            .count = count,
                                            .sizes = {.tokens = step->T,
                                                      .sequences = step->S,
                                                      .rows = step->R,
                                                      .context = step->bound_context},
                                            .params = step->params}));
}

// R1: nothing is thrown across the boundary; containers throw for memory.
template <auto kFunction, typename... Args>
tg_status guarded(Args... args) {
  try {
    return kFunction(args...);
  } catch (const std::bad_alloc&) {
    return TG_E_MEMORY;
  }
}

}  // namespace

u64 used_params(const Bound& bound, const RunRequest& request) {
  if (bound.lists == 0) return bound.params_bytes;
  const tg_sample_row* rows =
      reinterpret_cast<const tg_sample_row*>(bound.params + request.params + bound.samples);
  u64 words = 0;
  for (i64 r = 0; r < request.sizes.rows; ++r) {
    for (const tg_list& list : {rows[r].prompt, rows[r].output, rows[r].bias, rows[r].allowed}) {
      words = std::max(words, u64{list.first} + list.count);
    }
  }
  return std::min(bound.lists + words * sizeof(u32), bound.params_bytes);
}

tg_status count_devices(Port& port, uint32_t* count) {
  Result<u32> found = port.count();
  *count = found ? found.value() : 0;
  open_error() = found ? "" : found.error().message;
  return found ? TG_OK : TG_E_DEVICE;
}

tg_status open_device(Port& port, uint32_t index, tg_dev* device) {
  Result<std::unique_ptr<Opened>> opened = port.open(index);
  if (!opened) {
    open_error() = opened.error().message;
    return status_of(opened.error().code);
  }
  std::unique_ptr<DeviceState> made = std::make_unique<DeviceState>();
  made->opened = std::move(opened).value();
  made->rows = capability_rows(made->opened->facts());
  made->name = made->opened->facts().name;
  *device = handle<tg_dev>(made.release());
  return TG_OK;
}

tg_backend common_table(const char* name) {
  return {.size = sizeof(tg_backend),
          .abi_major = TG_ABI_MAJOR,
          .abi_minor = TG_ABI_MINOR,
          .vendor = "tokengrid",
          .name = name,
          .version = "1.0",
          .dev_close = dev_close,
          .dev_props = dev_props,
          .rows = dev_rows,
          .error_text = error_text,
          .mem_alloc = guarded<mem_alloc>,
          .mem_free = mem_free,
          .mem_map = mem_map,
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
          .run = run};
}

}  // namespace tg::backend::gpu
