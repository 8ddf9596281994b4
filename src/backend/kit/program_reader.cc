// tgk_program_*: a verified program as flat C arrays.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "backend/kit/reference_kernels.h"
#include "isa/codec.h"
#include "isa/program.h"

namespace tg::backend::kit {

namespace {

// The arrays that a tgk_program points into; the program is its first member, so that one pointer
// stands for both.
struct OwnedProgram {
  tgk_program view{};
  isa::FlatProgram flat;
  std::vector<tgk_type> values;
  std::vector<std::vector<tgk_operand>> operands;
  std::vector<tgk_op> ops;
  std::vector<tgk_weight> weights;
  std::vector<std::vector<f32>> numbers;
  std::vector<tgk_constant> constants;
  std::vector<tgk_cache_type> caches;
};

template <typename Dims>
void copy_dims(const Dims& from, int64_t (&to)[TGK_RANK_MAX]) {
  for (std::size_t i = 0; i < TGK_RANK_MAX; ++i) to[i] = i < from.size() ? from[i] : 1;
}

tgk_type type_of(const isa::Type& type) {
  tgk_type out{.is_tensor = type.kind == isa::ValueKind::kTensor,
               .dtype = static_cast<u8>(type.dtype),
               .rank = static_cast<u8>(type.dims.size())};
  for (std::size_t i = 0; i < type.dims.size(); ++i) {
    const isa::Dim& dim = type.dims[i];
    out.dims[i] = {.constant = dim.constant, .t = dim.t, .s = dim.s, .r = dim.r};
  }
  return out;
}

void add_op(OwnedProgram& p, const isa::FlatInstruction& op) {
  std::vector<tgk_operand>& in = p.operands.emplace_back();
  for (const isa::FlatOperand& o : op.in) {
    in.push_back({.kind = static_cast<u32>(o.kind), .index = o.index, .layer = o.layer});
  }
  p.ops.push_back({.code = static_cast<u32>(op.op),
                   .n_in = static_cast<u32>(in.size()),
                   .n_out = static_cast<u32>(op.out.size()),
                   .in = in.data(),
                   .out = op.out.data(),
                   .name = isa::name(op.op).data(),
                   .attributes = &op});
}

void add_declarations(OwnedProgram& p, const isa::Program& program) {
  for (const isa::WeightDecl& w : program.weights) {
    tgk_weight& out = p.weights.emplace_back();
    out.dtype = static_cast<u32>(w.codec);
    out.rank = static_cast<u32>(w.dims.size());
    copy_dims(w.dims, out.dims);
  }
  for (const isa::ConstDecl& c : program.constants) {
    i64 elements = 1;
    for (i64 dim : c.dims) elements *= dim;
    std::vector<f32>& numbers = p.numbers.emplace_back(static_cast<std::size_t>(elements));
    isa::dequantize_row(c.dtype, c.bytes, numbers);
    tgk_constant& out = p.constants.emplace_back();
    out.data = numbers.data();
    out.rank = static_cast<u32>(c.dims.size());
    copy_dims(c.dims, out.dims);
  }
  for (const isa::KvDecl& kv : program.kv) {
    p.caches.push_back({.heads = kv.heads,
                        .dk = kv.dk,
                        .dv = kv.dv,
                        .page_tokens = kv.page_tokens,
                        .format = static_cast<u32>(kv.format),
                        .latent = kv.latent});
  }
}

void point(OwnedProgram& p) {
  p.view = {.n_values = static_cast<u32>(p.values.size()),
            .n_ops = static_cast<u32>(p.ops.size()),
            .n_parameters = static_cast<u32>(p.flat.parameters.size()),
            .n_results = static_cast<u32>(p.flat.results.size()),
            .n_weights = static_cast<u32>(p.weights.size()),
            .n_constants = static_cast<u32>(p.constants.size()),
            .n_caches = static_cast<u32>(p.caches.size()),
            .values = p.values.data(),
            .ops = p.ops.data(),
            .parameters = p.flat.parameters.data(),
            .results = p.flat.results.data(),
            .weights = p.weights.data(),
            .constants = p.constants.data(),
            .caches = p.caches.data()};
}

Result<std::unique_ptr<OwnedProgram>> read(std::span<const u8> bytes, const char* function) {
  TG_ASSIGN(isa::VerifiedProgram verified, isa::load(bytes));
  std::unique_ptr<OwnedProgram> p = std::make_unique<OwnedProgram>();
  TG_ASSIGN(p->flat, verified.flatten(function));
  for (const isa::Type& type : p->flat.values) p->values.push_back(type_of(type));
  for (const isa::FlatInstruction& op : p->flat.code) add_op(*p, op);
  add_declarations(*p, verified.program());
  point(*p);
  return p;
}

const isa::FlatInstruction& instruction(const tgk_op* op) {
  return *static_cast<const isa::FlatInstruction*>(op->attributes);
}

void tell(const std::string& text, char* error, uint64_t error_bytes) {
  if (error_bytes == 0) return;
  std::size_t n = std::min<std::size_t>(text.size(), error_bytes - 1);
  std::memcpy(error, text.data(), n);
  error[n] = 0;
}

}  // namespace

}  // namespace tg::backend::kit

using namespace tg::backend::kit;

const tgk_program* tgk_program_read(const uint8_t* bytes, uint64_t n, const char* function,
                                    char* error, uint64_t error_bytes) {
  try {
    tg::Result<std::unique_ptr<OwnedProgram>> program = read({bytes, n}, function);
    if (program) return &std::move(program).value().release()->view;
    tell(program.error().message, error, error_bytes);
  } catch (const std::bad_alloc&) {
    tell("out of memory", error, error_bytes);
  }
  return nullptr;
}

void tgk_program_free(const tgk_program* program) {
  delete reinterpret_cast<const OwnedProgram*>(program);
}

uint32_t tgk_word(const tgk_op* op, uint32_t key) {
  return instruction(op).word(static_cast<tg::isa::AttributeKey>(key));
}

float tgk_real(const tgk_op* op, uint32_t key) {
  return instruction(op).real(static_cast<tg::isa::AttributeKey>(key));
}

const uint32_t* tgk_words(const tgk_op* op, uint32_t key, uint32_t* count) {
  *count = 0;
  for (const tg::isa::Attribute& a : instruction(op).attributes) {
    if (static_cast<uint32_t>(a.key) != key) continue;
    *count = static_cast<uint32_t>(a.words.size());
    return a.words.data();
  }
  return nullptr;
}

const char* tgk_dtype_name(uint32_t dtype) {
  if (dtype >= static_cast<uint32_t>(tg::isa::DType::kCount)) return "?";
  return tg::isa::info(static_cast<tg::isa::DType>(dtype)).name.data();
}
