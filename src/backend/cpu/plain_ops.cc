#include "backend/cpu/plain_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/half.h"
#include "backend/cpu/kernels/args.h"
#include "base/assert.h"
#include "isa/ew.h"
#include "isa/limits.h"

namespace tg::backend::cpu {

namespace {

using isa::Opcode;

void copy_row(const f32* from, f32* to, i64 n) {
  std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(f32));
}

// Along the first dimension, whatever a row of it holds.
void gather(const PlainArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.out.dims[0], part, parts);
  i64 n = a.out.elements() / std::max<i64>(a.out.dims[0], 1);
  for (i64 r = rows.begin; r < rows.end; ++r) {
    copy_row(a.in[0].data + a.in[1].ints()[r] * n, a.out.data + r * n, n);
  }
}

// Columns [offset, offset + n) of each of x's rows; the result may split those into more
// dimensions.
void view(const PlainArgs& a, i32 part, i32 parts) {
  const Tensor& x = a.in[0];
  Share rows = share_of(x.rows(), part, parts);
  i64 n = a.out.elements() / std::max<i64>(x.rows(), 1);
  for (i64 r = rows.begin; r < rows.end; ++r) {
    copy_row(x.data + r * x.cols() + a.attributes.offset, a.out.data + r * n, n);
  }
}

void concat_columns(const PlainArgs& a, Share rows) {
  for (i64 r = rows.begin; r < rows.end; ++r) {
    f32* to = a.out.data + r * a.out.cols();
    for (const Tensor& x : a.in) {
      copy_row(x.data + r * x.cols(), to, x.cols());
      to += x.cols();
    }
  }
}

void concat_rows(const PlainArgs& a, i32 part) {
  if (part != 0) return;
  f32* to = a.out.data;
  for (const Tensor& x : a.in) {
    copy_row(x.data, to, x.elements());
    to += x.elements();
  }
}

// Element by element of the result: an axis of it steps as the axis of x that it is.
void permute(const PlainArgs& a, Share rows) {
  const Tensor& x = a.in[0];
  i64 steps[4] = {};
  for (i32 i = 0; i < a.out.rank; ++i) {
    steps[i] = 1;
    for (i32 j = static_cast<i32>(a.attributes.axes[static_cast<std::size_t>(i)]) + 1; j < x.rank;
         ++j) {
      steps[i] *= x.dims[j];
    }
  }
  i64 n = a.out.cols();
  for (i64 at = rows.begin * n; at < rows.end * n; ++at) {
    i64 from = 0, left = at;
    for (i32 i = a.out.rank - 1; i >= 0; --i) {
      from += left % a.out.dims[i] * steps[i];
      left /= a.out.dims[i];
    }
    a.out.data[at] = x.data[from];
  }
}

// Sixteen partial sums, as a vector would keep them, then one order for all.
f32 dot(const f32* a, const f32* b, i64 n) {
  f32 lanes[16] = {};
  i64 i = 0;
  for (; i + 16 <= n; i += 16) {
    for (i64 j = 0; j < 16; ++j) lanes[j] += a[i + j] * b[i + j];
  }
  for (i64 j = 0; i + j < n; ++j) lanes[j] += a[i + j] * b[i + j];
  for (i64 step = 8; step > 0; step /= 2) {
    for (i64 j = 0; j < step; ++j) lanes[j] += lanes[j + step];
  }
  return lanes[0];
}

void bmm(const PlainArgs& a, Share rows) {
  const Tensor& left = a.in[0];
  const Tensor& right = a.in[1];
  i64 k = left.cols();
  i64 n = a.out.cols();
  i64 m = a.out.rank >= 2 ? a.out.dims[a.out.rank - 2] : 1;
  for (i64 r = rows.begin; r < rows.end; ++r) {
    const f32* matrix = right.data + r / m * n * k;
    for (i64 c = 0; c < n; ++c) a.out.data[r * n + c] = dot(left.data + r * k, matrix + c * k, k);
  }
}

void layer_norm(const PlainArgs& a, Share rows) {
  i64 n = a.out.cols();
  const f32* w = a.in.size() > 1 ? a.in[1].data : nullptr;
  const f32* b = a.in.size() > 2 ? a.in[2].data : nullptr;
  for (i64 r = rows.begin; r < rows.end; ++r) {
    const f32* x = a.in[0].data + r * n;
    f32* y = a.out.data + r * n;
    f64 total = 0;
    for (i64 i = 0; i < n; ++i) total += x[i];
    f64 mean = total / static_cast<f64>(n);
    f64 squares = 0;
    for (i64 i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
    f64 inverse = 1.0 / std::sqrt(squares / static_cast<f64>(n) + a.attributes.eps);
    for (i64 i = 0; i < n; ++i) {
      f32 value = static_cast<f32>((x[i] - mean) * inverse);
      if (w) value *= w[i];
      y[i] = b ? value + b[i] : value;
    }
  }
}

f32 sigmoid(f32 x) {
  return 1.0f / (1.0f + std::exp(-x));
}

f32 gelu_tanh(f32 x) {
  f32 z = 0.7978845608f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + std::tanh(z));
}

f32 activate(isa::Activation act, f32 x, f32 softcap) {
  switch (act) {
    case isa::Activation::kSilu: return x * sigmoid(x);
    case isa::Activation::kGeluTanh: return gelu_tanh(x);
    case isa::Activation::kGeluErf: return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
    case isa::Activation::kRelu: return std::max(x, 0.0f);
    case isa::Activation::kRelu2: return std::max(x, 0.0f) * std::max(x, 0.0f);
    case isa::Activation::kSigmoid: return sigmoid(x);
    case isa::Activation::kTanh: return std::tanh(x);
    case isa::Activation::kSoftplus: return x > 20.0f ? x : std::log1p(std::exp(x));
    case isa::Activation::kSoftcap: return softcap * std::tanh(x / softcap);
    case isa::Activation::kSwigluOai: break;  // Only glu has it, and its vector kernel.
  }
  TG_ASSERT(false);
}

void act(const PlainArgs& a, Share rows) {
  i64 n = a.out.cols();
  for (i64 i = rows.begin * n; i < rows.end * n; ++i) {
    a.out.data[i] = activate(a.attributes.act, a.in[0].data[i], a.attributes.softcap);
  }
}

void glu(const PlainArgs& a, Share rows) {
  i64 n = a.out.cols();
  i64 stride = a.in[0].cols();
  for (i64 r = rows.begin; r < rows.end; ++r) {
    const f32* g = a.in[0].data + r * stride;
    const f32* u = a.in.size() > 1 ? a.in[1].data + r * n : g + n;
    for (i64 i = 0; i < n; ++i) {
      a.out.data[r * n + i] = activate(a.attributes.act, g[i], a.attributes.softcap) * u[i];
    }
  }
}

f32 unary(isa::EwOp op, f32 x) {
  switch (op) {
    case isa::EwOp::kNeg: return -x;
    case isa::EwOp::kAbs: return std::fabs(x);
    case isa::EwOp::kExp: return std::exp(x);
    case isa::EwOp::kExpm1: return std::expm1(x);
    case isa::EwOp::kLog: return std::log(x);
    case isa::EwOp::kSqrt: return std::sqrt(x);
    case isa::EwOp::kTanh: return std::tanh(x);
    case isa::EwOp::kErf: return std::erf(x);
    case isa::EwOp::kSigmoid: return sigmoid(x);
    default: break;
  }
  TG_ASSERT(false);
}

f32 binary(isa::EwOp op, f32 x, f32 y) {
  switch (op) {
    case isa::EwOp::kAdd: return x + y;
    case isa::EwOp::kSub: return x - y;
    case isa::EwOp::kMul: return x * y;
    case isa::EwOp::kDiv: return x / y;
    case isa::EwOp::kMin: return std::min(x, y);
    case isa::EwOp::kMax: return std::max(x, y);
    default: break;
  }
  TG_ASSERT(false);
}

// Element (r, c) of an operand that is a whole tensor, or one row for all.
f32 element(const Tensor& x, const Tensor& out, i64 r, i64 c) {
  return x.elements() == out.elements() ? x.data[r * out.cols() + c] : x.data[c];
}

// The program was checked when it was verified: the stack neither runs dry nor over.
f32 evaluate(const PlainArgs& a, std::span<const isa::EwStep> steps, i64 r, i64 c) {
  f32 stack[isa::kEwStackMax];
  i64 top = 0;
  for (const isa::EwStep& step : steps) {
    const isa::EwInfo& op = isa::info(step.op);
    if (step.op == isa::EwOp::kInput) {
      stack[top++] = element(a.in[step.input], a.out, r, c);
    } else if (step.op == isa::EwOp::kConstant) {
      stack[top++] = step.constant;
    } else if (step.op == isa::EwOp::kDup) {
      stack[top] = stack[top - 1];
      ++top;
    } else if (step.op == isa::EwOp::kSwap) {
      std::swap(stack[top - 1], stack[top - 2]);
    } else if (op.pops == 1) {
      stack[top - 1] = unary(step.op, stack[top - 1]);
    } else {
      stack[top - 2] = binary(step.op, stack[top - 2], stack[top - 1]);
      --top;
    }
  }
  return stack[0];
}

void ew(const PlainArgs& a, Share rows) {
  isa::EwStep steps[isa::kEwCodeMax];
  std::size_t count = 0;
  for (std::size_t at = 0; at < a.attributes.code.size();) {
    steps[count++] = isa::read_ew(a.attributes.code, at).value();
  }
  i64 n = a.out.cols();
  for (i64 r = rows.begin; r < rows.end; ++r) {
    for (i64 c = 0; c < n; ++c) a.out.data[r * n + c] = evaluate(a, {steps, count}, r, c);
  }
}

void softmax(const f32* x, f32* y, i64 n) {
  f32 top = *std::max_element(x, x + n);
  f64 total = 0;
  for (i64 i = 0; i < n; ++i) {
    y[i] = std::exp(x[i] - top);
    total += y[i];
  }
  for (i64 i = 0; i < n; ++i) y[i] = static_cast<f32>(y[i] / total);
}

void reduce(const PlainArgs& a, Share rows) {
  i64 n = a.in[0].cols();
  for (i64 r = rows.begin; r < rows.end; ++r) {
    const f32* x = a.in[0].data + r * n;
    f64 total = 0;
    for (i64 i = 0; i < n; ++i) total += x[i];
    i64 best = std::max_element(x, x + n) - x;  // The first of equals.
    switch (a.attributes.reduction) {
      case isa::Reduction::kSum: a.out.data[r] = static_cast<f32>(total); break;
      case isa::Reduction::kMean:
        a.out.data[r] = static_cast<f32>(total / static_cast<f64>(n));
        break;
      case isa::Reduction::kMax: a.out.data[r] = x[best]; break;
      case isa::Reduction::kArgmax:
        reinterpret_cast<i32*>(a.out.data)[r] = static_cast<i32>(best);
        break;
      case isa::Reduction::kSoftmax: softmax(x, a.out.data + r * n, n); break;
    }
  }
}

}  // namespace

void run_plain(const PlainArgs& a, i32 part, i32 parts) {
  Share rows = share_of(a.op == Opcode::kReduce ? a.in[0].rows() : a.out.rows(), part, parts);
  switch (a.op) {
    case Opcode::kGather: return gather(a, part, parts);
    case Opcode::kView:
    case Opcode::kCast: return view(a, part, parts);
    case Opcode::kConcat:
      return a.attributes.axis == 1 ? concat_columns(a, rows) : concat_rows(a, part);
    case Opcode::kPermute: return permute(a, rows);
    case Opcode::kBmm: return bmm(a, rows);
    case Opcode::kLayerNorm: return layer_norm(a, rows);
    case Opcode::kAct: return act(a, rows);
    case Opcode::kGlu: return glu(a, rows);
    case Opcode::kEw: return ew(a, rows);
    case Opcode::kReduce: return reduce(a, rows);
    default: TG_ASSERT(false && "a plain op");
  }
}

void round_rows(const RoundArgs& a, i32 part, i32 parts) {
  if (a.type != isa::DType::kF16 && a.type != isa::DType::kBf16) return;
  Share share = share_of(a.out.elements(), part, parts);
  for (i64 i = share.begin; i < share.end; ++i) {
    f32& x = a.out.data[i];
    x = a.type == isa::DType::kBf16 ? bfloat_to_float(float_to_bfloat(x))
                                    : half_to_float(float_to_half(x));
  }
}

namespace {

struct RowRange {
  i64 first, count;
};

RowRange pooled_rows(const PoolArgs& a, i64 sequence) {
  i64 first = a.rows_each > 0 ? sequence * a.rows_each : a.first[sequence];
  i64 end = a.rows_each > 0 ? first + a.rows_each : a.first[sequence + 1];
  bool is_one =
      a.attributes.pooling == isa::Pooling::kLast || a.attributes.pooling == isa::Pooling::kCls;
  if (a.attributes.pooling == isa::Pooling::kLast && end > first) first = end - 1;
  return {first, is_one ? std::min<i64>(1, end - first) : end - first};
}

void normalise(f32* row, i64 n) {
  f64 squares = 0;
  for (i64 i = 0; i < n; ++i) squares += f64{row[i]} * row[i];
  if (squares == 0) return;
  f64 norm = std::sqrt(squares);
  for (i64 i = 0; i < n; ++i) row[i] = static_cast<f32>(row[i] / norm);
}

}  // namespace

void pool_rows(const PoolArgs& a, i32 part, i32 parts) {
  Share sequences = share_of(a.out.rows(), part, parts);
  i64 n = a.out.cols();
  for (i64 s = sequences.begin; s < sequences.end; ++s) {
    RowRange rows = pooled_rows(a, s);
    f32* y = a.out.data + s * n;
    for (i64 i = 0; i < n; ++i) {
      const f32* x = a.x.data + rows.first * n + i;
      f64 value = rows.count > 0 ? x[0] : 0.0;
      for (i64 t = 1; t < rows.count; ++t) {
        bool is_max = a.attributes.pooling == isa::Pooling::kMax;
        value = is_max ? std::max(value, f64{x[t * n]}) : value + x[t * n];
      }
      bool is_mean = a.attributes.pooling == isa::Pooling::kMean && rows.count > 0;
      y[i] = static_cast<f32>(is_mean ? value / static_cast<f64>(rows.count) : value);
    }
    if (a.attributes.norm != 0) normalise(y, n);
  }
}

void fill_rope_table(const RopeTableArgs& a, i32 part, i32 parts) {
  Share tokens = share_of(a.tokens, part, parts);
  for (i64 t = tokens.begin; t < tokens.end; ++t) {
    std::size_t section = 0;
    i64 left = a.sections.empty() ? a.half : a.sections[0];
    for (i64 i = 0; i < a.half; ++i, --left) {
      while (left == 0 && section + 1 < a.sections.size()) left = a.sections[++section];
      i32 pos = a.pos[static_cast<i64>(section) * a.tokens + t];
      // The angle is rounded to f32 before the exact functions: isa.md 4.4.
      f32 angle = static_cast<f32>(pos) * a.invf[i];
      a.cos[t * a.half + i] = std::cos(angle) * a.mscale;
      a.sin[t * a.half + i] = std::sin(angle) * a.mscale;
    }
  }
}

}  // namespace tg::backend::cpu
