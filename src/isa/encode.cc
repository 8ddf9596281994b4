#include "isa/encode.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "base/assert.h"
#include "base/bytes.h"
#include "isa/binary.h"

namespace tg::isa {

namespace {

using Words = std::vector<u32>;

u32 word(u64 value) {
  TG_ASSERT(value <= UINT32_MAX);
  return static_cast<u32>(value);
}

void append_pair(Words& out, u64 value) {
  out.push_back(static_cast<u32>(value));
  out.push_back(static_cast<u32>(value >> 32));
}

// Bytes as words, zeros at the end.
void append_packed(Words& out, std::span<const u8> bytes) {
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    u32 value = 0;
    for (std::size_t k = i; k < std::min(i + 4, bytes.size()); ++k)
      value |= u32{bytes[k]} << (8 * (k - i));
    out.push_back(value);
  }
}

class Encoder {
 public:
  explicit Encoder(const Program& program) : program_(program) {}

  std::vector<u8> run() {
    collect_strings();
    append_header();
    section(Section::kStrings, strings());
    section(Section::kRequirements, requirements());
    section(Section::kSymbols, symbols());
    section(Section::kWeights, weights());
    section(Section::kKv, kv());
    section(Section::kFunctions, functions());
    section(Section::kConstants, constants());
    section(Section::kCost, cost());
    section(Section::kMeta, meta());
    patch_u32(12, sections_);
    patch_u32(16, word(bytes_.size()));
    return std::move(bytes_);
  }

 private:
  void collect_strings() {
    for (const WeightDecl& w : program_.weights) strings_.push_back(w.name);
    for (const KvDecl& kv : program_.kv) strings_.push_back(kv.name);
    for (const ConstDecl& c : program_.constants) strings_.push_back(c.name);
    for (const Function& f : program_.functions) strings_.push_back(f.name);
    std::sort(strings_.begin(), strings_.end());
    strings_.erase(std::unique(strings_.begin(), strings_.end()), strings_.end());
  }

  u32 string_index(std::string_view text) const {
    return word(static_cast<u64>(std::lower_bound(strings_.begin(), strings_.end(), text) -
                                 strings_.begin()));
  }

  void append_header() {
    append_u32(bytes_, kMagic);
    append_u16(bytes_, program_.isa_major);
    append_u16(bytes_, program_.isa_minor);
    append_u32(bytes_, 0);  // flags
    append_u32(bytes_, 0);  // sections, patched
    append_u64(bytes_, 0);  // total bytes, patched
    append_u64(bytes_, 0);  // reserved
  }

  void patch_u32(std::size_t at, u32 value) {
    for (std::size_t i = 0; i < 4; ++i) bytes_[at + i] = static_cast<u8>(value >> (8 * i));
  }

  void section(Section id, const Words& payload) {
    if (payload.empty()) return;
    bool critical = id != Section::kMeta;
    append_u32(bytes_, static_cast<u32>(id) | (critical ? kCriticalBit : 0));
    append_u32(bytes_, word(payload.size()));
    for (u32 w : payload) append_u32(bytes_, w);
    if (payload.size() % 2 != 0) append_u32(bytes_, 0);
    ++sections_;
  }

  Words strings() const {
    std::vector<u8> raw;
    for (std::string_view text : strings_) {
      append_u8(raw, static_cast<u8>(text.size()));
      for (char c : text) append_u8(raw, static_cast<u8>(c));
    }
    Words out = {word(strings_.size())};
    append_packed(out, raw);
    return out;
  }

  Words requirements() const {
    std::set<u32> ops;
    for (const Function& f : program_.functions) {
      for (const Instruction& i : f.body)
        ops.insert(static_cast<u32>(i.op) | static_cast<u32>(i.version) << 16);
    }
    Words out = {program_.profiles, word(ops.size())};
    out.insert(out.end(), ops.begin(), ops.end());
    return out;
  }

  Words symbols() const {
    const Bounds& b = program_.bounds;
    return {word(static_cast<u64>(b.tokens)), word(static_cast<u64>(b.sequences)),
            word(static_cast<u64>(b.rows)), word(static_cast<u64>(b.context))};
  }

  Words weights() const {
    Words out;
    if (program_.weights.empty()) return out;
    out.push_back(word(program_.weights.size()));
    for (const WeightDecl& w : program_.weights) {
      out.push_back(string_index(w.name) | w.layers << 12 | word(w.dims.size() - 1) << 24 |
                    static_cast<u32>(w.codec) << 26);
      for (i64 dim : w.dims) out.push_back(word(static_cast<u64>(dim)));
    }
    return out;
  }

  Words kv() const {
    Words out;
    if (program_.kv.empty()) return out;
    out.push_back(word(program_.kv.size()));
    for (const KvDecl& kv : program_.kv) {
      out.push_back(string_index(kv.name) | static_cast<u32>(kv.format) << 16 |
                    (kv.is_state ? kKvStateBit : 0) | (kv.latent > 0 ? kKvLatentBit : 0));
      out.insert(out.end(), {kv.layers, kv.heads, kv.dk, kv.dv, kv.page_tokens});
      if (kv.latent > 0) out.push_back(kv.latent);
    }
    return out;
  }

  Words functions() const {
    Words out = {word(program_.functions.size())};
    for (const Function& f : program_.functions) function(out, f);
    return out;
  }

  void function(Words& out, const Function& f) const {
    // Types in order of first use, each once.
    std::map<Words, u32> known;
    Words types;
    Words indices;
    for (std::size_t id = 0; id < f.value_types.size(); ++id) {
      Words words;
      append_type(words, f.value_types[id]);
      u32 next = word(known.size());
      auto [found, is_new] = known.try_emplace(std::move(words), next);
      if (is_new) types.insert(types.end(), found->first.begin(), found->first.end());
      indices.push_back(found->second);
    }
    Words code;
    for (const Instruction& i : f.body) instruction(code, i);
    u32 head = string_index(f.name) | (f.when_fresh ? kFreshBit : 0);
    out.insert(out.end(), {head, word(f.parameters.size()), word(f.results.size()),
                           word(known.size()), word(indices.size()), word(code.size())});
    out.insert(out.end(), types.begin(), types.end());
    for (std::size_t i = 0; i < indices.size(); i += 2)
      out.push_back(indices[i] | (i + 1 < indices.size() ? indices[i + 1] << 16 : 0));
    out.insert(out.end(), f.results.begin(), f.results.end());
    out.insert(out.end(), code.begin(), code.end());
  }

  static void append_type(Words& out, const Type& type) {
    out.push_back(static_cast<u32>(type.kind) | static_cast<u32>(type.dtype) << 8 |
                  word(type.dims.size()) << 16);
    for (const Dim& dim : type.dims) append_dim(out, dim);
  }

  static void append_dim(Words& out, const Dim& dim) {
    if (dim.t == 0 && dim.s == 0 && dim.r == 0) {
      out.push_back(word(static_cast<u64>(dim.constant)));
      return;
    }
    if (dim.constant == 0 && dim.t + dim.s + dim.r == 1) {
      out.push_back(kDimSymbol | (dim.t == 1 ? 0u : dim.s == 1 ? 1u : 2u));
      return;
    }
    out.insert(out.end(),
               {kDimGeneral, word(static_cast<u64>(dim.constant)), static_cast<u32>(dim.t),
                static_cast<u32>(dim.s), static_cast<u32>(dim.r)});
  }

  static u32 operand_word(const Operand& o) {
    return o.index | u32{o.layer} << 16 | static_cast<u32>(o.mode) << 28 |
           static_cast<u32>(o.kind) << 30;
  }

  static void instruction(Words& out, const Instruction& i) {
    std::size_t start = out.size();
    out.push_back(static_cast<u32>(i.op));
    out.push_back(word(i.attributes.size()) | word(i.in.size()) << 8 | word(i.out.size()) << 16 |
                  u32{i.version} << 24);
    out.insert(out.end(), i.out.begin(), i.out.end());
    for (const Operand& o : i.in) out.push_back(operand_word(o));
    for (const Attribute& a : i.attributes) {
      out.push_back(word(a.words.size()) | static_cast<u32>(a.key) << 16);
      out.insert(out.end(), a.words.begin(), a.words.end());
    }
    out[start] |= word(out.size() - start) << 16;
  }

  Words constants() const {
    Words out;
    if (program_.constants.empty()) return out;
    out.push_back(word(program_.constants.size()));
    for (const ConstDecl& c : program_.constants) {
      out.push_back(string_index(c.name) | static_cast<u32>(c.dtype) << 16 |
                    word(c.dims.size()) << 24);
      for (i64 dim : c.dims) out.push_back(word(static_cast<u64>(dim)));
      append_packed(out, c.bytes);
    }
    return out;
  }

  Words cost() const {
    Words out = cost(program_.cost);
    for (const unit::CostMatrix& m : program_.entry_costs) {
      Words more = cost(m);
      out.insert(out.end(), more.begin(), more.end());
    }
    return out;
  }

  static Words cost(const unit::CostMatrix& m) {
    Words entries;
    u32 count = 0;
    auto add = [&](u32 group, u32 counter, u64 value) {
      if (value == 0) return;
      entries.push_back(counter | group << 8);
      append_pair(entries, value);
      ++count;
    };
    for (u32 group = 0; group < kCostGroups; ++group) {
      for (u32 c = 0; c < unit::kCounters; ++c) add(group, c, cost_group(m, group)[c]);
    }
    add(kCostGroups, 0, m.head_bytes);
    Words out = {count, word(m.windows.size()), word(m.experts.size())};
    out.insert(out.end(), entries.begin(), entries.end());
    for (const unit::WindowCost& w : m.windows) {
      out.push_back(word(static_cast<u64>(w.window)) | static_cast<u32>(w.kind) << kPairKindShift);
      append_pair(out, w.attn_flops_per_pair);
      append_pair(out, w.ew_flops_per_pair);
      append_pair(out, w.kv_rd_bytes_per_key);
    }
    for (const unit::ExpertCost& e : m.experts) {
      out.insert(out.end(), {e.experts, e.active, e.layers});
      append_pair(out, e.bytes_per_expert);
    }
    return out;
  }

  Words meta() const {
    Words out;
    if (program_.meta.empty()) return out;
    out.push_back(word(program_.meta.size()));
    for (const std::pair<std::string, std::string>& entry : program_.meta) {
      out.push_back(word(entry.first.size()));
      out.push_back(word(entry.second.size()));
      append_packed(out, as_bytes(entry.first));
      append_packed(out, as_bytes(entry.second));
    }
    out.insert(out.begin(), check_word(out));
    return out;
  }

  const Program& program_;
  std::vector<std::string_view> strings_;
  std::vector<u8> bytes_;
  u32 sections_ = 0;
};

}  // namespace

u32 check_word(std::span<const u32> words) {
  std::vector<u8> bytes;
  for (u32 w : words) append_u32(bytes, w);
  Digest digest = sha256(bytes);
  return u32{digest[0]} | u32{digest[1]} << 8 | u32{digest[2]} << 16 | u32{digest[3]} << 24;
}

namespace {

u32 word_at(std::span<const u8> bytes, std::size_t at) {
  return u32{bytes[at]} | u32{bytes[at + 1]} << 8 | u32{bytes[at + 2]} << 16 |
         u32{bytes[at + 3]} << 24;
}

}  // namespace

std::vector<u8> encode(const Program& program) {
  return Encoder(program).run();
}

Digest program_id(std::span<const u8> bytes) {
  TG_ASSERT(bytes.size() >= kHeaderBytes && bytes.size() % 8 == 0);
  std::size_t end = kHeaderBytes;
  while (end < bytes.size() && (word_at(bytes, end) & kCriticalBit) != 0) {
    std::size_t words = word_at(bytes, end + 4);
    end += 8 + (words + words % 2) * 4;
  }
  TG_ASSERT(end <= bytes.size());
  return sha256(bytes.subspan(kHeaderBytes, end - kHeaderBytes));
}

}  // namespace tg::isa
