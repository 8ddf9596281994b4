// A program as data: what the assembler makes and the decoder reads. It proves nothing until
// verify() has turned it into a VerifiedProgram, the only kind that can be costed, flattened or run
// (isa.md §6-9).
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "isa/dtype.h"
#include "isa/opcode.h"
#include "unit/cost_matrix.h"

namespace tg::isa {

// The newest version that this loader takes. A program names the least that has all it uses (V2).
inline constexpr u16 kIsaMajor = 1;
inline constexpr u16 kIsaMinor = 1;

// A dimension: constant + t*T + s*S + r*R, over the step symbols T (new tokens), S (sequences), R
// (logit rows).
struct Dim {
  i64 constant = 0;
  i32 t = 0;
  i32 s = 0;
  i32 r = 0;
  friend bool operator==(const Dim&, const Dim&) = default;
};

// kTensor, or one of the opaque kinds that only their own ops accept. A perm has dims: tokens, k
// and experts of the route that made it.
enum class ValueKind : u8 { kTensor, kBatch, kPerm, kParams };

struct Type {
  ValueKind kind = ValueKind::kTensor;
  DType dtype = DType::kF32;
  std::vector<Dim> dims;  // rank <= 4, the last contiguous
  friend bool operator==(const Type&, const Type&) = default;
};

// Upper bounds of the step symbols and of the context a program may be asked for (.dim).
struct Bounds {
  i64 tokens = 0;     // T
  i64 sequences = 0;  // S
  i64 rows = 0;       // R
  i64 context = 0;    // C
  friend bool operator==(const Bounds&, const Bounds&) = default;
};

struct WeightDecl {
  std::string name;  // without the '$'
  DType codec = DType::kF32;
  u32 layers = 0;  // 0: one tensor; n: one per layer, indexed [l]
  std::vector<i64> dims;
  friend bool operator==(const WeightDecl&, const WeightDecl&) = default;
};

// Memory that outlives a step: a paged cache of keys and values, or (is_state) one block of
// heads x dk x dv numbers for each sequence, which has no pages.
struct KvDecl {
  std::string name;
  u32 layers = 0;
  u32 heads = 0;
  u32 dk = 0;
  u32 dv = 0;  // 0: keys only
  DType format = DType::kF16;
  u32 page_tokens = 16;  // 0 for a state
  u32 latent = 0;        // keys only: the first `latent` channels of a key serve as its value
  bool is_state = false;
  // Channels that attention mixes: the value's, or the latent part of the key.
  u32 value_dim() const { return latent > 0 ? latent : dv; }
  friend bool operator==(const KvDecl&, const KvDecl&) = default;
};

// A small constant carried by the program itself (rope frequencies), at most 64 KiB in all.
struct ConstDecl {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<i64> dims;
  std::vector<u8> bytes;
  friend bool operator==(const ConstDecl&, const ConstDecl&) = default;
};

enum class OperandKind : u8 { kValue, kWeight, kConst, kKv };

// How an operand of a layered symbol picks its layer: none, the loop's index plus `layer`, or the
// constant `layer`.
enum class LayerMode : u8 { kNone, kLoop, kFixed };

struct Operand {
  OperandKind kind = OperandKind::kValue;
  LayerMode mode = LayerMode::kNone;
  u16 layer = 0;
  u32 index = 0;  // value id, or the symbol's position in its table
  friend bool operator==(const Operand&, const Operand&) = default;
};

struct Attribute {
  AttributeKey key{};
  std::vector<u32> words;  // one word, or the cycle of a cyc(...) table; floats by bit pattern
  friend bool operator==(const Attribute&, const Attribute&) = default;
};

struct Instruction {
  Opcode op{};
  u8 version = 1;
  std::vector<u32> out;  // value ids, dense in definition order
  std::vector<Operand> in;
  std::vector<Attribute> attributes;  // sorted by key, defaults left out
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

// Loops are flat in `body`: kRepeat (in: the carried values' starts; out: their names inside;
// attribute count) ... kYield (in: next values; out: final values). Nesting is 1.
struct Function {
  std::string name;
  bool when_fresh = false;  // may run instead of main if no sequence of the step has cached keys
  std::vector<u32> parameters;  // value ids
  std::vector<u32> results;
  std::vector<Type> value_types;         // by value id
  std::vector<std::string> value_names;  // by value id; from text only, not encoded
  std::vector<Instruction> body;
};

struct Program {
  u16 isa_major = 1;
  u16 isa_minor = 0;
  u32 profiles = 0;  // bit per Profile
  Bounds bounds;
  std::vector<WeightDecl> weights;
  std::vector<KvDecl> kv;
  std::vector<ConstDecl> constants;
  std::vector<Function> functions;
  // As stored; verify() recomputes them and compares (V17). `cost` is main's, which is what is
  // billed; entry_costs[i] that of functions[i + 1].
  unit::CostMatrix cost;
  std::vector<unit::CostMatrix> entry_costs;
  std::vector<std::pair<std::string, std::string>> meta;  // Not part of the program's identity.
};

// The least minor version that has all the program uses.
u16 minor_needed(const Program& program);

// One instruction of the unrolled program. Operands name values of FlatProgram::values; layers are
// resolved.
struct FlatOperand {
  OperandKind kind = OperandKind::kValue;
  u32 index = 0;
  u32 layer = 0;
};

struct FlatInstruction {
  Opcode op{};
  std::vector<u32> out;
  std::vector<FlatOperand> in;
  std::vector<Attribute> attributes;  // cyc(...) resolved: one word each

  // The attribute's value, or the op's default from the opcode table. REQUIRES: the op has that
  // attribute.
  u32 word(AttributeKey key) const;
  f32 real(AttributeKey key) const;
};

// A function without loops: the list a backend plans and runs from front to back.
struct FlatProgram {
  std::string function;
  std::vector<Type> values;
  std::vector<u32> parameters;
  std::vector<u32> results;
  std::vector<FlatInstruction> code;
};

// A program that passed every rule. Immutable; cheap to share by reference, never made by hand.
class VerifiedProgram {
 public:
  const Program& program() const { return program_; }
  // SHA-256 of the canonical bytes of the critical sections: the program's name everywhere.
  const Digest& id() const { return id_; }
  // Canonical binary encoding (.tgp), cost section included.
  const std::vector<u8>& bytes() const { return bytes_; }
  // Of main: what is billed.
  const unit::CostMatrix& cost() const { return program_.cost; }
  // The unrolled function; the name must exist ("main").
  Result<FlatProgram> flatten(std::string_view function) const;

 private:
  friend Result<VerifiedProgram> verify(Program program);
  friend Result<VerifiedProgram> load(std::span<const u8> bytes);
  VerifiedProgram() = default;

  Program program_;
  Digest id_{};
  std::vector<u8> bytes_;
};

// Checks every rule and fills in the cost matrix. For programs just assembled: the stored cost is
// replaced.
Result<VerifiedProgram> verify(Program program);
// Decodes and verifies a binary program from outside; the stored cost must equal the recomputed
// one.
Result<VerifiedProgram> load(std::span<const u8> bytes);

}  // namespace tg::isa
