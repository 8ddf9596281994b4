// The verifier's rules as tables: text that must be refused (testdata/invalid.txt), programs that
// no text can say, and bytes that no program encodes to.
#include <gtest/gtest.h>

#include <map>

#include "base/bytes.h"
#include "isa/encode.h"
#include "isa/limits.h"
#include "isa/reference/test_model.h"

namespace tg::isa {
namespace {

struct TextCase {
  i64 line = 0;
  std::string base, rule, find, replace, fragment;
};

std::string trimmed(std::string_view text) {
  std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(' ') - first + 1));
}

std::string unescaped(std::string text) {
  for (std::size_t at = text.find("\\n"); at != std::string::npos; at = text.find("\\n", at))
    text.replace(at, 2, "\n");
  return text;
}

std::vector<TextCase> text_cases() {
  std::vector<TextCase> cases;
  std::stringstream file(read_testdata("invalid.txt"));
  std::string base;
  std::string line;
  for (i64 number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with("base ")) {
      base = line.substr(5);
      continue;
    }
    std::vector<std::string> fields;
    for (std::size_t at = 0; at <= line.size();) {
      std::size_t end = std::min(line.find('|', at), line.size());
      fields.push_back(unescaped(trimmed(std::string_view(line).substr(at, end - at))));
      at = end + 1;
    }
    EXPECT_EQ(fields.size(), 4u) << "invalid.txt line " << number;
    if (fields.size() == 4)
      cases.push_back({number, base, fields[0], fields[1], fields[2], fields[3]});
  }
  return cases;
}

TEST(Verify, RefusesTheTable) {
  std::map<std::string, std::string> bases;
  std::map<std::string, int> per_rule;
  for (const TextCase& c : text_cases()) {
    if (!bases.contains(c.base)) bases[c.base] = read_testdata(c.base);
    std::string text = bases[c.base];
    std::size_t at = text.find(c.find);
    ASSERT_NE(at, std::string::npos) << "line " << c.line << ": " << c.find;
    text.replace(at, c.find.size(), c.replace);
    Result<Program> program = assemble(text);
    Result<VerifiedProgram> verified =
        program.ok() ? verify(*program) : Result<VerifiedProgram>(program.error());
    ASSERT_FALSE(verified.ok()) << "invalid.txt line " << c.line << " was accepted";
    const std::string& message = verified.error().message;
    EXPECT_NE(message.find(c.fragment), std::string::npos)
        << "invalid.txt line " << c.line << ": " << message;
    ++per_rule[c.rule];
    // What the text itself gets wrong (an unknown word) is the assembler's to say, without a rule.
    bool by_rule = message.find(c.rule + ": ") != std::string::npos;
    EXPECT_TRUE(by_rule || !program.ok()) << "invalid.txt line " << c.line << ": " << message;
  }
  for (const auto& [rule, count] : per_rule) EXPECT_GE(count, 3) << rule;
}

struct ProgramCase {
  const char* expected;
  void (*change)(Program&);
};

Instruction& find_op(Program& p, Opcode op) {
  for (Instruction& i : p.functions[0].body) {
    if (i.op == op) return i;
  }
  ADD_FAILURE() << "no " << name(op);
  return p.functions[0].body[0];
}

Attribute& find_key(Program& p, Opcode op, AttributeKey key) {
  for (Attribute& a : find_op(p, op).attributes) {
    if (a.key == key) return a;
  }
  ADD_FAILURE() << "no " << name(key);
  return find_op(p, op).attributes[0];
}

// Programs that the assembler would not make.
const ProgramCase kProgramCases[] = {
    {"M4: rope %qr: attributes are not in order",
     [](Program& p) {
       std::vector<Attribute>& a = find_op(p, Opcode::kRope).attributes;
       std::swap(a[0], a[1]);
     }},
    {"M4: glu %s: attribute act spells out its default",
     [](Program& p) {
       find_op(p, Opcode::kGlu).attributes = {{AttributeKey::kAct, {0}}};
     }},
    {"M4: attn %a: attribute window repeats its cycle",
     [](Program& p) {
       find_key(p, Opcode::kAttn, AttributeKey::kWindow).words = {6, 0, 6, 0};
     }},
    {"M4: attn %a: attribute scale is not a finite number",
     [](Program& p) { find_key(p, Opcode::kAttn, AttributeKey::kScale).words = {0x7FC00000}; }},
    {"M4: attn %a: attribute scale is not a finite number, or -0",
     [](Program& p) { find_key(p, Opcode::kAttn, AttributeKey::kScale).words = {0x80000000}; }},
    {"M4: embed: operand table: padding set",
     [](Program& p) { find_op(p, Opcode::kEmbed).in[0].layer = 1; }},
    {"M5: weight name is not made of", [](Program& p) { p.weights[0].name = "a b"; }},
    {"M5: weight name is not made of", [](Program& p) { p.weights[0].name = ""; }},
    {"M5: kv name", [](Program& p) { p.kv[0].name = "k\n"; }},
    {"M5: meta holds a quote",
     [](Program& p) {
       p.meta = {{"a", "say \"b\""}};
     }},
    {"M5: meta key a is not in order",
     [](Program& p) {
       p.meta = {{"b", ""}, {"a", ""}};
     }},
    {"M5: meta is not UTF-8",
     [](Program& p) {
       p.meta = {{"a", "\xFF"}};
     }},
    {"M6: weight name bytes 300", [](Program& p) { p.weights[0].name = std::string(300, 'a'); }},
    {"M6: weights 4098", [](Program& p) { p.weights.resize(4'098, p.weights[0]); }},
    {"M6: names", [](Program& p) { p.weights.resize(4'096, p.weights[0]); }},
    {"M6: instructions after unrolling",
     [](Program& p) {
       for (int i = 0; i < 4'100; ++i)
         p.functions[0].body.insert(p.functions[0].body.begin() + 2, find_op(p, Opcode::kRmsNorm));
       find_key(p, Opcode::kRepeat, AttributeKey::kCount).words = {16};
     }},
    {"M6: bytes of constants",
     [](Program& p) {
       p.constants[0].dims = {16'385};
       p.constants[0].bytes.resize(65'540);
     }},
    {"M6: attn %a: attribute window cycles over 65",
     [](Program& p) { find_key(p, Opcode::kAttn, AttributeKey::kWindow).words.resize(65, 1); }},
    {"M6: %q: more than",
     [](Program& p) {
       p.functions[0].value_types[7].dims = {Dim{.t = 65'535}, Dim{.constant = kDimMax}};
     }},
    {"M6: meta value bytes",
     [](Program& p) {
       p.meta = {{"a", std::string(70'000, 'a')}};
     }},
    {"M6: the program takes",
     [](Program& p) {
       for (int i = 0; i < 20; ++i)
         p.meta.emplace_back("k" + std::to_string(10 + i), std::string(65'000, 'a'));
     }},
    {"M7: operands 17",
     [](Program& p) {
       Instruction& yield = find_op(p, Opcode::kYield);
       yield.in.resize(17, yield.in[0]);
     }},
    {"M7: embed: operand table: unknown layer mode",
     [](Program& p) { find_op(p, Opcode::kEmbed).in[0].mode = static_cast<LayerMode>(3); }},
    {"M7: attn %a: attribute heads has no value",
     [](Program& p) { find_key(p, Opcode::kAttn, AttributeKey::kHeads).words = {}; }},
    {"V1: value 6 is defined where 5 is next",
     [](Program& p) { find_op(p, Opcode::kRepeat).out[0] = 6; }},
    {"V1: result 900 is not defined", [](Program& p) { p.functions[0].results = {900}; }},
    {"V1: 27 values are typed",
     [](Program& p) {
       Function& f = p.functions[0];
       f.value_types.resize(27, f.value_types[0]);
     }},
    {"V1: add uses %y before",
     [](Program& p) {
       find_op(p, Opcode::kAdd).in[1].index = find_op(p, Opcode::kYield).in[0].index;
     }},
    {"V2: unknown opcode 900",
     [](Program& p) { find_op(p, Opcode::kAdd).op = static_cast<Opcode>(900); }},
    {"V2: add version 2 is unknown", [](Program& p) { find_op(p, Opcode::kAdd).version = 2; }},
    {"V3: add: operand b cannot be value 60000",
     [](Program& p) { find_op(p, Opcode::kAdd).in[1].index = 60'000; }},
    {"V3: embed: operand table cannot be weight 99",
     [](Program& p) { find_op(p, Opcode::kEmbed).in[0].index = 99; }},
    {"V3: attn %a: no attribute eps",
     [](Program& p) {
       find_op(p, Opcode::kAttn).attributes = {{AttributeKey::kEps, {0}}};
     }},
    {"V3: attn %a: no attribute 999",
     [](Program& p) {
       find_op(p, Opcode::kAttn).attributes = {{static_cast<AttributeKey>(999), {0}}};
     }},
    {"V3: rope %qr: attribute rot takes one value",
     [](Program& p) {
       find_key(p, Opcode::kRope, AttributeKey::kRot).words = {16, 8};
     }},
    {"V3: glu %s: attribute act has no value 77",
     [](Program& p) {
       find_op(p, Opcode::kGlu).attributes = {{AttributeKey::kAct, {77}}};
     }},
    {"V4: weight $embd: 200 is not a weight codec",
     [](Program& p) { p.weights[0].codec = static_cast<DType>(200); }},
    {"V5: %q: dimension", [](Program& p) { p.functions[0].value_types[7].dims[1].constant = -1; }},
    {"V5: %q: rank 5",
     [](Program& p) { p.functions[0].value_types[7].dims.resize(5, Dim{.constant = 1}); }},
    {"V6: rmsnorm: operand w is indexed by a loop outside repeat",
     [](Program& p) {
       Instruction norm = find_op(p, Opcode::kRmsNorm);
       norm.in[0].index = 4;
       norm.out = {5};
       p.functions[0].body.insert(p.functions[0].body.begin() + 1, norm);
     }},
    {"V14: repeat without yield",
     [](Program& p) {
       std::vector<Instruction>& body = p.functions[0].body;
       body.erase(body.begin() + 17, body.end());
       p.functions[0].value_types.resize(p.functions[0].value_types.size() - 3);
     }},
    {"V14: repeat count 0",
     [](Program& p) { find_key(p, Opcode::kRepeat, AttributeKey::kCount).words = {0}; }},
    {"V15: function main gives nothing", [](Program& p) { p.functions[0].results.clear(); }},
    {"V16: 0 functions", [](Program& p) { p.functions.clear(); }},
    {"V18: profile 31", [](Program& p) { p.profiles |= 1u << 31; }},
    {"V18: profile TEXT is missing", [](Program& p) { p.profiles = 0; }},
};

TEST(Verify, RefusesProgramsThatNoTextSays) {
  const std::string text = read_testdata("tiny.tga");
  for (const ProgramCase& c : kProgramCases) {
    Program program = assemble(text).value();
    c.change(program);
    Result<VerifiedProgram> verified = verify(std::move(program));
    ASSERT_FALSE(verified.ok()) << c.expected << " was accepted";
    EXPECT_NE(verified.error().message.find(c.expected), std::string::npos)
        << "expected " << c.expected << ", got " << verified.error().message;
  }
}

// Products of 2^40 elements, a quarter of the limit each, of which `body` keeps some alive at once;
// %x is alive throughout.
bool fits_in_memory(const std::string& body) {
  std::string text =
      ".tgp 1.0 profile=TEXT\n.cfg N=1048576\n.dim T<=N S<=2 R<=4 C<=16\n"
      ".w $t f32[8,4]\n.w $w f32[N,4]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %a, %x\n"
      "%x = embed $t, %ids -> f32[T,4]\n" +
      body + ".end\n";
  Result<VerifiedProgram> program = verify(assemble(text).value());
  if (program.ok()) return true;
  EXPECT_NE(program.error().message.find("V21: activations need"), std::string::npos)
      << program.error().message;
  return false;
}

TEST(Verify, BoundsActivationMemory) {
  std::string product = " = linear %x, $w -> f32[T,N]\n";
  EXPECT_TRUE(fits_in_memory("%a" + product));
  // Three alive with the sum fit; a fourth leaves no room for %x.
  EXPECT_TRUE(fits_in_memory("%b" + product + "%c" + product + "%a = add %b, %c -> f32[T,N]\n"));
  EXPECT_FALSE(fits_in_memory("%b" + product + "%c" + product + "%d" + product +
                              "%e = add %b, %c -> f32[T,N]\n%a = add %e, %d -> f32[T,N]\n"));
  // What a loop reads from outside stays through it: the next turn reads it again.
  std::string repeat = "%a = repeat l 2 carry %b as %c\n";
  std::string rest = "%e = act %d -> f32[T,N]\n%g = add %e, %d -> f32[T,N]\nyield %g\n";
  EXPECT_TRUE(fits_in_memory("%b" + product + repeat + "%d = add %c, %c -> f32[T,N]\n" + rest));
  EXPECT_FALSE(fits_in_memory("%b" + product + "%k" + product + repeat +
                              "%d = add %c, %k -> f32[T,N]\n" + rest));
  EXPECT_TRUE(
      fits_in_memory("%b = linear %x, $w -> f32[T,N]\n%f = act %b -> f32[T,N]\n"
                     "%g = act %f -> f32[T,N]\n%h = act %g -> f32[T,N]\n"
                     "%i = act %h -> f32[T,N]\n%a = act %i -> f32[T,N]\n"));
}

struct ByteCase {
  const char* expected;
  void (*change)(std::vector<u8>&);
};

u32 word_at(const std::vector<u8>& bytes, std::size_t at) {
  return u32{bytes[at]} | u32{bytes[at + 1]} << 8 | u32{bytes[at + 2]} << 16 |
         u32{bytes[at + 3]} << 24;
}

void set_word(std::vector<u8>& bytes, std::size_t at, u32 value) {
  for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<u8>(value >> (8 * i));
}

// Offset of a section's header.
std::size_t section_at(const std::vector<u8>& bytes, Section id) {
  std::size_t at = 32;
  while (at < bytes.size() && (word_at(bytes, at) & 0xFF) != static_cast<u32>(id)) {
    std::size_t words = word_at(bytes, at + 4);
    at += 8 + (words + words % 2) * 4;
  }
  return at;
}

const ByteCase kByteCases[] = {
    {"M1: program of 0 bytes", [](std::vector<u8>& b) { b.clear(); }},
    {"M1: program of", [](std::vector<u8>& b) { b.pop_back(); }},
    {"M1: not a program", [](std::vector<u8>& b) { b[0] = 'X'; }},
    {"M1: reserved header bits", [](std::vector<u8>& b) { b[8] = 1; }},
    {"M1: reserved header bits", [](std::vector<u8>& b) { b[31] = 1; }},
    {"the header says", [](std::vector<u8>& b) { b[16] ^= 8; }},
    {"M1: program of", [](std::vector<u8>& b) { b.resize(2 << 20); }},
    {"M2: 8 sections, the header says 9", [](std::vector<u8>& b) { b[12] = 9; }},
    {"M2: section 2147483649 after 1",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kRequirements), 0x80000001); }},
    {"M2: section 1 after 0", [](std::vector<u8>& b) { set_word(b, 32, 1); }},
    {"M2: section 2147483658 after",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kCost), 0x8000000A); }},
    {"M2: section 3 is missing",
     [](std::vector<u8>& b) {
       std::size_t at = section_at(b, Section::kSymbols);
       b.erase(b.begin() + static_cast<i64>(at), b.begin() + static_cast<i64>(at) + 24);
       set_word(b, 12, 7);
       set_word(b, 16, static_cast<u32>(b.size()));
     }},
    {"M3: section 1 of 999999 words does not fit",
     [](std::vector<u8>& b) { set_word(b, 36, 999'999); }},
    {"M3: section 1 of 0 words", [](std::vector<u8>& b) { set_word(b, 36, 0); }},
    {"M3: section 1 of 4294967295 words", [](std::vector<u8>& b) { set_word(b, 36, ~0u); }},
    {"M3: instruction of 0 words",
     [](std::vector<u8>& b) {
       std::size_t at = section_at(b, Section::kConstants) - 8;
       while (word_at(b, at) >> 16 != 5) at -= 4;  // the last linear
       set_word(b, at, word_at(b, at) & 0xFFFF);
     }},
    {"M3: the cost section's counts",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kCost) + 8, 1); }},
    {"M5: string 1 is not in order",
     [](std::vector<u8>& b) { b[section_at(b, Section::kStrings) + 13] = 0x7A; }},
    {"M5: string 0 is not UTF-8",
     [](std::vector<u8>& b) { b[section_at(b, Section::kStrings) + 13] = 0xFF; }},
    {"M5: a string ends early",
     [](std::vector<u8>& b) { b[section_at(b, Section::kStrings) + 12] = 0xFF; }},
    {"M6: 999999 strings",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kStrings) + 8, 999'999); }},
    {"M6: section: count 4294967295",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kWeights) + 8, ~0u); }},
    {"M6: section: count 17",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kKv) + 8, 17); }},
    {"M6: constant $invf is too large",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kConstants) + 16, 1u << 20); }},
    {"M7: no string", [](std::vector<u8>& b) { b[section_at(b, Section::kWeights) + 12] = 0xFF; }},
    {"M7: unknown element type",
     [](std::vector<u8>& b) { b[section_at(b, Section::kKv) + 14] = 0xFF; }},
    {"M7: cost entry",
     [](std::vector<u8>& b) { set_word(b, section_at(b, Section::kCost) + 20, 0x0500); }},
    {"V2: the ops listed in REQ",
     [](std::vector<u8>& b) {
       std::size_t at = section_at(b, Section::kRequirements) + 16;
       set_word(b, at, word_at(b, at) + 0x10000);
     }},
    {"V2: ISA version 1.1 is newer", [](std::vector<u8>& b) { b[6] = 1; }},
    {"V17: the stored cost matrix",
     [](std::vector<u8>& b) {
       std::size_t at = section_at(b, Section::kCost) + 24;
       set_word(b, at, word_at(b, at) + 1);
     }},
    {"M4: the program is not in canonical form",
     [](std::vector<u8>& b) {
       // The padding word of a section with an odd number of words.
       for (std::size_t at = 32; at < b.size();) {
         std::size_t words = word_at(b, at + 4);
         std::size_t end = at + 8 + (words + words % 2) * 4;
         if (words % 2 != 0) return set_word(b, end - 4, 1);
         at = end;
       }
     }},
};

TEST(Load, RefusesBytesThatNoProgramEncodesTo) {
  VerifiedProgram program = verified_text(read_testdata("tiny.tga"));
  for (const ByteCase& c : kByteCases) {
    std::vector<u8> bytes = program.bytes();
    c.change(bytes);
    Result<VerifiedProgram> loaded = load(bytes);
    ASSERT_FALSE(loaded.ok()) << c.expected << " was accepted";
    EXPECT_NE(loaded.error().message.find(c.expected), std::string::npos)
        << "expected " << c.expected << ", got " << loaded.error().message;
  }
}

TEST(Verify, TakesTimeLinearInTheProgram) {
  // 60,000 instructions in one chain; quadratic work would take minutes.
  std::string text =
      ".tgp 1.0 profile=TEXT\n.dim T<=8 S<=2 R<=4 C<=16\n.w $t f32[8,4]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %x60000\n"
      "%x0 = embed $t, %ids -> f32[T,4]\n";
  for (int i = 1; i <= 60'000; ++i) {
    text += "%x" + std::to_string(i) + " = act %x" + std::to_string(i - 1) + " -> f32[T,4]\n";
  }
  text += ".end\n";
  // Larger than a file may be once encoded, so it is refused last, after every other rule ran.
  Result<Program> program = assemble(text);
  ASSERT_TRUE(program.ok()) << program.error().message;
  Result<VerifiedProgram> verified = verify(std::move(program).value());
  ASSERT_FALSE(verified.ok());
  EXPECT_NE(verified.error().message.find("M6: the program takes"), std::string::npos)
      << verified.error().message;
}

}  // namespace
}  // namespace tg::isa
