#include "backend/cuda/executable.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace tg::backend::cuda {

using gpu::Arg;
using gpu::ArgKind;
using gpu::Launch;
using gpu::StepSizes;

namespace {

constexpr u32 kStepRing = 64;
constexpr u64 kStepBytes = 16;

// A bound above every context: what is chosen by the context's length is chosen as for the longest.
constexpr i64 kContextSplit = 1'024;

Address address_of(gpu::Memory* memory) {
  return memory ? static_cast<CudaMemory*>(memory)->buffer.at() : 0;
}

}  // namespace

Result<std::unique_ptr<gpu::Executable>> CudaExecutable::make(CudaOpened& device,
                                                              gpu::Bound bound) {
  std::unique_ptr<CudaExecutable> made(new CudaExecutable(device, std::move(bound)));
  const gpu::Lowered& program = *made->bound_.program;
  TG_ASSIGN(made->step_, device.buffer(kStepBytes));
  TG_ASSIGN(made->params_, device.buffer(made->bound_.params_bytes));
  TG_ASSIGN(made->output_, device.buffer(made->bound_.output_bytes));
  TG_ASSIGN(made->tables_, device.buffer(program.tables.size()));
  TG_ASSIGN(made->steps_, device.allocate_host(kStepBytes * kStepRing));
  TG_TRY(check(device.api(),
               device.api().CopyIn(made->tables_.at(), program.tables.data(), program.tables.size(),
                                   device.stream()),
               "cuMemcpyHtoDAsync"));
  TG_TRY(device.sync());
  TG_TRY(made->make_calls());
  TG_TRY(made->make_buckets());
  gpu::output_ranges(program, {}, made->ranges_);
  return std::unique_ptr<gpu::Executable>(std::move(made));
}

CudaExecutable::~CudaExecutable() {
  device_.api().ContextSet(nullptr);
  Status entered = device_.enter();
  if (!entered.ok()) return;
  for (Bucket& bucket : buckets_) {
    if (bucket.exec) device_.api().GraphExecDestroy(bucket.exec);
    if (bucket.graph) device_.api().GraphDestroy(bucket.graph);
  }
}

Address CudaExecutable::arena(ArgKind kind) const {
  switch (kind) {
    case ArgKind::kStep: return step_.at();
    case ArgKind::kWeight: return address_of(bound_.weights);
    case ArgKind::kKv: return address_of(bound_.kv);
    case ArgKind::kParams: return params_.at();
    case ArgKind::kActivations: return address_of(bound_.activations);
    case ArgKind::kWorkspace: return address_of(bound_.workspace);
    case ArgKind::kOutput: return output_.at();
    case ArgKind::kTables: return tables_.at();
    default: break;
  }
  TG_ASSERT(false);
}

// Little-endian: a 32-bit parameter is the low half of its value.
void CudaExecutable::add_argument(const Arg& arg, Call& call) const {
  if (arg.kind == ArgKind::kStep || arg.is_place()) call.values.push_back(arena(arg.kind));
  if (arg.kind != ArgKind::kStep) call.values.push_back(arg.value);
}

Status CudaExecutable::make_calls() {
  for (const Launch& launch : bound_.launches) {
    Call& call = calls_.emplace_back();
    TG_ASSIGN(call.function, device_.function(launch.kernel, launch.variant));
    call.geometry = geometry_of(launch, device_.image(launch.variant));
    for (const Arg& arg : launch.args) add_argument(arg, call);
    for (u64& value : call.values) call.pointers.push_back(&value);
  }
  return {};
}

// Powers of two up to the limits, short contexts and long ones.
Status CudaExecutable::make_buckets() {
  const cpu::PlanLimits& limits = bound_.program->plan.limits;
  fresh_max_ = limits.tokens;
  for (const Launch& launch : bound_.launches) {
    if (launch.when.fresh_min > 0) fresh_max_ = launch.when.fresh_min - 1;
  }
  // Rows and sequences of a decode step are its tokens.
  i64 most = std::min({limits.tokens, limits.sequences, limits.rows, kGraphTokensMax});
  for (i64 tokens = 1; tokens < 2 * most; tokens *= 2) {
    for (i64 context : {kContextSplit, limits.context}) {
      if (context > limits.context && context != kContextSplit) continue;
      // Ours to destroy, whatever of it is made.
      buckets_.push_back({.tokens = std::min(tokens, most), .context = context});
      TG_TRY(capture(buckets_.back()));
      if (limits.context <= kContextSplit) break;
    }
  }
  return {};
}

Status CudaExecutable::capture(Bucket& bucket) {
  const Api& api = device_.api();
  TG_TRY(
      check(api, api.CaptureBegin(device_.stream(), kCaptureThreadLocal), "cuStreamBeginCapture"));
  StepSizes bound{.tokens = bucket.tokens,
                  .sequences = bucket.tokens,
                  .rows = bucket.tokens,
                  .context = bucket.context};
  Status launched = launch_all(bound, 0, static_cast<u32>(bound_.program->first.size()) - 1);
  // The stream must leave capture whatever happened.
  int ended = api.CaptureEnd(device_.stream(), &bucket.graph);
  TG_TRY(launched);
  TG_TRY(check(api, ended, "cuStreamEndCapture"));
  return check(api, api.GraphInstantiate(&bucket.exec, bucket.graph, 0), "cuGraphInstantiate");
}

Status CudaExecutable::launch(std::size_t i, const StepSizes& sizes) {
  const Launch& launch = bound_.launches[i];
  if (!launch.when.holds(sizes)) return {};
  Call& call = calls_[i];
  unsigned groups[3];
  for (int axis = 0; axis < 3; ++axis) {
    gpu::Extent extent = launch.grid[axis];
    if (axis < 2 && call.geometry.each[axis] > 0) extent.each = call.geometry.each[axis];
    i64 n = extent.groups(sizes);
    if (n == 0) return {};
    groups[axis] = static_cast<unsigned>(n);
  }
  return check(device_.api(),
               device_.api().Launch(call.function, groups[0], groups[1], groups[2],
                                    static_cast<unsigned>(call.geometry.threads), 1, 1, 0,
                                    device_.stream(), call.pointers.data(), nullptr),
               gpu::name(launch.kernel));
}

Status CudaExecutable::launch_all(const StepSizes& sizes, u32 first, u32 end) {
  const std::vector<u32>& begin = bound_.program->first;
  for (u32 i = begin[first]; i < begin[end]; ++i) TG_TRY(launch(i, sizes));
  return {};
}

Status CudaExecutable::start(const gpu::RunRequest& request) {
  const Api& api = device_.api();
  u8* slot = steps_->data() + kStepBytes * (next_step_++ % kStepRing);
  i32 step[4] = {static_cast<i32>(request.sizes.tokens), static_cast<i32>(request.sizes.sequences),
                 static_cast<i32>(request.sizes.rows), 0};
  std::memcpy(slot, step, sizeof(step));
  TG_TRY(
      check(api, api.CopyIn(step_.at(), slot, kStepBytes, device_.stream()), "cuMemcpyHtoDAsync"));
  u64 bytes = gpu::used_params(bound_, request);
  return check(api,
               api.CopyIn(params_.at(), bound_.params + request.params, bytes, device_.stream()),
               "cuMemcpyHtoDAsync");
}

Status CudaExecutable::finish(const StepSizes& sizes) {
  const Api& api = device_.api();
  gpu::output_ranges(*bound_.program, sizes, ranges_);
  for (const gpu::Range& range : ranges_) {
    if (range.bytes == 0) continue;
    TG_TRY(check(api,
                 api.CopyOut(bound_.output + range.offset, output_.at() + range.offset, range.bytes,
                             device_.stream()),
                 "cuMemcpyDtoHAsync"));
  }
  return {};
}

// The smallest that bounds the step in every size; none for what is launched otherwise than a
// decode.
CudaExecutable::Bucket* CudaExecutable::bucket_for(const StepSizes& sizes) {
  i64 most = std::max({sizes.tokens, sizes.sequences, sizes.rows});
  if (gpu::fresh_of(sizes) > fresh_max_) return nullptr;
  for (Bucket& bucket : buckets_) {
    if (most <= bucket.tokens && sizes.context <= bucket.context) return &bucket;
  }
  return nullptr;
}

Status CudaExecutable::run(const gpu::RunRequest& request) {
  TG_TRY(device_.enter());
  u32 end = request.first + request.count;
  bool is_last = end + 1 == bound_.program->first.size();
  if (request.first == 0) TG_TRY(start(request));
  Bucket* bucket = request.first == 0 && is_last ? bucket_for(request.sizes) : nullptr;
  if (bucket) {
    TG_TRY(check(device_.api(), device_.api().GraphLaunch(bucket->exec, device_.stream()),
                 "cuGraphLaunch"));
  } else {
    TG_TRY(launch_all(request.sizes, request.first, end));
  }
  return is_last ? finish(request.sizes) : Status{};
}

}  // namespace tg::backend::cuda
