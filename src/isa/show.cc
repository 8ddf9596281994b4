#include "isa/show.h"

#include <array>
#include <map>

#include "isa/binary.h"
#include "isa/encode.h"
#include "isa/expression.h"
#include "isa/verify/rules.h"

namespace tg::isa {

namespace {

// 13958643712 -> "13,958,643,712".
std::string grouped(u64 value) {
  std::string digits = std::to_string(value);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string pad(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

u64 weight_bytes(const WeightDecl& w) {
  u64 bytes = static_cast<u64>(row_bytes(w.codec, w.dims.back()));
  for (std::size_t i = 0; i + 1 < w.dims.size(); ++i) bytes *= static_cast<u64>(w.dims[i]);
  return bytes * (w.layers > 0 ? w.layers : 1);
}

std::string profiles_text(u32 profiles) {
  std::string out;
  for (u32 i = 0; i < static_cast<u32>(Profile::kCount); ++i) {
    if ((profiles >> i & 1) != 0) out += " " + std::string(name(static_cast<Profile>(i)));
  }
  return out;
}

void show_identity(std::string& out, const VerifiedProgram& program) {
  const Program& p = program.program();
  out += "program   " + to_hex(program.id()) + "\n";
  out += "isa       " + std::to_string(p.isa_major) + "." + std::to_string(p.isa_minor) + "," +
         profiles_text(p.profiles) + ", " + grouped(program.bytes().size()) + " bytes\n";
  out += "bounds    T<=" + std::to_string(p.bounds.tokens) +
         " S<=" + std::to_string(p.bounds.sequences) + " R<=" + std::to_string(p.bounds.rows) +
         " C<=" + std::to_string(p.bounds.context) + "\n";
  for (const std::pair<std::string, std::string>& m : p.meta)
    out += "meta      " + m.first + " = " + m.second + "\n";
}

void show_sections(std::string& out, const VerifiedProgram& program) {
  static constexpr std::array<std::string_view, 10> kNames = {
      "", "STR", "REQ", "SYM", "WGT", "KV", "FUNC", "CONST", "COST", "META"};
  std::span<const u8> bytes = program.bytes();
  out += "sections ";
  for (std::size_t at = kHeaderBytes; at < bytes.size();) {
    u32 id = bytes[at];
    std::size_t words = bytes[at + 4] | std::size_t{bytes[at + 5]} << 8 |
                        std::size_t{bytes[at + 6]} << 16 | std::size_t{bytes[at + 7]} << 24;
    out += " " + std::string(kNames[id]) + " " + grouped(words * 4);
    at += 8 + (words + words % 2) * 4;
  }
  out += " bytes\n";
}

void show_state(std::string& out, const KvDecl& st) {
  u64 sequence =
      u64{st.layers} * st.heads * st.dk * st.dv * static_cast<u64>(info(st.format).block_bytes);
  out += "state     $" + st.name + ": " + std::to_string(st.layers) + " layers, " +
         std::to_string(st.heads) + " x " + std::to_string(st.dk) + " x " + std::to_string(st.dv) +
         " " + std::string(info(st.format).name) + ", " + grouped(sequence) + " bytes/sequence\n";
}

void show_declarations(std::string& out, const Program& p) {
  u64 total = 0;
  for (const WeightDecl& w : p.weights) {
    std::string layers = w.layers > 0 ? "[" + std::to_string(w.layers) + "]" : "";
    std::string type = std::string(info(w.codec).name) + shape_text(w.dims);
    out += "weight    " + pad("$" + w.name + layers, 18) + pad(type, 24) +
           grouped(weight_bytes(w)) + "\n";
    total += weight_bytes(w);
  }
  out += "weights   " + grouped(total) + " bytes\n";
  for (const KvDecl& kv : p.kv) {
    if (kv.is_state) {
      show_state(out, kv);
      continue;
    }
    u64 token = u64{kv.layers} * kv.heads *
                static_cast<u64>(row_bytes(kv.format, kv.dk) + row_bytes(kv.format, kv.dv));
    out += "kv        $" + kv.name + ": " + std::to_string(kv.layers) + " layers, " +
           std::to_string(kv.heads) + " heads, " + std::to_string(kv.dk) + "+" +
           std::to_string(kv.dv) + " " + std::string(info(kv.format).name) + ", " + grouped(token) +
           " bytes/token, pages of " + std::to_string(kv.page_tokens) +
           (kv.latent > 0 ? ", value in the first " + std::to_string(kv.latent) : "") + "\n";
  }
}

void show_code(std::string& out, const Program& p) {
  const Function& main = p.functions[0];
  std::map<Opcode, int> counts;
  for (const Instruction& i : main.body) ++counts[i.op];
  out += "code      " + std::to_string(main.body.size()) + " instructions:";
  for (const auto& [op, count] : counts)
    out += " " + std::string(name(op)) + (count > 1 ? "*" + std::to_string(count) : "");
  out += "\nmemory    " + grouped(static_cast<u64>(activation_bytes_max(p, main))) +
         " bytes of activations at the bounds\n";
}

void show_group(std::string& out, std::string_view label, const unit::Counters& counters) {
  for (u8 c = 0; c < unit::kCounters; ++c) {
    if (counters[c] == 0) continue;
    std::string counter(unit::counter_name(static_cast<unit::Counter>(c)));
    out += "cost      " + pad(counter, 18) + grouped(counters[c]) + " " + std::string(label) + "\n";
  }
}

// By kind of pairs; the plain, causal kind has no mark.
constexpr std::string_view kPairs[] = {"", " (full)", " (selected)", " (tree)", " (dense)"};
static_assert(std::size(kPairs) == static_cast<std::size_t>(unit::PairKind::kCount));

void show_cost(std::string& out, const unit::CostMatrix& m) {
  show_group(out, "per pass", m.per_pass);
  show_group(out, "T", m.per_token);
  show_group(out, "R", m.per_row);
  show_group(out, "S", m.per_sequence);
  out += "cost      " + pad("w_bytes (head)", 18) + grouped(m.head_bytes) + " if R > 0\n";
  for (const unit::WindowCost& w : m.windows) {
    std::string label = (w.window == 0 ? "" : "_" + std::to_string(w.window)) +
                        std::string(kPairs[static_cast<std::size_t>(w.kind)]);
    out +=
        "cost      " + pad("attn_flops", 18) + grouped(w.attn_flops_per_pair) + " A" + label + "\n";
    out += "cost      " + pad("ew_flops", 18) + grouped(w.ew_flops_per_pair) + " A" + label + "\n";
    out += "cost      " + pad("kv_rd_bytes", 18) + grouped(w.kv_rd_bytes_per_key) + " K" + label +
           "\n";
  }
  for (const unit::ExpertCost& e : m.experts)
    out += "cost      " + pad("w_bytes", 18) + grouped(e.bytes_per_expert) + " U of " +
           std::to_string(e.experts) + " experts, " + std::to_string(e.active) + " per token, in " +
           std::to_string(e.layers) + " layers\n";
}

}  // namespace

std::string summarize(const VerifiedProgram& program) {
  std::string out;
  show_identity(out, program);
  show_sections(out, program);
  show_declarations(out, program.program());
  show_code(out, program.program());
  show_cost(out, program.cost());
  return out;
}

}  // namespace tg::isa
