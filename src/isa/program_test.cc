// Whole programs: text to verified to flat, the published cost of Llama-3.1-8B, and both ways
// between text, data and bytes.
#include "isa/program.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "isa/assemble.h"
#include "isa/disassemble.h"
#include "isa/encode.h"

namespace tg::isa {
namespace {

std::string read_text(const std::string& name) {
  std::string path = TG_SOURCE_DIR "/src/isa/testdata/";
  std::ifstream file(path.append(name));
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

VerifiedProgram verified(const std::string& text) {
  Result<Program> program = assemble(text);
  EXPECT_TRUE(program.ok()) << program.error().message;
  Result<VerifiedProgram> result = verify(std::move(program).value());
  EXPECT_TRUE(result.ok()) << result.error().message;
  return std::move(result).value();
}

TEST(Program, LlamaCostsWhatTheSpecificationSays) {
  VerifiedProgram llama = verified(read_text("llama31_8b.tga"));
  const unit::CostMatrix& m = llama.cost();
  EXPECT_EQ(m.per_token[unit::kMmF16], 13'958'643'712u);
  EXPECT_EQ(m.per_row[unit::kMmF16], 1'050'673'152u);
  EXPECT_EQ(m.per_token[unit::kEw], 4'096'000u);
  EXPECT_EQ(m.per_row[unit::kEw], 16'384u);
  EXPECT_EQ(m.per_token[unit::kKvWr], 131'072u);
  EXPECT_EQ(m.per_token[unit::kIo], 3'360u);
  ASSERT_EQ(m.windows.size(), 1u);
  EXPECT_EQ(m.windows[0], (unit::WindowCost{0, 524'288, 5'120, 131'072}));
  // The figure first published, 4,876,918,784, counts the norms too; revision 1 does not.
  u64 norms = 65 * 4'096 * 4;
  EXPECT_EQ(m.per_pass[unit::kWBytes] + m.head_bytes + norms, 4'876'918'784u);
  EXPECT_EQ(m.head_bytes, 128'256u * 16 * 210);
}

TEST(Program, LlamaFlattens) {
  VerifiedProgram llama = verified(read_text("llama31_8b.tga"));
  Result<FlatProgram> flat = llama.flatten("main");
  ASSERT_TRUE(flat.ok());
  EXPECT_EQ(flat->code.size(), 1u + 32 * 16 + 3);
  EXPECT_EQ(flat->parameters, (std::vector<u32>{0, 1, 2, 3}));
  const FlatInstruction& second_norm = flat->code[1 + 16];
  EXPECT_EQ(second_norm.op, Opcode::kRmsNorm);
  EXPECT_EQ(second_norm.in[1].layer, 1u);
  EXPECT_EQ(second_norm.in[0].index, flat->code[16].out[0]);  // what the first turn yielded
  EXPECT_FALSE(llama.flatten("other").ok());
}

TEST(Program, LlamaIsSmall) {
  std::string text = read_text("llama31_8b.tga");
  EXPECT_LE(verified(text).bytes().size(), 1'280u);
  // With the rope table inside, as importers write it.
  std::string table = ".const $invf f32[64] =";
  for (int i = 0; i < 64; ++i) table += " 0." + std::to_string(1000 - i);
  text.replace(text.find(".w   $invf        f32[D/2]"), 26, table);
  EXPECT_LE(verified(text).bytes().size(), 1'536u);
}

class RoundTrip : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Programs, RoundTrip,
                         testing::Values("llama31_8b.tga", "deepseek_v3.tga", "tiny.tga",
                                         "memory.tga", "every_op.tga", "every_moe.tga",
                                         "every_sparse.tga", "every_state.tga", "every_spec.tga",
                                         "every_embed.tga", "every_dist.tga", "every_vision.tga"));

TEST_P(RoundTrip, BinaryLoadsToTheSameBytes) {
  VerifiedProgram program = verified(read_text(GetParam()));
  Result<VerifiedProgram> again = load(program.bytes());
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->id(), program.id());
  EXPECT_EQ(again->bytes(), program.bytes());
  EXPECT_EQ(again->cost(), program.cost());
}

TEST_P(RoundTrip, TextAssemblesToTheSameBytes) {
  VerifiedProgram program = verified(read_text(GetParam()));
  std::string text = disassemble(program.program());
  EXPECT_EQ(verified(text).bytes(), program.bytes()) << text;
  EXPECT_EQ(disassemble(verified(text).program()), text);
  // Without names, as a loaded program prints.
  std::string numbered = disassemble(load(program.bytes())->program());
  EXPECT_EQ(verified(numbered).bytes(), program.bytes()) << numbered;
}

TEST_P(RoundTrip, EveryCorruptedByteIsRefusedOrRenames) {
  VerifiedProgram program = verified(read_text(GetParam()));
  std::vector<u8> bytes = program.bytes();
  // META names nothing, but its check word does not let it change unseen. Of a long program each
  // byte is changed in one way, in turn.
  constexpr u8 kFlips[] = {0x01, 0x10, 0x80, 0xFF};
  std::size_t each = bytes.size() > 4'096 ? 1 : std::size(kFlips);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (std::size_t k = 0; k < each; ++k) {
      u8 flip = kFlips[(i + k) % std::size(kFlips)];
      bytes[i] = static_cast<u8>(bytes[i] ^ flip);
      Result<VerifiedProgram> loaded = load(bytes);
      EXPECT_TRUE(!loaded.ok() || loaded->id() != program.id()) << "byte " << i;
      bytes[i] = static_cast<u8>(bytes[i] ^ flip);
    }
  }
}

TEST_P(RoundTrip, EveryTruncationIsRefused) {
  VerifiedProgram program = verified(read_text(GetParam()));
  for (std::size_t n = 0; n < program.bytes().size(); ++n)
    EXPECT_FALSE(load(std::span<const u8>(program.bytes()).first(n)).ok()) << n;
}

TEST(Program, MetaDoesNotRename) {
  VerifiedProgram program = verified(read_text("every_op.tga"));
  Program changed = program.program();
  changed.meta[0].second = "elsewhere";
  Result<VerifiedProgram> other = verify(changed);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->id(), program.id());
  EXPECT_NE(other->bytes(), program.bytes());
}

TEST(Program, StoredCostMustBeTheProgramsOwn) {
  using Change = void (*)(unit::CostMatrix&);
  const Change changes[] = {
      [](unit::CostMatrix& m) { m.per_token[unit::kMmF16] -= 1; },
      [](unit::CostMatrix& m) { m.per_pass[unit::kWBytes] = 0; },
      [](unit::CostMatrix& m) { m.per_row[unit::kComm] = 1; },
      [](unit::CostMatrix& m) { m.head_bytes -= 1; },
      [](unit::CostMatrix& m) { m.windows[0].kv_rd_bytes_per_key -= 1; },
      [](unit::CostMatrix& m) { m.windows.pop_back(); },
      [](unit::CostMatrix& m) { std::swap(m.windows[0], m.windows[1]); },
      [](unit::CostMatrix& m) {
        m.experts.push_back({8, 2, 1, 100});
      },
  };
  VerifiedProgram program = verified(read_text("tiny.tga"));
  for (Change change : changes) {
    Program cheaper = program.program();
    change(cheaper.cost);
    Result<VerifiedProgram> loaded = load(encode(cheaper));
    ASSERT_FALSE(loaded.ok());
    EXPECT_NE(loaded.error().message.find("V17: "), std::string::npos) << loaded.error().message;
  }
}

TEST(Program, WindowsAreGroupedAndSorted) {
  VerifiedProgram program = verified(read_text("every_op.tga"));
  const std::vector<unit::WindowCost>& windows = program.cost().windows;
  ASSERT_EQ(windows.size(), 2u);
  // Three layers, cyc(5,0): two windowed, one not.
  u64 flops = 2 * 4 * (16 + 16);
  u64 bytes = 2 * (16 + 16) * 2;
  EXPECT_EQ(windows[0], (unit::WindowCost{0, flops, 20, bytes}));
  EXPECT_EQ(windows[1], (unit::WindowCost{5, 2 * flops, 40, 2 * bytes}));
}

}  // namespace
}  // namespace tg::isa
