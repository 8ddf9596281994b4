// The assembler and the tables it reads from: what it refuses and where, and what canonical form it
// gives to what it accepts.
#include "isa/assemble.h"

#include <gtest/gtest.h>

#include <set>

#include "isa/attribute_text.h"
#include "isa/disassemble.h"
#include "isa/ew.h"
#include "isa/limits.h"
#include "isa/reference/test_model.h"
#include "isa/show.h"

namespace tg::isa {
namespace {

TEST(Opcodes, TableIsWhole) {
  std::set<std::string_view> names;
  for (u16 i = 0; i < static_cast<u16>(Opcode::kCount); ++i) {
    Opcode op = static_cast<Opcode>(i);
    const OpInfo& row = info(op);
    EXPECT_EQ(row.op, op);
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(opcode_by_name(row.name), op);
    EXPECT_LE(row.operands_min, row.operands_max);
    EXPECT_LE(row.results_min, row.results_max);
    for (const AttributeRule& rule : row.attributes) {
      EXPECT_EQ(attribute_by_name(name(rule.key)), rule.key);
      EXPECT_EQ(rule.type == AttributeType::kName, !value_names(rule.key).empty()) << row.name;
      if (rule.type == AttributeType::kInteger && !rule.required) {
        EXPECT_TRUE(rule.fallback >= rule.min && rule.fallback <= rule.max) << row.name;
      }
    }
  }
  EXPECT_EQ(names.size(), 41u);  // 39 instructions and the loop pair
  EXPECT_FALSE(opcode_by_name("composite").has_value());
}

TEST(DTypes, NamesAndRowBytes) {
  for (u8 i = 0; i < static_cast<u8>(DType::kCount); ++i) {
    DType type = static_cast<DType>(i);
    EXPECT_EQ(dtype_by_name(info(type).name), type);
    EXPECT_EQ(row_bytes(type, 2 * info(type).block_elements), 2 * info(type).block_bytes);
  }
  EXPECT_EQ(row_bytes(DType::kQ4K, 4096), 2304);
}

TEST(Assemble, RefusesTheTable) {
  std::stringstream file(read_testdata("malformed_text.txt"));
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    std::size_t bar = line.rfind(" | ");
    ASSERT_NE(bar, std::string::npos) << number;
    std::string text = line.substr(0, bar);
    std::string expected = line.substr(bar + 3);
    for (std::size_t at = text.find("\\n"); at != std::string::npos; at = text.find("\\n"))
      text.replace(at, 2, "\n");
    text = text[0] == '!' ? text.substr(2) : ".tgp 1.0 profile=TEXT\n" + text;
    Result<Program> program = assemble(text);
    ASSERT_FALSE(program.ok()) << "malformed_text.txt line " << number << " was accepted";
    EXPECT_NE(program.error().message.find(expected), std::string::npos)
        << "malformed_text.txt line " << number << ": " << program.error().message;
    EXPECT_TRUE(program.error().message.starts_with("line ")) << program.error().message;
  }
}

TEST(Assemble, RefusesTextThatIsTooLong) {
  std::string text(static_cast<std::size_t>(kTextBytesMax) + 1, ' ');
  EXPECT_EQ(assemble(text).error().code, Code::kLimit);
}

// Attributes of one op, parsed and printed again.
std::string reprinted(Opcode op, std::string_view text) {
  TokenCursor cursor(tokenize_line(text, 1).value(), 1);
  Result<std::vector<Attribute>> attributes = parse_attributes(cursor, {{"D", 128}}, info(op));
  if (!attributes.ok()) return attributes.error().message;
  std::string out;
  for (const Attribute& a : *attributes) out += (out.empty() ? "" : " ") + to_text(info(op), a);
  return out;
}

TEST(Assemble, AttributesBecomeCanonical) {
  // Sorted, defaults left out, cycles at their shortest, floats at theirs.
  EXPECT_EQ(reprinted(Opcode::kRmsNorm, "{woff=1.0 group=D eps=0.00001}"), "group=128 woff=1");
  EXPECT_EQ(reprinted(Opcode::kLinear, "{xq=i8/32 acc=f32 cls=by_weight}"), "xq=i8/32");
  EXPECT_EQ(reprinted(Opcode::kAttn, "{window=cyc(7,0,7,0) scale=0x3e000000 heads=4}"),
            "heads=4 scale=0.125 window=cyc(7,0)");
  EXPECT_EQ(reprinted(Opcode::kAttn, "{window=cyc(0,0)}"), "");
  EXPECT_EQ(reprinted(Opcode::kAttn, "{window=cyc(9)}"), "window=9");
  EXPECT_EQ(reprinted(Opcode::kEw, "{code=(x0 1e-5 add sqrt x1 -2.5 mul sub)}"),
            "code=(x0 1e-05 add sqrt x1 -2.5 mul sub)");
  EXPECT_EQ(reprinted(Opcode::kRope, "{rot=(D-64)/2 heads=2*4, style=gptj}"),
            "style=gptj heads=8 rot=32");
}

TEST(Assemble, KeepsEveryFloatBit) {
  std::mt19937 random(17);
  for (int i = 0; i < 20'000; ++i) {
    u32 bits = static_cast<u32>(random());
    std::string text = real_text(bits);
    TokenCursor cursor(tokenize_line(text, 1).value(), 1);
    Result<u32> back = parse_real(cursor);
    ASSERT_TRUE(back.ok()) << text;
    ASSERT_EQ(*back, bits) << text;
  }
}

TEST(Ew, ChecksTheStack) {
  auto words = [](std::string_view code) {
    std::string text = "{code=(" + std::string(code) + ")}";
    TokenCursor cursor(tokenize_line(text, 1).value(), 1);
    return parse_attributes(cursor, {}, info(Opcode::kEw)).value()[0].words;
  };
  EXPECT_EQ(check_ew(words("x0 x1 mul 2 add exp"))->arithmetic, 3u);
  EXPECT_EQ(check_ew(words("x0 x3 mul"))->inputs, 4u);
  EXPECT_FALSE(check_ew(words("")).ok());
  EXPECT_FALSE(check_ew(words("x0 x0")).ok());
  EXPECT_FALSE(check_ew(words("x0 mul")).ok());
  EXPECT_FALSE(
      check_ew(words("x0 dup dup dup dup dup dup dup dup dup dup dup dup dup dup dup dup")).ok());
  EXPECT_FALSE(check_ew(std::vector<u32>{99}).ok());
  EXPECT_FALSE(check_ew(std::vector<u32>{static_cast<u32>(EwOp::kConstant)}).ok());
  EXPECT_FALSE(check_ew(std::vector<u32>{static_cast<u32>(EwOp::kConstant), 0x7F800000}).ok());
  EXPECT_FALSE(check_ew(std::vector<u32>{static_cast<u32>(EwOp::kInput) | 16u << 8}).ok());
  EXPECT_FALSE(check_ew(std::vector<u32>{static_cast<u32>(EwOp::kAdd) | 1u << 8}).ok());
  EXPECT_FALSE(check_ew(std::vector<u32>(65, 0)).ok());
}

TEST(Show, NamesWhatABuyerNeeds) {
  VerifiedProgram llama = verified_text(read_testdata("llama31_8b.tga"));
  std::string text = summarize(llama);
  for (const char* expected :
       {"13,958,643,712 T", "524,288 A", "131,072 K", "1,050,673,152 R", "$wq[32]",
        "q4_k[4096,4096]", "131,072 bytes/token", "22 instructions"}) {
    EXPECT_NE(text.find(expected), std::string::npos) << expected << " in\n" << text;
  }
  EXPECT_NE(text.find(to_hex(llama.id())), std::string::npos);
}

TEST(Show, NamesEveryKindOfMemoryAndPair) {
  struct Row {
    const char* file;
    std::vector<const char*> expected;
  };
  const Row rows[] = {
      {"every_moe.tga", {"1.0, TEXT MOE,", " U of ", " experts, ", " per token, in "}},
      {"every_state.tga", {"1.0, TEXT STATE,", "state     $", " bytes/sequence"}},
      {"every_sparse.tga", {" A_", " (selected)"}},
      {"every_embed.tga", {" A (dense)", " A (full)"}},
      {"every_spec.tga", {" A (tree)"}},
      {"deepseek_v3.tga", {", value in the first 512"}}};
  for (const Row& row : rows) {
    std::string text = summarize(verified_text(read_testdata(row.file)));
    for (const char* expected : row.expected)
      EXPECT_NE(text.find(expected), std::string::npos) << expected << " in\n" << text;
  }
}

}  // namespace
}  // namespace tg::isa
