#include "backend/entry.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>

#include "backend/coverage.h"
#include "base/log.h"

namespace tg::backend {

namespace {

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

// Stored bytes of one expert's matrices, by the perm that chooses among them.
std::map<u32, u64> expert_bytes(const isa::Program& program, const isa::FlatProgram& flat) {
  std::map<u32, u64> bytes;
  for (const isa::FlatInstruction& op : flat.code) {
    if (op.op != isa::Opcode::kGroupedLinear) continue;
    const isa::WeightDecl& w = program.weights[op.in[1].index];
    bytes[op.in[2].index] += static_cast<u64>(w.dims[1] * isa::row_bytes(w.codec, w.dims[2]));
  }
  return bytes;
}

std::vector<std::size_t> route_lines(const isa::Program& program, const isa::FlatProgram& flat) {
  std::map<u32, u64> bytes = expert_bytes(program, flat);
  const std::vector<unit::ExpertCost>& lines = program.cost.experts;
  std::vector<std::size_t> out;
  for (const isa::FlatInstruction& op : flat.code) {
    if (op.op != isa::Opcode::kRoute) continue;
    const isa::Type& perm = flat.values[op.out[1]];
    std::size_t line = 0;
    for (; line < lines.size(); ++line) {
      if (lines[line].experts == perm.dims[2].constant &&
          lines[line].active == perm.dims[1].constant &&
          lines[line].bytes_per_expert == bytes[op.out[1]]) {
        break;
      }
    }
    out.push_back(line);
  }
  return out;
}

Status check_rows(const Device& device, const isa::Program& program, const isa::FlatProgram& flat,
                  const ExecutorLimits& limits) {
  const tg_row* first = nullptr;
  u32 count = 0;
  TG_TRY(device.check(device.table().rows(device.handle(), &first, &count), "rows"));
  TG_ASSIGN(std::vector<tg_row> rows, read_array(first, count, "capability row"));
  return check_coverage(program, flat, rows,
                        {.tokens = limits.tokens_max, .context = limits.context_max});
}

Status make_plan(const Device& device, const isa::VerifiedProgram& program,
                 const ExecutorLimits& limits, Entry& entry) {
  tg_planopts options{.size = sizeof(tg_planopts),
                      .threads = static_cast<u32>(limits.threads),
                      .function = entry.flat.function.c_str(),
                      .max_tokens = static_cast<u32>(limits.tokens_max),
                      .max_sequences = static_cast<u32>(limits.sequences_max),
                      .max_rows = static_cast<u32>(limits.rows_max),
                      .max_context = static_cast<u32>(limits.context_max)};
  const tg_backend& table = device.table();
  tg_plan plan = nullptr;
  void* handle = const_cast<isa::VerifiedProgram*>(&program);
  TG_TRY(device.check(table.plan(device.handle(), &kHost, handle, &options, &plan), "plan"));
  entry.plan = OwnedPlan(plan, {&table});
  entry.info.size = sizeof(entry.info);
  return device.check(table.plan_info(plan, &entry.info), "plan_info");
}

Status check_plan(Entry& entry) {
  TG_ASSIGN(std::vector<tg_segment> segments,
            read_array(entry.info.segments, entry.info.n_segments, "segment"));
  TG_TRY(check_segments(entry.flat, segments));
  entry.segments = entry.info.n_segments;
  for (const tg_segment& s : segments) {
    entry.workspace_bytes = std::max(entry.workspace_bytes, s.workspace);
  }
  // A backend of minor 0 leaves the fields it does not know as they were: 0.
  if (entry.info.n_routes == entry.route_lines.size()) return {};
  return Error{Code::kInvalid, "plan: counts " + std::to_string(entry.info.n_routes) +
                                   " routes of " + std::to_string(entry.route_lines.size())};
}

}  // namespace

Result<Entry> plan_entry(const Device& device, const isa::VerifiedProgram& program,
                         const isa::Function& function, const ExecutorLimits& limits) {
  Entry entry;
  TG_ASSIGN(entry.flat, program.flatten(function.name));
  entry.route_lines = route_lines(program.program(), entry.flat);
  TG_TRY(check_rows(device, program.program(), entry.flat, limits));
  TG_TRY(make_plan(device, program, limits, entry));
  TG_TRY(check_plan(entry));
  return entry;
}

}  // namespace tg::backend
