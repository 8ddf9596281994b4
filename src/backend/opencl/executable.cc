#include "backend/opencl/executable.h"

#include <algorithm>

#include "base/assert.h"

namespace tg::backend::opencl {

using gpu::Arg;
using gpu::ArgKind;
using gpu::Launch;
using gpu::StepSizes;

namespace {

// {T, S, R} and one to spare: patterns of 16 bytes are what clEnqueueFillBuffer takes.
constexpr u64 kStepBytes = 16;

// Items along an axis from which a driver may take other code: PoCL compiles a kernel once for
// grids that stay below this along every axis, and once for all others.
constexpr std::size_t kWideItems = 65'535;

using Items = std::array<std::size_t, 3>;
constexpr Items kGroup = {static_cast<std::size_t>(gpu::kGroupItems), 1, 1};

// All zero if a side of the grid is.
Items items_of(const Launch& launch, const StepSizes& sizes) {
  Items items{};
  for (std::size_t axis = 0; axis < items.size(); ++axis) {
    i64 groups = launch.grid[axis].groups(sizes);
    if (groups == 0) return {};
    items[axis] = static_cast<std::size_t>(groups) * kGroup[axis];
  }
  return items;
}

bool is_wide(const Items& items) {
  return std::any_of(items.begin(), items.end(), [](std::size_t n) { return n >= kWideItems; });
}

// The part of a grid that is just wide where it is: one group along the other axes.
Items cut_to_wide(const Items& items) {
  Items cut = kGroup;
  for (std::size_t axis = 0; axis < items.size(); ++axis) {
    if (items[axis] < kWideItems) continue;
    cut[axis] = (kWideItems + kGroup[axis] - 1) / kGroup[axis] * kGroup[axis];
  }
  return cut;
}

StepSizes largest_step(const cpu::PlanLimits& limits) {
  return {limits.tokens, limits.sequences, limits.rows, limits.context};
}

cl_mem mem_of(gpu::Memory* memory) {
  return memory ? static_cast<ClMemory*>(memory)->buffer.get() : nullptr;
}

}  // namespace

Result<std::unique_ptr<gpu::Executable>> ClExecutable::make(Context& context,
                                                            cl_command_queue queue,
                                                            gpu::Bound bound) {
  std::unique_ptr<ClExecutable> made(new ClExecutable(context, queue, std::move(bound)));
  const gpu::Lowered& program = *made->bound_.program;
  TG_ASSIGN(made->step_, made->buffer(kStepBytes));
  TG_ASSIGN(made->params_, made->buffer(made->bound_.params_bytes));
  TG_ASSIGN(made->output_, made->buffer(made->bound_.output_bytes));
  TG_ASSIGN(made->tables_, made->buffer(program.tables.size()));
  TG_TRY(check(context.api().EnqueueWriteBuffer(queue, made->tables_.get(), CL_TRUE, 0,
                                                program.tables.size(), program.tables.data(), 0,
                                                nullptr, nullptr),
               "clEnqueueWriteBuffer"));
  TG_TRY(made->make_kernels());
  TG_TRY(made->warm_up());
  gpu::output_ranges(program, {}, made->ranges_);
  return std::unique_ptr<gpu::Executable>(std::move(made));
}

Result<BufferHandle> ClExecutable::buffer(u64 bytes) const {
  cl_int error = CL_SUCCESS;
  u64 size = std::max<u64>(bytes, kStepBytes);
  cl_mem made =
      context_.api().CreateBuffer(context_.get(), CL_MEM_READ_WRITE, size, nullptr, &error);
  TG_TRY(check(error, "clCreateBuffer"));
  BufferHandle owned(context_.api(), made);
  u32 zero = 0;
  TG_TRY(check(
      context_.api().EnqueueFillBuffer(queue_, made, &zero, sizeof(zero), 0,
                                       size / sizeof(zero) * sizeof(zero), 0, nullptr, nullptr),
      "clEnqueueFillBuffer"));
  return owned;
}

cl_mem ClExecutable::arena(ArgKind kind) const {
  switch (kind) {
    case ArgKind::kStep: return step_.get();
    case ArgKind::kWeight: return mem_of(bound_.weights);
    case ArgKind::kKv: return mem_of(bound_.kv);
    case ArgKind::kParams: return params_.get();
    case ArgKind::kActivations: return mem_of(bound_.activations);
    case ArgKind::kWorkspace: return mem_of(bound_.workspace);
    case ArgKind::kOutput: return output_.get();
    case ArgKind::kTables: return tables_.get();
    default: break;
  }
  TG_ASSERT(false);
}

Status ClExecutable::set_arguments(cl_kernel kernel, const Launch& launch) const {
  const Api& api = context_.api();
  cl_uint at = 0;
  auto set = [&](std::size_t bytes, const void* value) {
    return check(api.SetKernelArg(kernel, at++, bytes, value), "clSetKernelArg");
  };
  for (const Arg& arg : launch.args) {
    if (arg.kind == ArgKind::kInt || arg.kind == ArgKind::kFloat) {
      u32 word = static_cast<u32>(arg.value);
      TG_TRY(set(sizeof(word), &word));
      continue;
    }
    if (arg.kind != ArgKind::kLong) {
      cl_mem memory = arena(arg.kind);
      TG_TRY(set(sizeof(memory), &memory));
    }
    if (arg.kind != ArgKind::kStep) TG_TRY(set(sizeof(arg.value), &arg.value));
  }
  return {};
}

Status ClExecutable::make_kernels() {
  for (const Launch& launch : bound_.launches) {
    TG_ASSIGN(KernelHandle kernel, context_.kernel(launch.kernel, launch.variant));
    TG_TRY(set_arguments(kernel.get(), launch));
    kernels_.push_back(std::move(kernel));
  }
  return {};
}

// Drivers compile for good, and allocate, when a kernel first runs: that is now, on an empty step,
// and on a wide grid if the limits allow one. Kernels bound themselves by the step's sizes.
Status ClExecutable::warm_up() {
  const StepSizes largest = largest_step(bound_.program->plan.limits);
  for (std::size_t i = 0; i < kernels_.size(); ++i) {
    const Launch& launch = bound_.launches[i];
    const Items most = items_of(launch, largest);
    for (bool wide : {false, true}) {
      if (wide && !is_wide(most)) continue;
      if (!context_.warmed.emplace(launch.variant, launch.kernel, wide).second) continue;
      TG_TRY(enqueue(i, wide ? cut_to_wide(most) : kGroup));
    }
  }
  return check(context_.api().Finish(queue_), "clFinish");
}

Status ClExecutable::enqueue(std::size_t i, const std::array<std::size_t, 3>& items) {
  return check(
      context_.api().EnqueueNDRangeKernel(queue_, kernels_[i].get(), 3, nullptr, items.data(),
                                          kGroup.data(), 0, nullptr, nullptr),
      gpu::name(bound_.launches[i].kernel));
}

Status ClExecutable::start(const gpu::RunRequest& request) {
  const Api& api = context_.api();
  // The pattern is copied at once, so that steps may queue up.
  i32 step[4] = {static_cast<i32>(request.sizes.tokens), static_cast<i32>(request.sizes.sequences),
                 static_cast<i32>(request.sizes.rows), 0};
  TG_TRY(check(api.EnqueueFillBuffer(queue_, step_.get(), step, sizeof(step), 0, kStepBytes, 0,
                                     nullptr, nullptr),
               "clEnqueueFillBuffer"));
  u64 bytes = gpu::used_params(bound_, request);
  return check(api.EnqueueWriteBuffer(queue_, params_.get(), CL_FALSE, 0, bytes,
                                      bound_.params + request.params, 0, nullptr, nullptr),
               "clEnqueueWriteBuffer");
}

Status ClExecutable::launch(std::size_t i, const StepSizes& sizes) {
  const Launch& launch = bound_.launches[i];
  if (!launch.when.holds(sizes)) return {};
  const Items items = items_of(launch, sizes);
  return items[0] == 0 ? Status{} : enqueue(i, items);
}

Status ClExecutable::finish(const StepSizes& sizes) {
  gpu::output_ranges(*bound_.program, sizes, ranges_);
  for (const gpu::Range& range : ranges_) {
    if (range.bytes == 0) continue;
    TG_TRY(check(
        context_.api().EnqueueReadBuffer(queue_, output_.get(), CL_FALSE, range.offset, range.bytes,
                                         bound_.output + range.offset, 0, nullptr, nullptr),
        "clEnqueueReadBuffer"));
  }
  return check(context_.api().Flush(queue_), "clFlush");
}

Status ClExecutable::run(const gpu::RunRequest& request) {
  const std::vector<u32>& first = bound_.program->first;
  if (request.first == 0) TG_TRY(start(request));
  u32 end = request.first + request.count;
  for (u32 i = first[request.first]; i < first[end]; ++i) TG_TRY(launch(i, request.sizes));
  return end + 1 == first.size() ? finish(request.sizes) : Status{};
}

}  // namespace tg::backend::opencl
