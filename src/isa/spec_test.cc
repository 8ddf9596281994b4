// The specification's tables are the opcode table's: every marked block of spec/isa.md and all of
// spec/ops.json are what this file writes from opcode.cc, dtype.h, ew.h and limits.h. After a
// change of those, TG_UPDATE=1 rewrites both; without it a difference fails. Also: every op has its
// section, and every example of it is a line of a program that verifies.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "base/json_out.h"
#include "isa/attribute_text.h"
#include "isa/dtype.h"
#include "isa/ew.h"
#include "isa/limits.h"
#include "isa/opcode.h"
#include "unit/counters.h"

namespace tg::isa {
namespace {

const std::string kSpec = TG_SOURCE_DIR "/spec/isa.md";
const std::string kOpsJson = TG_SOURCE_DIR "/spec/ops.json";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool updates() {
  const char* value = std::getenv("TG_UPDATE");
  return value != nullptr && std::string_view(value) == "1";
}

std::string code(std::string_view text) {
  return "`" + std::string(text) + "`";
}

std::string joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i)
    out.append(i > 0 ? separator : "").append(parts[i]);
  return out;
}

std::string range(i64 low, i64 high) {
  return low == high ? std::to_string(low) : std::to_string(low) + " to " + std::to_string(high);
}

std::vector<std::string> accepted(u8 mask) {
  static constexpr std::string_view kKinds[] = {"value", "weight", "constant", "cache",
                                                "batch", "params", "perm",     "state"};
  std::vector<std::string> out;
  for (std::size_t i = 0; i < std::size(kKinds); ++i) {
    if ((mask >> i & 1) != 0) out.emplace_back(kKinds[i]);
  }
  return out;
}

std::vector<std::string> legal_names(const AttributeRule& rule) {
  std::vector<std::string> out;
  std::span<const std::string_view> names = value_names(rule.key);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if ((rule.legal >> i & 1) != 0) out.emplace_back(names[i]);
  }
  return out;
}

std::string values_of(const AttributeRule& rule) {
  switch (rule.type) {
    case AttributeType::kName: return joined(legal_names(rule), ", ");
    case AttributeType::kReal: return "a finite f32";
    case AttributeType::kCode: return "a program of section 4.4";
    case AttributeType::kInteger: break;
  }
  std::string one =
      rule.min == 0 && rule.list ? "up to " + std::to_string(rule.max) : range(rule.min, rule.max);
  return rule.list ? "a list of integers " + one : rule.cyclic ? one + ", or a cycle" : one;
}

std::string default_of(const AttributeRule& rule) {
  if (rule.required) return "required";
  if (rule.list) return "none";
  if (rule.type == AttributeType::kReal) return real_text(rule.fallback);
  if (rule.type == AttributeType::kName) return std::string(value_names(rule.key)[rule.fallback]);
  return std::to_string(rule.fallback);
}

std::string op_block(const OpInfo& op) {
  std::string out = "Opcode " + std::to_string(static_cast<int>(op.op)) + ", version " +
                    std::to_string(op.version) + ", profile " + std::string(name(op.profile)) +
                    "; operands " + range(op.operands_min, op.operands_max) + ", results " +
                    range(op.results_min, op.results_max) +
                    ".\n\n| operand | may be a |\n|---|---|\n";
  for (std::size_t i = 0; i < op.operands.size() && i < op.operands_max; ++i) {
    const OperandRule& rule = op.operands[i];
    bool repeats = i + 1 == op.operands.size() && op.operands_max > op.operands.size();
    out += "| " + code(rule.name) + (repeats ? " ..." : "") +
           (i >= op.operands_min ? " (optional)" : "") + " | " +
           joined(accepted(rule.accepts), ", ") + " |\n";
  }
  if (op.attributes.empty()) return out;
  out += "\n| attribute | key | values | default |\n|---|---|---|---|\n";
  for (const AttributeRule& rule : op.attributes) {
    out += "| " + code(name(rule.key)) + " | " + std::to_string(static_cast<int>(rule.key)) +
           " | " + values_of(rule) + " | " + default_of(rule) + " |\n";
  }
  return out;
}

std::span<const OpInfo> all_ops() {
  return {&info(static_cast<Opcode>(0)), static_cast<std::size_t>(Opcode::kCount)};
}

std::string ops_block() {
  std::string out = "| opcode | name | profile | |\n|---|---|---|---|\n";
  for (const OpInfo& op : all_ops())
    out += "| " + std::to_string(static_cast<int>(op.op)) + " | " + code(op.name) + " | " +
           std::string(name(op.profile)) + " | " + std::string(op.synopsis) + " |\n";
  return out;
}

std::string types_block() {
  std::string out = "| code | name | elements in a block | bytes of a block |\n|---|---|---|---|\n";
  for (u8 i = 0; i < static_cast<u8>(DType::kCount); ++i) {
    const DTypeInfo& t = info(static_cast<DType>(i));
    out += "| " + std::to_string(i) + " | " + code(t.name) + " | " +
           std::to_string(t.block_elements) + " | " + std::to_string(t.block_bytes) + " |\n";
  }
  return out;
}

std::string words_block() {
  std::string out = "| attribute | words 0, 1, 2, ... |\n|---|---|\n";
  for (u16 k = 0; k < static_cast<u16>(AttributeKey::kCountKeys); ++k) {
    AttributeKey key = static_cast<AttributeKey>(k);
    std::vector<std::string> names(value_names(key).begin(), value_names(key).end());
    if (!names.empty()) out += "| " + code(name(key)) + " | " + joined(names, ", ") + " |\n";
  }
  return out;
}

std::string ew_block() {
  std::string out = "| code | name | pops | pushes | FLOP |\n|---|---|---|---|---|\n";
  for (u8 i = 0; i < static_cast<u8>(EwOp::kCount); ++i) {
    EwOp op = static_cast<EwOp>(i);
    out += "| " + std::to_string(i) + " | " + code(info(op).name) + " | " +
           std::to_string(info(op).pops) + " | " + std::to_string(info(op).pushes) + " | " +
           (is_arithmetic(op) ? "1" : "0") + " |\n";
  }
  return out;
}

std::string limits_block() {
  const std::pair<const char*, i64> limits[] = {
      {"bytes of a program", kFileBytesMax},
      {"bytes of its text", kTextBytesMax},
      {"names", kStringsMax},
      {"bytes of a name", kStringBytesMax},
      {"instructions of a function, loops unrolled", kInstructionsMax},
      {"values of a function", kValuesMax},
      {"weights", kWeightsMax},
      {"caches and states", kKvMax},
      {"constants", kConstantsMax},
      {"bytes of all constants", kConstantBytesMax},
      {"META entries", kMetaMax},
      {"bytes of a META value", kMetaBytesMax},
      {"rank", kRankMax},
      {"operands, and results, of an instruction; results of a function", kOperandsMax},
      {"entries of a cycle or list", kCycleMax},
      {"words of an `ew` program", kEwCodeMax},
      {"depth of its stack", kEwStackMax},
      {"layers, and turns of a loop", kLayersMax},
      {"heads", kHeadsMax},
      {"constant part of a dimension", kDimMax},
      {"factor of a step symbol", kDimFactorMax},
      {"elements of a tensor at the bounds, one layer", kElementsMax},
      {"bound of T", kTokensMax},
      {"bound of S", kSequencesMax},
      {"bound of R", kRowsMax},
      {"bound of C", kContextMax},
      {"tokens of a page", kPageTokensMax},
      {"`top_n`", kTopLogprobsMax},
      {"experts of a `route`", kExpertsMax},
      {"experts chosen per token", kExpertsActiveMax},
      {"keys chosen per token", kSelectedMax},
      {"ranks of a mesh axis", kRanksMax},
      {"bytes of activations at the bounds", kActivationBytesMax}};
  std::string out = "| limit | |\n|---|---|\n";
  for (const auto& [what, value] : limits)
    out += "| " + std::string(what) + " | " + std::to_string(value) + " |\n";
  return out;
}

std::string counters_block() {
  std::string out = "| index | counter |\n|---|---|\n";
  for (u8 i = 0; i < unit::kCounters; ++i)
    out += "| " + std::to_string(i) + " | " +
           code(unit::counter_name(static_cast<unit::Counter>(i))) + " |\n";
  return out;
}

// What a marked block holds; empty if nothing of that name is generated.
std::string block(const std::string& what) {
  static const std::map<std::string, std::function<std::string()>> kBlocks = {
      {"ops", ops_block}, {"types", types_block},   {"words", words_block},
      {"ew", ew_block},   {"limits", limits_block}, {"counters", counters_block}};
  std::map<std::string, std::function<std::string()>>::const_iterator found = kBlocks.find(what);
  if (found != kBlocks.end()) return found->second();
  std::optional<Opcode> op =
      what.starts_with("op ") ? opcode_by_name(what.substr(3)) : std::nullopt;
  return op ? op_block(info(*op)) : std::string();
}

constexpr std::string_view kOpen = "<!-- generated: ";
constexpr std::string_view kClose = "<!-- end -->";

// The text with every marked block as it should be.
std::string regenerated(const std::string& text) {
  std::string out;
  std::size_t at = 0;
  while (true) {
    std::size_t open = text.find(kOpen, at);
    if (open == std::string::npos) return out + text.substr(at);
    std::size_t name_end = text.find(" -->", open);
    std::size_t body = text.find('\n', open) + 1;
    std::size_t close = text.find(kClose, body);
    if (close == std::string::npos) {
      ADD_FAILURE() << "a block does not end";
      return text;
    }
    std::string what = text.substr(open + kOpen.size(), name_end - open - kOpen.size());
    std::string content = block(what);
    EXPECT_FALSE(content.empty()) << "nothing generates '" << what << "'";
    out += text.substr(at, body - at) + content;
    at = close;
  }
}

void expect_file(const std::string& path, const std::string& wanted) {
  if (updates()) std::ofstream(path, std::ios::binary) << wanted;
  EXPECT_EQ(read_file(path), wanted) << path << " is not what its tables say: TG_UPDATE=1 rewrites";
}

TEST(Specification, TablesAreTheOpcodeTables) {
  expect_file(kSpec, regenerated(read_file(kSpec)));
}

void write_attribute(JsonWriter& json, const AttributeRule& rule) {
  static constexpr std::string_view kTypes[] = {"integer", "real", "name", "code"};
  json.begin_object();
  json.key("name").string(name(rule.key));
  json.key("key").number(static_cast<i64>(rule.key));
  json.key("type").string(kTypes[static_cast<int>(rule.type)]);
  json.key("required").boolean(rule.required);
  json.key("cyclic").boolean(rule.cyclic);
  json.key("list").boolean(rule.list);
  if (!rule.required && !rule.list) json.key("default").string(default_of(rule));
  if (rule.type == AttributeType::kInteger) {
    json.key("min").number(i64{rule.min});
    json.key("max").number(i64{rule.max});
  }
  if (rule.type == AttributeType::kName) {
    json.key("values").begin_array();
    for (const std::string& word : legal_names(rule)) json.string(word);
    json.end_array();
  }
  json.end_object();
}

void write_op(JsonWriter& json, const OpInfo& op) {
  json.begin_object();
  json.key("opcode").number(static_cast<i64>(op.op));
  json.key("name").string(op.name);
  json.key("version").number(i64{op.version});
  json.key("profile").string(name(op.profile));
  json.key("synopsis").string(op.synopsis);
  json.key("operands_min").number(i64{op.operands_min});
  json.key("operands_max").number(i64{op.operands_max});
  json.key("results_min").number(i64{op.results_min});
  json.key("results_max").number(i64{op.results_max});
  json.key("operands").begin_array();
  for (const OperandRule& rule : op.operands) {
    json.begin_object();
    json.key("name").string(rule.name);
    json.key("accepts").begin_array();
    for (const std::string& kind : accepted(rule.accepts)) json.string(kind);
    json.end_array();
    json.end_object();
  }
  json.end_array();
  json.key("attributes").begin_array();
  for (const AttributeRule& rule : op.attributes) write_attribute(json, rule);
  json.end_array();
  json.end_object();
}

// One op to a line, so that a change shows as one.
std::string ops_json() {
  std::string out = "{\"isa\":\"1.1\",\"ops\":[\n";
  for (const OpInfo& op : all_ops()) {
    JsonWriter json(out);
    write_op(json, op);
    out += &op == &all_ops().back() ? "\n" : ",\n";
  }
  return out + "]}\n";
}

TEST(Specification, OpsJsonIsTheOpcodeTable) {
  expect_file(kOpsJson, ops_json());
}

// Sections "### 7.x `name`" by op.
std::map<std::string, std::string> op_sections() {
  std::map<std::string, std::string> sections;
  std::stringstream text(read_file(kSpec));
  std::string current;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("#")) {
      std::size_t open = line.find('`');
      bool is_op = line.starts_with("### ") && open != std::string::npos;
      current = is_op ? line.substr(open + 1, line.find('`', open + 1) - open - 1) : "";
    }
    if (!current.empty()) sections[current] += line + "\n";
  }
  return sections;
}

std::string programs_text() {
  std::string all;
  for (const char* name : {"every_op", "every_moe", "every_sparse", "every_state", "every_spec",
                           "every_embed", "every_dist", "every_vision"})
    all += read_file(TG_SOURCE_DIR "/src/isa/testdata/" + std::string(name) + ".tga");
  return all;
}

// Indented lines of a section that are neither table nor prose.
std::vector<std::string> examples(const std::string& section) {
  std::vector<std::string> out;
  std::stringstream lines(section);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("    ")) out.push_back(line.substr(4));
  }
  return out;
}

TEST(Specification, EveryOpHasItsSectionAndAnExampleThatVerifies) {
  std::map<std::string, std::string> sections = op_sections();
  std::string programs = programs_text();
  for (const OpInfo& op : all_ops()) {
    std::string name(op.name);
    ASSERT_TRUE(sections.contains(name)) << name << " has no section";
    const std::string& section = sections[name];
    EXPECT_NE(section.find(std::string(kOpen) + "op " + name + " -->"), std::string::npos) << name;
    for (const char* part : {"**Cost.**", "**Numerics.**", "**Constraints.**"})
      EXPECT_NE(section.find(part), std::string::npos) << name << " has no " << part;
    std::vector<std::string> lines = examples(section);
    EXPECT_FALSE(lines.empty()) << name << " has no example";
    for (const std::string& line : lines)
      EXPECT_NE(programs.find(line), std::string::npos) << name << ": " << line;
  }
}

}  // namespace
}  // namespace tg::isa
