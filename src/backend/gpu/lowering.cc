#include "backend/gpu/lowering.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "isa/codec.h"

namespace tg::backend::gpu {

using isa::Opcode;
using isa::OperandKind;

Size operator*(const Size& size, i64 factor) {
  i32 f = static_cast<i32>(factor);
  return {.constant = size.constant * factor, .t = size.t * f, .s = size.s * f, .r = size.r * f};
}

static bool is_constant(const Size& size) {
  return size.t == 0 && size.s == 0 && size.r == 0;
}

// At most one dimension of a type is symbolic (isa.md section 2).
static Size product_of(std::span<const Size> dims) {
  Size out{.constant = 1};
  for (const Size& dim : dims) {
    out = is_constant(dim) ? out * dim.constant : dim * out.constant;
  }
  return out;
}

Matrix matrix_of(const isa::Type& type) {
  if (type.dims.empty()) return {.rows = {.constant = 1}};
  if (!is_constant(type.dims.back())) return {.rows = product_of(type.dims)};
  std::span<const Size> outer(type.dims.data(), type.dims.size() - 1);
  return {.rows = product_of(outer), .columns = type.dims.back().constant};
}

Lowering::Lowering(Lowered& out, const std::vector<u64>& constants, std::size_t index)
    : out_(out),
      constants_(constants),
      index_(index),
      op_(out.plan.flat.code[index]),
      attributes_(cpu::resolve_attributes(op_)) {}

Error Lowering::unsupported(const std::string& what) const {
  return Error{Code::kUnsupported, std::string(isa::name(op_.op)) + ": " + what};
}

Arg Lowering::value(u32 id) const {
  const cpu::Place& place = out_.plan.places[id];
  u64 offset = static_cast<u64>(place.offset);
  switch (place.home) {
    case cpu::Home::kActivations: return {.kind = ArgKind::kActivations, .value = offset};
    case cpu::Home::kOutput: return {.kind = ArgKind::kOutput, .value = offset};
    // The layout of the parameter block is known at bind: `symbol` says which array.
    case cpu::Home::kIds: return {.kind = ArgKind::kParams, .symbol = kParamIds};
    case cpu::Home::kPositions: return {.kind = ArgKind::kParams, .symbol = kParamPositions};
    case cpu::Home::kRows: return {.kind = ArgKind::kParams, .symbol = kParamRows};
    case cpu::Home::kNone: break;
  }
  TG_ASSERT(false);
}

const isa::WeightDecl& Lowering::weight(std::size_t i) const {
  TG_ASSERT(in(i).kind == OperandKind::kWeight);
  return out_.plan.program.program().weights[in(i).index];
}

Result<Packed> Lowering::packed(std::size_t i) const {
  const isa::WeightDecl& w = weight(i);
  Result<Packed> form = packed_form(w.codec, w.dims, out_.plan.uses[in(i).index][in(i).layer]);
  if (!form) return unsupported("$" + w.name + " is " + form.error().message);
  return form;
}

Arg Lowering::at(std::size_t i) const {
  const isa::FlatOperand& operand = in(i);
  if (operand.kind == OperandKind::kValue) return value(operand.index);
  if (operand.kind == OperandKind::kConst) {
    return {.kind = ArgKind::kTables, .value = constants_[operand.index]};
  }
  // A vector: what the op's kind of use implies, so its packed form exists.
  Result<Packed> form = packed(i);
  u64 offset = form ? static_cast<u64>(form->vector_offset()) : 0;
  return {
      .kind = ArgKind::kWeight, .symbol = operand.index, .layer = operand.layer, .value = offset};
}

i64 Lowering::elements_of(std::size_t i) const {
  const isa::Program& program = out_.plan.program.program();
  const std::vector<i64>& dims = in(i).kind == OperandKind::kWeight
                                     ? program.weights[in(i).index].dims
                                     : program.constants[in(i).index].dims;
  i64 n = 1;
  for (i64 dim : dims) n *= dim;
  return n;
}

// Weights and constants of the result's size only if that is constant.
bool Lowering::is_row(std::size_t i) const {
  Size all = product_of(result().dims);
  if (in(i).kind == OperandKind::kValue) return product_of(type(i).dims) != all;
  return Size{.constant = elements_of(i)} != all;
}

int Lowering::mode() const {
  if (result().dtype == isa::DType::kF16) return 1;
  return result().dtype == isa::DType::kBf16 ? 2 : 0;
}

Arg Lowering::scratch(i64 bytes) {
  Arg place{.kind = ArgKind::kWorkspace, .value = static_cast<u64>(workspace_)};
  workspace_ += aligned(bytes);
  return place;
}

Variant Lowering::variant(Kernel kernel) const {
  Variant out{.unit = unit(kernel)};
  if (out.unit == Unit::kLinear) {
    out.codec = variant_.codec;
    out.int_codes = variant_.int_codes;
  }
  if (out.unit == Unit::kCache || out.unit == Unit::kAttention) out.format = variant_.format;
  if (out.unit == Unit::kAttention) out.head = variant_.head;
  return out;
}

void Lowering::add(Kernel kernel, Args& args, Extent x, Extent y, Extent z, When when) {
  out_.launches.push_back({.kernel = kernel,
                           .variant = variant(kernel),
                           .args = args.take(),
                           .grid = {x, y, z},
                           .when = when});
}

void Lowering::add_elements(Kernel kernel, Args& args, const Size& elements) {
  add(kernel, args, {.size = elements, .each = kGroupElements});
}

Status Lowering::run() {
  switch (op_.op) {
    case Opcode::kLinear: return linear();
    case Opcode::kGroupedLinear: return grouped_linear();
    case Opcode::kBmm: return bmm();
    case Opcode::kEmbed: return embed();
    case Opcode::kGather: return gather();
    case Opcode::kAdd:
    case Opcode::kMul: return binary();
    case Opcode::kEw: return ew();
    case Opcode::kAttn: return attention();
    case Opcode::kRoute: return route();
    default: return run_plain();
  }
}

Status Lowering::run_plain() {
  switch (op_.op) {
    case Opcode::kView: view(); return {};
    case Opcode::kConcat: concat(); return {};
    case Opcode::kCast: cast(); return {};
    case Opcode::kPermute: permute(); return {};
    case Opcode::kGlu: glu(); return {};
    case Opcode::kRmsNorm: rms_norm(); return {};
    case Opcode::kLayerNorm: layer_norm(); return {};
    case Opcode::kReduce: reduce(); return {};
    case Opcode::kRope: return rope();
    case Opcode::kKvAppend: kv_append(); return {};
    case Opcode::kCombine: combine(); return {};
    case Opcode::kLogits: logits(); return {};
    case Opcode::kSample: sample(); return {};
    case Opcode::kAct: {
      Matrix m = matrix_of(result());
      Args args;
      args.size(m.rows).place(at(0)).place(to()).word(m.columns);
      args.word(static_cast<i64>(attributes_.act)).real(attributes_.softcap).word(mode());
      add_elements(Kernel::kAct, args, m.rows * m.columns);
      return {};
    }
    default: return unsupported("no kernel");
  }
}

void Lowering::copy(const Arg& from, const Matrix& m, i64 stride, i64 offset, i64 y_stride,
                    i64 y_offset, const Size& first) {
  Args args;
  args.size(m.rows).place(from).place(none()).place(to()).size(first).word(m.columns);
  args.word(stride).word(offset).word(y_stride).word(y_offset).word(0).word(mode());
  add_elements(Kernel::kCopy, args, m.rows * m.columns);
}

Status Lowering::embed() {
  TG_ASSIGN(Packed table, packed(0));
  Size rows = result().dims[0];
  Arg w{.kind = ArgKind::kWeight, .symbol = in(0).index, .layer = in(0).layer};
  Args args;
  args.size(rows).place(w).place(at(1)).place(to()).word(table.columns).bytes(table.row_bytes);
  args.word(static_cast<i64>(weight(0).codec)).word(mode());
  add_elements(Kernel::kEmbed, args, rows * table.columns);
  return {};
}

// Along the first dimension, whatever a row of it holds.
Status Lowering::gather() {
  std::span<const Size> inner(result().dims.data() + 1, result().dims.size() - 1);
  Size width = product_of(inner);
  if (!is_constant(width)) return unsupported("rows whose width differs from step to step");
  Size rows = result().dims[0];
  Args args;
  args.size(rows).place(at(0)).place(at(1)).place(to()).size({}).word(width.constant);
  args.word(width.constant).word(0).word(width.constant).word(0).word(1).word(0);
  add_elements(Kernel::kCopy, args, rows * width.constant);
  return {};
}

// Columns [offset, offset + n) of each of x's rows; the result may split those into more
// dimensions.
void Lowering::view() {
  Matrix x = matrix_of(type(0));
  Size all = product_of(result().dims);
  i64 n = x.columns;
  if (all != x.rows * x.columns) {
    n = result().dims.back().constant;
  }
  copy(at(0), {.rows = x.rows, .columns = n}, x.columns, attributes_.offset, n, 0, {});
}

void Lowering::concat() {
  bool by_column = attributes_.axis == 1;
  Matrix y = matrix_of(result());
  i64 column = 0;
  Size first{};
  for (std::size_t i = 0; i < op_.in.size(); ++i) {
    Matrix x = matrix_of(type(i));
    copy(at(i), x, x.columns, 0, y.columns, column, first);
    if (by_column) {
      column += x.columns;
    } else {
      first = {.constant = first.constant + x.rows.constant,
               .t = first.t + x.rows.t,
               .s = first.s + x.rows.s,
               .r = first.r + x.rows.r};
    }
  }
}

void Lowering::cast() {
  Matrix m = matrix_of(result());
  copy(at(0), m, m.columns, 0, m.columns, 0, {});
}

void Lowering::permute() {
  Size elements = product_of(result().dims);
  std::size_t rank = type(0).dims.size();
  Args args;
  args.size(elements).place(at(0)).place(to());
  // Missing axes are of size 1, in front: they stay where they are.
  for (std::size_t i = 0; i < 4; ++i) {
    args.size(i < 4 - rank ? Size{.constant = 1} : type(0).dims[i + rank - 4]);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    i64 shift = static_cast<i64>(4 - rank);
    args.word(i < 4 - rank ? static_cast<i64>(i) : attributes_.axes[i + rank - 4] + shift);
  }
  add_elements(Kernel::kPermute, args, elements);
}

Status Lowering::binary() {
  Matrix m = matrix_of(result());
  bool has_b = has(1);
  Args args;
  args.size(m.rows).place(at(0)).place(has_b ? at(1) : none()).place(to()).word(m.columns);
  args.word(has_b).word(has_b && is_row(1)).word(op_.op == Opcode::kMul);
  args.real(attributes_.alpha).real(attributes_.beta).word(mode());
  add_elements(Kernel::kBinary, args, m.rows * m.columns);
  return {};
}

void Lowering::glu() {
  Matrix m = matrix_of(result());
  bool packed_halves = !has(1);
  i64 stride = packed_halves ? 2 * m.columns : m.columns;
  Args args;
  args.size(m.rows).place(at(0)).place(at(packed_halves ? 0 : 1)).place(to()).word(m.columns);
  args.word(stride).word(stride).word(packed_halves ? m.columns : 0);
  args.word(static_cast<i64>(attributes_.act)).real(attributes_.alpha).real(attributes_.limit);
  args.word(mode());
  add_elements(Kernel::kGlu, args, m.rows * m.columns);
}

Status Lowering::ew() {
  if (std::ssize(op_.in) > kEwOperandsMax) {
    return unsupported(std::to_string(op_.in.size()) + " operands, at most " +
                       std::to_string(kEwOperandsMax));
  }
  Matrix m = matrix_of(result());
  u64 code = out_.tables.size();
  std::span<const u32> words = attributes_.code;
  const u8* bytes = reinterpret_cast<const u8*>(words.data());
  out_.tables.insert(out_.tables.end(), bytes, bytes + words.size_bytes());
  out_.tables.resize(static_cast<std::size_t>(aligned(std::ssize(out_.tables))));
  Args args;
  args.size(m.rows);
  i64 row_bits = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(kEwOperandsMax); ++i) {
    args.place(has(i) ? at(i) : none());
    if (has(i) && is_row(i)) row_bits |= i64{1} << i;
  }
  args.place({.kind = ArgKind::kTables, .value = code}).place(to()).word(m.columns);
  args.word(std::ssize(words)).word(row_bits).word(mode());
  add_elements(Kernel::kEw, args, m.rows * m.columns);
  return {};
}

void Lowering::rms_norm() {
  Matrix m = matrix_of(result());
  i64 group = attributes_.group > 0 ? attributes_.group : m.columns;
  Size rows = m.rows * (m.columns / group);
  Args args;
  args.size(rows).place(at(0)).place(has(1) ? at(1) : none()).place(to()).word(group);
  args.word(has(1) ? elements_of(1) / group : 1).word(has(1)).real(attributes_.eps);
  args.real(attributes_.woff).word(attributes_.cast_at == isa::NormCast::kBeforeWeight);
  args.word(mode());
  add(Kernel::kRmsNorm, args, {.size = rows});
}

void Lowering::layer_norm() {
  Matrix m = matrix_of(result());
  Args args;
  args.size(m.rows).place(at(0)).place(has(1) ? at(1) : none()).place(has(2) ? at(2) : none());
  args.place(to()).word(m.columns).word(has(1)).word(has(2)).real(attributes_.eps).word(mode());
  add(Kernel::kLayerNorm, args, {.size = m.rows});
}

void Lowering::reduce() {
  Matrix m = matrix_of(type(0));
  Args args;
  args.size(m.rows).place(at(0)).place(to()).word(m.columns);
  args.word(static_cast<i64>(attributes_.reduction)).word(mode());
  add(Kernel::kReduce, args, {.size = m.rows});
}

Status Lowering::rope() {
  const cpu::PlannedOp& planned = out_.plan.ops[index_];
  const cpu::RopeTable& table = out_.plan.tables[static_cast<std::size_t>(planned.rope_table)];
  if (!table.sections.empty()) return unsupported("style=mrope (profile VISION)");
  Arg place{.kind = ArgKind::kActivations, .value = static_cast<u64>(table.offset)};
  Size rows = result().dims[0];
  if (planned.fills_table) {
    Arg frequencies = at(2);
    frequencies.value += table.row * static_cast<u64>(table.half) * sizeof(f32);
    Args args;
    args.size(rows).place(at(1)).place(frequencies).place(place).word(table.half);
    args.real(table.mscale);
    add_elements(Kernel::kRopeTable, args, rows * table.half);
  }
  Matrix m = matrix_of(result());
  i64 heads = attributes_.heads;
  Args args;
  args.size(rows).place(at(0)).place(place).place(to()).word(heads).word(m.columns / heads);
  args.word(attributes_.rot).word(attributes_.offset);
  args.word(attributes_.style == isa::RopeStyle::kGptj).word(mode());
  add_elements(Kernel::kRope, args, m.rows * m.columns);
  return {};
}

}  // namespace tg::backend::gpu
