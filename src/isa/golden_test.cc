// Binaries of released versions (testdata/golden/VERSION/*.tgp) and what was recorded of them: they
// load to the same bytes, id, cost and text, forever. With TG_GOLDEN=VERSION the programs of
// testdata that have no binary in that version get one; a file that exists is never written again.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/bytes.h"
#include "isa/assemble.h"
#include "isa/disassemble.h"
#include "isa/encode.h"

namespace tg::isa {
namespace {

namespace fs = std::filesystem;

const fs::path kTestdata = TG_SOURCE_DIR "/src/isa/testdata";
constexpr const char* kVersions[] = {"1.0", "1.1"};

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<fs::path> files_of(const fs::path& folder, const std::string& extension) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, none)) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void add_counters(std::string& out, std::string_view group, const unit::Counters& counters) {
  for (u8 i = 0; i < unit::kCounters; ++i) {
    if (counters[i] == 0) continue;
    out.append("cost ").append(group).append(" ");
    out.append(unit::counter_name(static_cast<unit::Counter>(i))).append(" ");
    out.append(std::to_string(counters[i])).append("\n");
  }
}

std::string cost_text(const unit::CostMatrix& m) {
  std::string out;
  add_counters(out, "pass", m.per_pass);
  add_counters(out, "token", m.per_token);
  add_counters(out, "row", m.per_row);
  add_counters(out, "sequence", m.per_sequence);
  out += "cost head " + std::to_string(m.head_bytes) + "\n";
  for (const unit::WindowCost& w : m.windows)
    out += "cost window " + std::to_string(w.window) + " kind " +
           std::to_string(static_cast<int>(w.kind)) + " attn " +
           std::to_string(w.attn_flops_per_pair) + " ew " + std::to_string(w.ew_flops_per_pair) +
           " kv " + std::to_string(w.kv_rd_bytes_per_key) + "\n";
  for (const unit::ExpertCost& e : m.experts)
    out += "cost experts " + std::to_string(e.experts) + " active " + std::to_string(e.active) +
           " layers " + std::to_string(e.layers) + " bytes " + std::to_string(e.bytes_per_expert) +
           "\n";
  return out;
}

// What is recorded beside a binary.
std::string record_of(const VerifiedProgram& program) {
  std::string out = "id " + to_hex(program.id()) + "\n" + cost_text(program.cost());
  for (const unit::CostMatrix& m : program.program().entry_costs) out += "entry\n" + cost_text(m);
  return out + "text\n" + disassemble(program.program());
}

void write_missing(const std::string& version) {
  fs::path folder = kTestdata / "golden" / version;
  fs::create_directories(folder);
  for (const fs::path& source : files_of(kTestdata, ".tga")) {
    fs::path binary = folder / source.filename().replace_extension(".tgp");
    if (fs::exists(binary)) continue;
    std::vector<u8> bytes = verify(assemble(read_file(source)).value()).value().bytes();
    VerifiedProgram program = load(bytes).value();
    std::ofstream(binary, std::ios::binary) << as_text(bytes);
    fs::path record = binary;
    std::ofstream(record.replace_extension(".txt"), std::ios::binary) << record_of(program);
  }
}

void check_binary(const fs::path& binary) {
  std::string stored = read_file(binary);
  std::span<const u8> bytes = as_bytes(stored);
  Result<Program> decoded = decode(bytes);
  ASSERT_TRUE(decoded.ok()) << binary << ": " << decoded.error().message;
  EXPECT_EQ(as_text(encode(*decoded)), stored) << binary;
  Result<VerifiedProgram> program = load(bytes);
  ASSERT_TRUE(program.ok()) << binary << ": " << program.error().message;
  fs::path record = binary;
  std::string recorded = read_file(record.replace_extension(".txt"));
  EXPECT_EQ(record_of(*program), recorded) << binary;
  // The text alone says the whole program.
  Result<Program> again = assemble(recorded.substr(recorded.find("\ntext\n") + 6));
  ASSERT_TRUE(again.ok()) << binary << ": " << again.error().message;
  EXPECT_EQ(as_text(verify(std::move(again).value()).value().bytes()), stored) << binary;
}

TEST(Golden, BinariesOfEveryVersionLoadAsRecorded) {
  if (const char* version = std::getenv("TG_GOLDEN")) write_missing(version);
  for (const char* version : kVersions) {
    std::vector<fs::path> binaries = files_of(kTestdata / "golden" / version, ".tgp");
    EXPECT_FALSE(binaries.empty()) << version;
    for (const fs::path& binary : binaries) check_binary(binary);
  }
}

TEST(Golden, EveryProgramOfTestdataHasABinary) {
  fs::path folder = kTestdata / "golden" / kVersions[std::size(kVersions) - 1];
  for (const fs::path& source : files_of(kTestdata, ".tga"))
    EXPECT_TRUE(fs::exists(folder / source.filename().replace_extension(".tgp"))) << source;
}

// A binary without its directory's name in kVersions would be kept but not checked.
TEST(Golden, EveryVersionIsChecked) {
  std::size_t folders = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(kTestdata / "golden"))
    folders += entry.is_directory() ? 1 : 0;
  EXPECT_EQ(folders, std::size(kVersions));
}

}  // namespace
}  // namespace tg::isa
