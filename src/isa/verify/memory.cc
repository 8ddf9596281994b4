// V21: how much memory a function's values need at once, by liveness over the body in loop form.
#include <algorithm>
#include <string>
#include <vector>

#include "base/checked.h"
#include "isa/limits.h"
#include "isa/verify/op_view.h"
#include "isa/verify/rules.h"

namespace tg::isa {

static i64 bytes_at_bounds(const Type& type, const Bounds& bounds) {
  if (type.kind != ValueKind::kTensor) return 0;
  i64 bytes = info(type.dtype).block_bytes;
  for (const Dim& d : type.dims) {
    i64 size = d.constant + d.t * bounds.tokens + d.s * bounds.sequences + d.r * bounds.rows;
    bytes = checked_mul(bytes, size).value_or(INT64_MAX);
  }
  return bytes;
}

// The last position that reads each value. What a loop reads from outside lives until its yield,
// because the next turn reads it again.
static std::vector<std::size_t> last_uses(const Function& function) {
  std::vector<std::size_t> last(function.value_types.size(), 0);
  std::size_t end = function.body.size();
  u32 loop_first = 0;
  std::vector<u32> outside;
  bool in_loop = false;
  for (std::size_t at = 0; at < function.body.size(); ++at) {
    const Instruction& i = function.body[at];
    for (const Operand& o : i.in) {
      if (o.kind != OperandKind::kValue) continue;
      last[o.index] = at;
      if (in_loop && o.index < loop_first) outside.push_back(o.index);
    }
    if (i.op == Opcode::kRepeat) {
      in_loop = true;
      loop_first = i.out[0];
    }
    if (i.op != Opcode::kYield) continue;
    for (u32 id : outside) last[id] = at;
    outside.clear();
    in_loop = false;
  }
  for (u32 id : function.results) last[id] = end;
  return last;
}

i64 activation_bytes_max(const Program& program, const Function& function) {
  std::vector<std::size_t> last = last_uses(function);
  std::vector<i64> freed(function.body.size() + 1, 0);
  i64 alive = 0;
  i64 peak = 0;
  auto add = [&](u32 id, std::size_t at) {
    i64 bytes = bytes_at_bounds(function.value_types[id], program.bounds);
    alive = checked_add(alive, bytes).value_or(INT64_MAX);
    i64& freeing = freed[std::max(last[id], at)];
    freeing = checked_add(freeing, bytes).value_or(INT64_MAX);
  };
  for (u32 id : function.parameters) add(id, 0);
  for (std::size_t at = 0; at < function.body.size(); ++at) {
    for (u32 id : function.body[at].out) add(id, at);
    peak = std::max(peak, alive);
    if (alive == INT64_MAX) return alive;
    alive -= freed[at];
  }
  return peak;
}

Status check_memory(const Program& program, const Function& function) {
  i64 bytes = activation_bytes_max(program, function);
  if (bytes > kActivationBytesMax)
    return broken("V21", "activations need " + std::to_string(bytes) +
                             " bytes at the bounds, at most " +
                             std::to_string(kActivationBytesMax));
  return {};
}

}  // namespace tg::isa
