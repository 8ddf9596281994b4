// The loops behind reference_kernels.h: every op of profile TEXT but logits and sample, in f32 and
// the naive order, as the reference interpreter's same-type mode computes them.
#include "backend/kit/reference_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "isa/codec.h"
#include "isa/ew.h"
#include "isa/limits.h"
#include "isa/reference/activation_quant.h"
#include "isa/reference/scalar.h"

namespace tg::backend::kit {

namespace {

using isa::AttributeKey;
using isa::Opcode;

u32 word(const tgk_call& c, AttributeKey key) {
  return tgk_word(c.op, static_cast<u32>(key));
}
f32 real(const tgk_call& c, AttributeKey key) {
  return tgk_real(c.op, static_cast<u32>(key));
}

i64 columns(const tgk_tensor& t) {
  return t.dims[t.rank - 1];
}
i64 rows(const tgk_tensor& t) {
  i64 n = 1;
  for (u32 i = 0; i + 1 < t.rank; ++i) n *= t.dims[i];
  return n;
}
i64 elements(const tgk_tensor& t) {
  return rows(t) * columns(t);
}
const i32* ints(const tgk_tensor& t) {
  return reinterpret_cast<const i32*>(t.data);
}
void copy(const f32* from, f32* to, i64 n) {
  if (n > 0) std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(f32));
}

// Row ids[t] of a table, or of any tensor along its first dimension.
void pick_rows(const tgk_tensor& from, const i32* ids, const tgk_tensor& out) {
  i64 n = 1;
  for (u32 i = 1; i < out.rank; ++i) n *= out.dims[i];
  for (i64 r = 0; r < out.dims[0]; ++r) copy(from.data + ids[r] * n, out.data + r * n, n);
}
void embed(const tgk_call* c) {
  pick_rows(c->in[0], ints(c->in[1]), c->out);
}
void gather(const tgk_call* c) {
  pick_rows(c->in[0], ints(c->in[1]), c->out);
}

// A slice of the last dimension, or the same numbers under other dimensions.
void view(const tgk_call* c) {
  const tgk_tensor& x = c->in[0];
  i64 offset = word(*c, AttributeKey::kOffset);
  if (elements(x) == elements(c->out)) return copy(x.data, c->out.data, elements(x));
  i64 n = columns(c->out);
  for (i64 r = 0; r < rows(x); ++r) {
    copy(x.data + r * columns(x) + offset, c->out.data + r * n, n);
  }
}

void concat(const tgk_call* c) {
  f32* to = c->out.data;
  bool by_rows = word(*c, AttributeKey::kAxis) == 0;
  i64 count = by_rows ? 1 : rows(c->out);
  for (i64 r = 0; r < count; ++r) {
    for (u32 i = 0; i < c->n_in; ++i) {
      i64 n = by_rows ? elements(c->in[i]) : columns(c->in[i]);
      copy(c->in[i].data + r * n, to, n);
      to += n;
    }
  }
}

void cast(const tgk_call* c) {
  copy(c->in[0].data, c->out.data, elements(c->out));
}

f32 dot(const f32* a, const f32* b, i64 n) {
  f32 sum = 0;
  for (i64 i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// The activations as `xq` rounds them, in place of the row: scratch holds K doubles, then K floats.
const f32* quantized(const tgk_call& c, const f32* x, i64 k) {
  isa::ActivationQuant xq = static_cast<isa::ActivationQuant>(word(c, AttributeKey::kXq));
  if (xq == isa::ActivationQuant::kNone) return x;
  std::span<f64> row(c.scratch, static_cast<std::size_t>(k));
  f32* out = reinterpret_cast<f32*>(c.scratch + k);
  std::copy(x, x + k, row.begin());
  isa::quantize_activations(xq, row);
  for (i64 i = 0; i < k; ++i) out[i] = static_cast<f32>(row[static_cast<std::size_t>(i)]);
  return out;
}

void linear(const tgk_call* c) {
  const tgk_tensor& w = c->in[1];
  i64 k = w.dims[1];
  for (i64 t = 0; t < rows(c->out); ++t) {
    const f32* x = quantized(*c, c->in[0].data + t * k, k);
    for (i64 n = 0; n < w.dims[0]; ++n) {
      f32 sum = dot(x, w.data + n * k, k);
      if (c->n_in > 2) sum += c->in[2].data[n];
      c->out.data[t * w.dims[0] + n] = sum;
    }
  }
}

// y[t,g] = w[g] a[t,g], or its transpose; one row of a serves all groups.
void bmm_weight(const tgk_call* c) {
  const tgk_tensor& a = c->in[0];
  bool transposed = word(*c, AttributeKey::kTrans) != 0;
  i64 groups = c->out.dims[1], n = c->out.dims[2], k = a.dims[2];
  for (i64 row = 0; row < rows(c->out); ++row) {
    i64 g = row % groups;
    const f32* x = a.data + (a.dims[1] == 1 ? row / groups : row) * k;
    const f32* w = c->in[1].data + g * n * k;
    for (i64 i = 0; i < n; ++i) {
      f32 sum = 0;
      for (i64 j = 0; j < k; ++j) sum += x[j] * w[transposed ? j * n + i : i * k + j];
      c->out.data[row * n + i] = sum;
    }
  }
}

void bmm(const tgk_call* c) {
  if (c->op->in[1].kind == TGK_WEIGHT) return bmm_weight(c);
  i64 m = c->out.dims[1], n = c->out.dims[2], k = columns(c->in[0]);
  for (i64 row = 0; row < rows(c->out); ++row) {
    for (i64 i = 0; i < n; ++i) {
      const f32* b = c->in[1].data + (row / m * n + i) * k;
      c->out.data[row * n + i] = dot(c->in[0].data + row * k, b, k);
    }
  }
}

void rmsnorm(const tgk_call* c) {
  const tgk_tensor& x = c->in[0];
  i64 group = word(*c, AttributeKey::kGroup);
  if (group == 0) group = columns(x);
  f32 eps = real(*c, AttributeKey::kEps), offset = real(*c, AttributeKey::kWoff);
  bool cast_first =
      word(*c, AttributeKey::kCastAt) == static_cast<u32>(isa::NormCast::kBeforeWeight);
  i64 wide = c->n_in > 1 ? elements(c->in[1]) : 1;
  for (i64 start = 0; start < elements(x); start += group) {
    const f32* from = x.data + start;
    f32 scale = 1.0f / std::sqrt(dot(from, from, group) / static_cast<f32>(group) + eps);
    for (i64 i = 0; i < group; ++i) {
      f32 value = from[i] * scale;
      if (cast_first) tgk_round(c->out.dtype, &value, 1);
      if (c->n_in > 1) value *= c->in[1].data[(start + i) % columns(x) % wide] + offset;
      c->out.data[start + i] = value;
    }
  }
}

void layernorm(const tgk_call* c) {
  i64 n = columns(c->in[0]);
  f32 eps = real(*c, AttributeKey::kEps);
  for (i64 r = 0; r < rows(c->in[0]); ++r) {
    const f32* x = c->in[0].data + r * n;
    f32 sum = 0, squares = 0;
    for (i64 i = 0; i < n; ++i) sum += x[i];
    f32 mean = sum / static_cast<f32>(n);
    for (i64 i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
    f32 scale = 1.0f / std::sqrt(squares / static_cast<f32>(n) + eps);
    for (i64 i = 0; i < n; ++i) {
      f32 value = (x[i] - mean) * scale;
      if (c->n_in > 1) value *= c->in[1].data[i];
      if (c->n_in > 2) value += c->in[2].data[i];
      c->out.data[r * n + i] = value;
    }
  }
}

void add(const tgk_call* c) {
  f32 alpha = real(*c, AttributeKey::kAlpha), beta = real(*c, AttributeKey::kBeta);
  i64 wide = elements(c->in[1]);
  for (i64 i = 0; i < elements(c->out); ++i) {
    c->out.data[i] = alpha * c->in[0].data[i] + beta * c->in[1].data[i % wide];
  }
}

void mul(const tgk_call* c) {
  f32 alpha = real(*c, AttributeKey::kAlpha);
  i64 wide = c->n_in > 1 ? elements(c->in[1]) : 1;
  for (i64 i = 0; i < elements(c->out); ++i) {
    f32 value = c->in[0].data[i];
    if (alpha != 1) value *= alpha;
    c->out.data[i] = c->n_in > 1 ? value * c->in[1].data[i % wide] : value;
  }
}

void glu(const tgk_call* c) {
  isa::GluShape<f32> shape{static_cast<isa::Activation>(word(*c, AttributeKey::kAct)),
                           real(*c, AttributeKey::kAlpha), real(*c, AttributeKey::kLimit)};
  i64 n = columns(c->out), stride = columns(c->in[0]);
  for (i64 r = 0; r < rows(c->out); ++r) {
    const f32* g = c->in[0].data + r * stride;
    const f32* u = c->n_in > 1 ? c->in[1].data + r * n : g + n;
    for (i64 i = 0; i < n; ++i) c->out.data[r * n + i] = isa::gated(shape, g[i], u[i]);
  }
}

void act(const tgk_call* c) {
  isa::Activation kind = static_cast<isa::Activation>(word(*c, AttributeKey::kAct));
  f32 cap = real(*c, AttributeKey::kSoftcap);
  for (i64 i = 0; i < elements(c->out); ++i) {
    c->out.data[i] = isa::activate(kind, c->in[0].data[i], cap);
  }
}

void ew(const tgk_call* c) {
  u32 count = 0;
  const u32* code = tgk_words(c->op, static_cast<u32>(AttributeKey::kCode), &count);
  f32 inputs[TGK_OPERANDS_MAX];
  for (i64 i = 0; i < elements(c->out); ++i) {
    for (u32 k = 0; k < c->n_in; ++k) inputs[k] = c->in[k].data[i % elements(c->in[k])];
    c->out.data[i] = isa::run_ew<f32>({code, count}, {inputs, c->n_in});
  }
}

void softmax(const f32* x, i64 n, f32* y) {
  f32 top = *std::max_element(x, x + n), sum = 0;
  for (i64 i = 0; i < n; ++i) sum += y[i] = std::exp(x[i] - top);
  for (i64 i = 0; i < n; ++i) y[i] /= sum;
}

void reduce(const tgk_call* c) {
  isa::Reduction kind = static_cast<isa::Reduction>(word(*c, AttributeKey::kReduction));
  i64 n = columns(c->in[0]);
  for (i64 r = 0; r < rows(c->in[0]); ++r) {
    const f32* x = c->in[0].data + r * n;
    const f32* best = std::max_element(x, x + n);  // The first of equals.
    f32 sum = 0;
    for (i64 i = 0; i < n; ++i) sum += x[i];
    switch (kind) {
      case isa::Reduction::kSum: c->out.data[r] = sum; break;
      case isa::Reduction::kMean: c->out.data[r] = sum / static_cast<f32>(n); break;
      case isa::Reduction::kMax: c->out.data[r] = *best; break;
      case isa::Reduction::kSoftmax: softmax(x, n, c->out.data + r * n); break;
      case isa::Reduction::kArgmax: {
        i32 index = static_cast<i32>(best - x);
        std::memcpy(c->out.data + r, &index, sizeof(index));
        break;
      }
    }
  }
}

// Row of positions [n,T] that turns frequency i: mrope's sections, else the first.
i64 position_row(const tgk_call& c, i64 i) {
  u32 count = 0;
  if (word(c, AttributeKey::kStyle) != static_cast<u32>(isa::RopeStyle::kMrope)) return 0;
  const u32* sections = tgk_words(c.op, static_cast<u32>(AttributeKey::kSections), &count);
  for (u32 row = 0; row < count; ++row) {
    if (i < i64{sections[row]}) return row;
    i -= sections[row];
  }
  return 0;
}

void rope(const tgk_call* c) {
  const tgk_tensor& x = c->in[0];
  copy(x.data, c->out.data, elements(x));
  i64 heads = word(*c, AttributeKey::kHeads), half = word(*c, AttributeKey::kRot) / 2;
  i64 width = columns(x) / heads, tokens = x.dims[0];
  bool gptj = word(*c, AttributeKey::kStyle) == static_cast<u32>(isa::RopeStyle::kGptj);
  f32 mscale = real(*c, AttributeKey::kMscale);
  const f32* invf = c->in[2].data + word(*c, AttributeKey::kTable) * half;
  for (i64 t = 0; t < tokens; ++t) {
    for (i64 i = 0; i < half; ++i) {
      i32 position = ints(c->in[1])[position_row(*c, i) * tokens + t];
      f32 angle = static_cast<f32>(position) * invf[i];  // rounded before the exact functions
      f32 cosine = static_cast<f32>(std::cos(static_cast<f64>(angle)));
      f32 sine = static_cast<f32>(std::sin(static_cast<f64>(angle)));
      for (i64 h = 0; h < heads; ++h) {
        f32* head = c->out.data + t * columns(x) + h * width + word(*c, AttributeKey::kOffset);
        f32& a = head[gptj ? 2 * i : i];
        f32& b = head[gptj ? 2 * i + 1 : i + half];
        f32 first = (a * cosine - b * sine) * mscale;
        b = (b * cosine + a * sine) * mscale;
        a = first;
      }
    }
  }
}

// One head's row as the cache's format gives it back.
void store(u32 format, const f32* from, i64 n, f32* to) {
  isa::DType type = static_cast<isa::DType>(format);
  if (isa::info(type).block_elements == 1) {
    for (i64 i = 0; i < n; ++i) to[i] = isa::round_to(type, from[i]);
    return;
  }
  u8 block[64];
  i64 step = isa::info(type).block_elements, bytes = isa::info(type).block_bytes;
  for (i64 i = 0; i < n; i += step) {
    std::span<u8> packed(block, static_cast<std::size_t>(bytes));
    std::size_t length = static_cast<std::size_t>(step);
    isa::quantize_row(type, {from + i, length}, packed);
    isa::dequantize_row(type, packed, {to + i, length});
  }
}

i64 token_floats(const tgk_cache_type& t) {
  return i64{t.heads} * (t.dk + t.dv);
}
// Keys of a token; its values follow.
f32* token_at(const tgk_cache& cache, i64 slot) {
  i64 page = slot / cache.type.page_tokens, offset = slot % cache.type.page_tokens;
  return cache.base + page * cache.page_floats + offset * token_floats(cache.type);
}

void kv_append(const tgk_call* c) {
  const tgk_cache_type& t = c->cache.type;
  i64 keys = i64{t.heads} * t.dk, values = i64{t.heads} * t.dv;
  for (i64 i = 0; i < c->batch.tokens; ++i) {
    if (c->batch.slots[i] < 0) continue;
    f32* to = token_at(c->cache, c->batch.slots[i]);
    for (i64 h = 0; h < t.heads; ++h) {
      store(t.format, c->in[1].data + i * keys + h * t.dk, t.dk, to + h * t.dk);
      if (t.dv == 0) continue;
      store(t.format, c->in[2].data + i * values + h * t.dv, t.dv, to + keys + h * t.dv);
    }
  }
}

struct Query {
  i64 sequence, head;
  i64 first, end;  // keys seen
  const f32* q;
  f32* out;
};

const f32* key_at(const tgk_call& c, i64 sequence, i64 key) {
  i64 page_tokens = c.cache.type.page_tokens;
  i64 page = c.batch.pages[c.batch.page_begin[sequence] + key / page_tokens];
  return token_at(c.cache, page * page_tokens + key % page_tokens);
}

// Scores go to scratch, then the max-subtracted softmax mixes values.
void attend(const tgk_call& c, const Query& query) {
  const tgk_cache_type& t = c.cache.type;
  f32* scores = reinterpret_cast<f32*>(c.scratch);
  f32 scale = real(c, AttributeKey::kScale), cap = real(c, AttributeKey::kSoftcap);
  i64 heads = word(c, AttributeKey::kHeads), group = query.head / (heads / t.heads);
  bool has_sinks = c.n_in > 3;
  f32 top = has_sinks ? c.in[3].data[query.head] : -HUGE_VALF;
  for (i64 key = query.first; key < query.end; ++key) {
    f32 score = dot(query.q, key_at(c, query.sequence, key) + group * t.dk, t.dk) * scale;
    if (cap > 0) score = cap * std::tanh(score / cap);
    scores[key] = score;
    top = std::max(top, score);
  }
  i64 width = t.latent > 0 ? t.latent : t.dv;
  i64 offset = t.latent > 0 ? group * t.dk : i64{t.heads} * t.dk + group * t.dv;
  f32 sum = has_sinks ? std::exp(c.in[3].data[query.head] - top) : 0;
  std::fill(query.out, query.out + width, 0.0f);
  for (i64 key = query.first; key < query.end; ++key) {
    f32 weight = std::exp(scores[key] - top);
    const f32* value = key_at(c, query.sequence, key) + offset;
    sum += weight;
    for (i64 i = 0; i < width; ++i) query.out[i] += weight * value[i];
  }
  for (i64 i = 0; i < width; ++i) query.out[i] /= sum;
}

void attn(const tgk_call* c) {
  const tgk_cache_type& t = c->cache.type;
  i64 heads = word(*c, AttributeKey::kHeads), window = word(*c, AttributeKey::kWindow);
  i64 width = t.latent > 0 ? t.latent : t.dv;
  for (i64 s = 0; s < c->batch.sequences; ++s) {
    for (i64 i = c->batch.cu[s]; i < c->batch.cu[s + 1]; ++i) {
      i64 end = c->batch.past[s] + i - c->batch.cu[s] + 1;
      i64 first = window > 0 ? std::max<i64>(0, end - window) : 0;
      for (i64 h = 0; h < heads; ++h) {
        attend(*c, {s, h, first, end, c->in[0].data + (i * heads + h) * t.dk,
                    c->out.data + (i * heads + h) * width});
      }
    }
  }
}

struct Entry {
  Opcode op;
  tgk_kernel kernel;
};
constexpr Entry kKernels[] = {
    {Opcode::kEmbed, embed},
    {Opcode::kGather, gather},
    {Opcode::kView, view},
    {Opcode::kConcat, concat},
    {Opcode::kCast, cast},
    {Opcode::kLinear, linear},
    {Opcode::kBmm, bmm},
    {Opcode::kRmsNorm, rmsnorm},
    {Opcode::kLayerNorm, layernorm},
    {Opcode::kAdd, add},
    {Opcode::kMul, mul},
    {Opcode::kGlu, glu},
    {Opcode::kAct, act},
    {Opcode::kEw, ew},
    {Opcode::kReduce, reduce},
    {Opcode::kRope, rope},
    {Opcode::kKvAppend, kv_append},
    {Opcode::kAttn, attn},
};

}  // namespace

}  // namespace tg::backend::kit

using namespace tg;

tgk_kernel tgk_reference_kernel(uint32_t opcode) {
  for (const backend::kit::Entry& entry : backend::kit::kKernels) {
    if (static_cast<u32>(entry.op) == opcode) return entry.kernel;
  }
  return nullptr;
}

int64_t tgk_scratch(const tgk_program* program, const tgk_op* op, int64_t max_context) {
  isa::Opcode code = static_cast<isa::Opcode>(op->code);
  if (code == isa::Opcode::kLinear) return 2 * program->weights[op->in[1].index].dims[1];
  return code == isa::Opcode::kAttn ? max_context : 0;
}

void tgk_round(uint32_t dtype, float* data, int64_t n) {
  isa::DType type = static_cast<isa::DType>(dtype);
  if (type != isa::DType::kF16 && type != isa::DType::kBf16) return;
  for (i64 i = 0; i < n; ++i) data[i] = isa::round_to(type, data[i]);
}

int tgk_decode(uint32_t codec, const void* bytes, uint64_t n_bytes, int64_t rows, int64_t columns,
               float* out) {
  isa::DType type = static_cast<isa::DType>(codec);
  if (type >= isa::DType::kCount || !isa::can_dequantize(type)) return -1;
  if (rows < 0 || columns < 1 || columns % isa::info(type).block_elements != 0) return -1;
  u64 row = static_cast<u64>(isa::row_bytes(type, columns));
  if (n_bytes != row * static_cast<u64>(rows)) return -1;
  const u8* from = static_cast<const u8*>(bytes);
  for (i64 r = 0; r < rows; ++r) {
    isa::dequantize_row(type, {from + static_cast<u64>(r) * row, row},
                        {out + r * columns, static_cast<std::size_t>(columns)});
  }
  return 0;
}
