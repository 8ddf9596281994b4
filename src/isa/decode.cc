// Binary to program. Reads defensively (every count against what is left), keeps values as they are
// and lets load() compare the re-encoding with the input, which settles canonical form (M4).
#include <algorithm>

#include "base/bytes.h"
#include "isa/binary.h"
#include "isa/encode.h"
#include "isa/limits.h"
#include "isa/verify/op_view.h"

namespace tg::isa {

namespace {

Error corrupt(std::string_view rule, std::string message) {
  return Error{Code::kCorrupt, std::string(rule) + ": " + std::move(message)};
}

// The words of one section, or of one instruction.
class Words {
 public:
  Words(std::span<const u8> bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  std::size_t left() const { return (bytes_.size() - at_) / 4; }

  Result<u32> next() {
    if (left() == 0) return corrupt("M3", std::string(what_) + " ends early");
    u32 value = 0;
    for (std::size_t i = 0; i < 4; ++i) value |= u32{bytes_[at_ + i]} << (8 * i);
    at_ += 4;
    return value;
  }

  Result<u64> next_pair() {
    TG_ASSIGN(u32 low, next());
    TG_ASSIGN(u32 high, next());
    return u64{low} | u64{high} << 32;
  }

  // A number of items that take at least one word each.
  Result<u32> count(i64 max) {
    TG_ASSIGN(u32 value, next());
    if (value > max || value > left())
      return corrupt("M6", std::string(what_) + ": count " + std::to_string(value) + ", at most " +
                               std::to_string(std::min<u64>(static_cast<u64>(max), left())));
    return value;
  }

  Result<Words> sub(std::size_t words) {
    if (words > left()) return corrupt("M3", std::string(what_) + " ends early");
    Words part(bytes_.subspan(at_, words * 4), what_);
    at_ += words * 4;
    return part;
  }

  // n bytes, zeros to the end of their last word.
  Result<std::span<const u8>> packed(std::size_t n) {
    if (n > bytes_.size() || (n + 3) / 4 > left())
      return corrupt("M3", std::string(what_) + " ends early");
    std::span<const u8> out = bytes_.subspan(at_, n);
    at_ += (n + 3) / 4 * 4;
    return out;
  }

  std::span<const u8> rest() const { return bytes_.subspan(at_); }

  Status end() const {
    if (left() != 0)
      return corrupt("M3", std::string(what_) + ": " + std::to_string(left()) + " words too many");
    return {};
  }

 private:
  std::span<const u8> bytes_;
  std::string_view what_;
  std::size_t at_ = 0;
};

class Decoder {
 public:
  explicit Decoder(std::span<const u8> bytes) : bytes_(bytes) {}

  Result<Program> run() {
    TG_TRY(header());
    u32 last = 0;
    while (at_ < bytes_.size()) TG_TRY(next_section(last));
    if (sections_ != expected_sections_)
      return corrupt("M2", std::to_string(sections_) + " sections, the header says " +
                               std::to_string(expected_sections_));
    for (Section id : {Section::kStrings, Section::kRequirements, Section::kSymbols,
                       Section::kFunctions, Section::kCost}) {
      if ((seen_ >> static_cast<u32>(id) & 1) == 0)
        return corrupt("M2", "section " + std::to_string(static_cast<u32>(id)) + " is missing");
    }
    TG_TRY(requirements_match());
    return std::move(program_);
  }

 private:
  Status header() {
    if (bytes_.size() < kHeaderBytes || bytes_.size() % 8 != 0 ||
        static_cast<i64>(bytes_.size()) > kFileBytesMax)
      return corrupt("M1", "program of " + std::to_string(bytes_.size()) + " bytes");
    Words words(bytes_.subspan(0, kHeaderBytes), "header");
    TG_ASSIGN(u32 magic, words.next());
    if (magic != kMagic) return corrupt("M1", "not a program: the first bytes are not TGP1");
    TG_ASSIGN(u32 version, words.next());
    program_.isa_major = static_cast<u16>(version);
    program_.isa_minor = static_cast<u16>(version >> 16);
    if (program_.isa_major != kIsaMajor || program_.isa_minor > kIsaMinor)
      return corrupt("V2", "ISA version " + std::to_string(program_.isa_major) + "." +
                               std::to_string(program_.isa_minor) + " is newer than 1.1");
    TG_ASSIGN(u32 flags, words.next());
    TG_ASSIGN(expected_sections_, words.next());
    TG_ASSIGN(u64 total, words.next_pair());
    TG_ASSIGN(u64 reserved, words.next_pair());
    if (flags != 0 || reserved != 0) return corrupt("M1", "reserved header bits are set");
    if (total != bytes_.size())
      return corrupt(
          "M1", std::to_string(bytes_.size()) + " bytes, the header says " + std::to_string(total));
    at_ = kHeaderBytes;
    return {};
  }

  Status next_section(u32& last) {
    Words head(bytes_.subspan(at_, 8), "section");
    TG_ASSIGN(u32 tag, head.next());
    TG_ASSIGN(u32 words, head.next());
    u32 id = tag & ~kCriticalBit;
    bool critical = (tag & kCriticalBit) != 0;
    if (id <= last || id >= static_cast<u32>(Section::kCount) ||
        critical != (id != static_cast<u32>(Section::kMeta)))
      return corrupt("M2", "section " + std::to_string(tag) + " after " + std::to_string(last));
    std::size_t size = (std::size_t{words} + words % 2) * 4;
    if (words == 0 || size > bytes_.size() - at_ - 8)
      return corrupt("M3", "section " + std::to_string(id) + " of " + std::to_string(words) +
                               " words does not fit");
    Words payload(bytes_.subspan(at_ + 8, std::size_t{words} * 4), "section");
    at_ += 8 + size;
    last = id;
    seen_ |= 1u << id;
    ++sections_;
    return section(static_cast<Section>(id), payload);
  }

  Status section(Section id, Words& w) {
    switch (id) {
      case Section::kStrings: return strings(w);
      case Section::kRequirements: return requirements(w);
      case Section::kSymbols: return symbols(w);
      case Section::kWeights: return weights(w);
      case Section::kKv: return kv(w);
      case Section::kFunctions: return functions(w);
      case Section::kConstants: return constants(w);
      case Section::kCost: return cost(w);
      case Section::kMeta: return meta(w);
      case Section::kCount: break;
    }
    return corrupt("M2", "unknown section");
  }

  Status strings(Words& w) {
    TG_ASSIGN(u32 count, w.next());
    std::span<const u8> raw = w.rest();
    if (count > kStringsMax || count > raw.size())
      return corrupt("M6", std::to_string(count) + " strings");
    for (u32 i = 0; i < count; ++i) {
      if (raw.empty() || raw[0] >= raw.size()) return corrupt("M5", "a string ends early");
      std::string text(as_text(raw.subspan(1, raw[0])));
      if (!is_utf8(text)) return corrupt("M5", "string " + std::to_string(i) + " is not UTF-8");
      if (i > 0 && strings_.back() >= text)
        return corrupt("M5", "string " + std::to_string(i) + " is not in order");
      raw = raw.subspan(1u + raw[0]);
      strings_.push_back(std::move(text));
    }
    if (raw.size() >= 4 || std::any_of(raw.begin(), raw.end(), [](u8 b) { return b != 0; }))
      return corrupt("M4", "padding after the strings");
    return {};
  }

  Result<std::string> string_at(u32 index) const {
    if (index >= strings_.size()) return corrupt("M7", "no string " + std::to_string(index));
    return strings_[index];
  }

  Status requirements(Words& w) {
    TG_ASSIGN(program_.profiles, w.next());
    TG_ASSIGN(u32 count, w.count(static_cast<i64>(Opcode::kCount)));
    for (u32 i = 0; i < count; ++i) {
      TG_ASSIGN(u32 op, w.next());
      required_.push_back(op);
    }
    return w.end();
  }

  // V2: the listed ops are exactly the ones used.
  Status requirements_match() const {
    std::vector<u32> used;
    for (const Function& f : program_.functions) {
      for (const Instruction& i : f.body)
        used.push_back(static_cast<u32>(i.op) | static_cast<u32>(i.version) << 16);
    }
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
    if (used != required_) return corrupt("V2", "the ops listed in REQ are not the ops used");
    return {};
  }

  Status symbols(Words& w) {
    for (i64* bound : {&program_.bounds.tokens, &program_.bounds.sequences, &program_.bounds.rows,
                       &program_.bounds.context}) {
      TG_ASSIGN(u32 value, w.next());
      *bound = value;
    }
    return w.end();
  }

  Result<std::vector<i64>> dims(Words& w, u32 rank) const {
    std::vector<i64> out;
    for (u32 i = 0; i < rank; ++i) {
      TG_ASSIGN(u32 dim, w.next());
      out.push_back(dim);
    }
    return out;
  }

  Result<DType> dtype(u32 value) const {
    if (value >= static_cast<u32>(DType::kCount))
      return corrupt("M7", "unknown element type " + std::to_string(value));
    return static_cast<DType>(value);
  }

  Status weights(Words& w) {
    TG_ASSIGN(u32 count, w.count(kWeightsMax));
    for (u32 i = 0; i < count; ++i) {
      TG_ASSIGN(u32 head, w.next());
      WeightDecl decl{.layers = head >> 12 & 0xFFF};
      TG_ASSIGN(decl.name, string_at(head & 0xFFF));
      TG_ASSIGN(decl.codec, dtype(head >> 26));
      TG_ASSIGN(decl.dims, dims(w, (head >> 24 & 3) + 1));
      program_.weights.push_back(std::move(decl));
    }
    return w.end();
  }

  Status kv(Words& w) {
    TG_ASSIGN(u32 count, w.count(kKvMax));
    for (u32 i = 0; i < count; ++i) {
      TG_ASSIGN(u32 head, w.next());
      KvDecl decl{.is_state = (head & kKvStateBit) != 0};
      if (head >> 26 != 0) return corrupt("M7", "kv word " + std::to_string(head));
      TG_ASSIGN(decl.name, string_at(head & 0xFFFF));
      TG_ASSIGN(decl.format, dtype(head >> 16 & 0xFF));
      for (u32* field : {&decl.layers, &decl.heads, &decl.dk, &decl.dv, &decl.page_tokens}) {
        TG_ASSIGN(*field, w.next());
      }
      if ((head & kKvLatentBit) != 0) {
        TG_ASSIGN(decl.latent, w.next());
      }
      program_.kv.push_back(std::move(decl));
    }
    return w.end();
  }

  Status constants(Words& w) {
    TG_ASSIGN(u32 count, w.count(kConstantsMax));
    for (u32 i = 0; i < count; ++i) {
      TG_ASSIGN(u32 head, w.next());
      ConstDecl decl;
      TG_ASSIGN(decl.name, string_at(head & 0xFFFF));
      TG_ASSIGN(decl.dtype, dtype(head >> 16 & 0xFF));
      if (head >> 24 > kRankMax) return corrupt("M7", "rank " + std::to_string(head >> 24));
      TG_ASSIGN(decl.dims, dims(w, head >> 24));
      TG_TRY(constant_bytes(w, decl));
      program_.constants.push_back(std::move(decl));
    }
    return w.end();
  }

  static Status constant_bytes(Words& w, ConstDecl& decl) {
    i64 bytes = 4;  // f32 and i32 are the only legal types (V4).
    for (i64 dim : decl.dims) {
      if (dim < 1 || bytes > kConstantBytesMax / dim)
        return corrupt("M6", "constant $" + decl.name + " is too large");
      bytes *= dim;
    }
    TG_ASSIGN(std::span<const u8> raw, w.packed(static_cast<std::size_t>(bytes)));
    decl.bytes.assign(raw.begin(), raw.end());
    return {};
  }

  Status functions(Words& w) {
    TG_ASSIGN(u32 count, w.count(kStringsMax));
    for (u32 i = 0; i < count; ++i) TG_TRY(function(w));
    return w.end();
  }

  Status function(Words& w) {
    Function f;
    TG_ASSIGN(u32 head, w.next());
    f.when_fresh = (head & kFreshBit) != 0;
    TG_ASSIGN(f.name, string_at(head & ~kFreshBit));
    TG_ASSIGN(u32 parameters, w.next());
    TG_ASSIGN(u32 results, w.count(kOperandsMax));
    TG_ASSIGN(u32 type_count, w.count(kValuesMax));
    TG_ASSIGN(u32 values, w.next());
    TG_ASSIGN(u32 code_words, w.next());
    if (values > kValuesMax || parameters > values)
      return corrupt(
          "M6", std::to_string(parameters) + " parameters, " + std::to_string(values) + " values");
    std::vector<Type> types(type_count);
    for (Type& t : types) TG_TRY(type(w, t));
    TG_TRY(value_types(w, types, values, f));
    for (u32 i = 0; i < parameters; ++i) f.parameters.push_back(i);
    for (u32 i = 0; i < results; ++i) {
      TG_ASSIGN(u32 id, w.next());
      f.results.push_back(id);
    }
    TG_ASSIGN(Words code, w.sub(code_words));
    while (code.left() > 0) TG_TRY(instruction(code, f));
    program_.functions.push_back(std::move(f));
    return {};
  }

  Status value_types(Words& w, const std::vector<Type>& types, u32 values, Function& f) const {
    if (values > 2 * w.left()) return corrupt("M3", "the value table ends early");
    u32 pair = 0;
    for (u32 i = 0; i < values; ++i) {
      if (i % 2 == 0) {
        TG_ASSIGN(pair, w.next());
      }
      u32 index = i % 2 == 0 ? pair & 0xFFFF : pair >> 16;
      if (index >= types.size()) return corrupt("M7", "no type " + std::to_string(index));
      f.value_types.push_back(types[index]);
    }
    return {};
  }

  Status type(Words& w, Type& out) const {
    TG_ASSIGN(u32 head, w.next());
    u32 kind = head & 0xFF;
    u32 rank = head >> 16;
    if (kind > static_cast<u32>(ValueKind::kParams) || rank > kRankMax)
      return corrupt("M7", "type word " + std::to_string(head));
    out.kind = static_cast<ValueKind>(kind);
    TG_ASSIGN(out.dtype, dtype(head >> 8 & 0xFF));
    for (u32 i = 0; i < rank; ++i) {
      Dim d;
      TG_TRY(dim(w, d));
      out.dims.push_back(d);
    }
    return {};
  }

  static Status dim(Words& w, Dim& out) {
    TG_ASSIGN(u32 head, w.next());
    if (head <= kDimMax) {
      out.constant = head;
      return {};
    }
    i32* symbols[] = {&out.t, &out.s, &out.r};
    if (head - kDimSymbol < 3) {
      *symbols[head - kDimSymbol] = 1;
      return {};
    }
    if (head != kDimGeneral) return corrupt("M7", "dimension word " + std::to_string(head));
    TG_ASSIGN(u32 constant, w.next());
    if (constant > kDimMax) return corrupt("M6", "dimension " + std::to_string(constant));
    out.constant = constant;
    for (i32* symbol : symbols) {
      TG_ASSIGN(u32 factor, w.next());
      if (factor > kDimFactorMax) return corrupt("M6", "factor " + std::to_string(factor));
      *symbol = static_cast<i32>(factor);
    }
    return {};
  }

  static Status instruction(Words& code, Function& f) {
    TG_ASSIGN(u32 head, code.next());
    u32 words = head >> 16;
    if (words < 2) return corrupt("M3", "instruction of " + std::to_string(words) + " words");
    TG_ASSIGN(Words w, code.sub(words - 1));
    TG_ASSIGN(u32 counts, w.next());
    if ((head & 0xFFFF) >= static_cast<u32>(Opcode::kCount))
      return corrupt("V2", "unknown opcode " + std::to_string(head & 0xFFFF));
    Instruction i{.op = static_cast<Opcode>(head & 0xFFFF),
                  .version = static_cast<u8>(counts >> 24)};
    for (u32 k = 0; k < (counts >> 16 & 0xFF); ++k) {
      TG_ASSIGN(u32 id, w.next());
      i.out.push_back(id);
    }
    for (u32 k = 0; k < (counts >> 8 & 0xFF); ++k) {
      TG_ASSIGN(u32 word, w.next());
      i.in.push_back(operand(word));
    }
    for (u32 k = 0; k < (counts & 0xFF); ++k) TG_TRY(attribute(w, i));
    if (static_cast<i64>(f.body.size()) >= kInstructionsMax)
      return corrupt("M6", "more than " + std::to_string(kInstructionsMax) + " instructions");
    f.body.push_back(std::move(i));
    return w.end();
  }

  static Operand operand(u32 word) {
    return {.kind = static_cast<OperandKind>(word >> 30),
            .mode = static_cast<LayerMode>(word >> 28 & 3),
            .layer = static_cast<u16>(word >> 16 & 0xFFF),
            .index = word & 0xFFFF};
  }

  static Status attribute(Words& w, Instruction& i) {
    TG_ASSIGN(u32 head, w.next());
    Attribute a{.key = static_cast<AttributeKey>(head >> 16)};
    u32 count = head & 0xFFFF;
    if (count > w.left()) return corrupt("M3", "an attribute ends early");
    for (u32 k = 0; k < count; ++k) {
      TG_ASSIGN(u32 word, w.next());
      a.words.push_back(word);
    }
    i.attributes.push_back(std::move(a));
    return {};
  }

  // One matrix per function; FUNC came first.
  Status cost(Words& w) {
    TG_TRY(cost(w, program_.cost));
    for (std::size_t i = 1; i < program_.functions.size(); ++i) {
      unit::CostMatrix m;
      TG_TRY(cost(w, m));
      program_.entry_costs.push_back(std::move(m));
    }
    return w.end();
  }

  static Status cost(Words& w, unit::CostMatrix& m) {
    TG_ASSIGN(u32 entries, w.next());
    TG_ASSIGN(u32 windows, w.next());
    TG_ASSIGN(u32 experts, w.next());
    if (u64{entries} * 3 + u64{windows} * 7 + u64{experts} * 5 > w.left())
      return corrupt("M3", "the cost section's counts do not fit its size");
    for (u32 i = 0; i < entries; ++i) TG_TRY(cost_entry(w, m));
    for (u32 i = 0; i < windows; ++i) {
      unit::WindowCost window;
      TG_ASSIGN(u32 value, w.next());
      window.window = value & ((1u << kPairKindShift) - 1);
      if (value >> kPairKindShift >= static_cast<u32>(unit::PairKind::kCount))
        return corrupt("M7", "window word " + std::to_string(value));
      window.kind = static_cast<unit::PairKind>(value >> kPairKindShift);
      TG_ASSIGN(window.attn_flops_per_pair, w.next_pair());
      TG_ASSIGN(window.ew_flops_per_pair, w.next_pair());
      TG_ASSIGN(window.kv_rd_bytes_per_key, w.next_pair());
      m.windows.push_back(window);
    }
    for (u32 i = 0; i < experts; ++i) {
      unit::ExpertCost expert;
      for (u32* field : {&expert.experts, &expert.active, &expert.layers}) {
        TG_ASSIGN(*field, w.next());
      }
      TG_ASSIGN(expert.bytes_per_expert, w.next_pair());
      m.experts.push_back(expert);
    }
    return {};
  }

  static Status cost_entry(Words& w, unit::CostMatrix& m) {
    TG_ASSIGN(u32 tag, w.next());
    TG_ASSIGN(u64 value, w.next_pair());
    u32 counter = tag & 0xFF;
    u32 group = tag >> 8;
    if (group == kCostGroups && counter == 0) {
      m.head_bytes = value;
      return {};
    }
    if (group >= kCostGroups || counter >= unit::kCounters)
      return corrupt("M7", "cost entry " + std::to_string(tag));
    cost_group(m, group)[counter] = value;
    return {};
  }

  Status meta(Words& w) {
    TG_ASSIGN(u32 check, w.next());
    Words copy = w;
    std::vector<u32> words;
    while (copy.left() > 0) {
      TG_ASSIGN(u32 word, copy.next());
      words.push_back(word);
    }
    if (check != check_word(words)) return corrupt("M4", "META's check word does not match");
    TG_ASSIGN(u32 count, w.count(kMetaMax));
    for (u32 i = 0; i < count; ++i) {
      TG_ASSIGN(u32 key_bytes, w.next());
      TG_ASSIGN(u32 value_bytes, w.next());
      TG_ASSIGN(std::span<const u8> key, w.packed(key_bytes));
      TG_ASSIGN(std::span<const u8> value, w.packed(value_bytes));
      program_.meta.emplace_back(as_text(key), as_text(value));
    }
    return w.end();
  }

  std::span<const u8> bytes_;
  std::size_t at_ = 0;
  u32 sections_ = 0;
  u32 expected_sections_ = 0;
  u32 seen_ = 0;
  std::vector<std::string> strings_;
  std::vector<u32> required_;
  Program program_;
};

}  // namespace

Result<Program> decode(std::span<const u8> bytes) {
  return Decoder(bytes).run();
}

}  // namespace tg::isa
