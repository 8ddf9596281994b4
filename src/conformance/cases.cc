#include "conformance/cases.h"

#include <algorithm>
#include <charconv>

#include "isa/codec.h"
#include "isa/dtype.h"

namespace tg::conformance {

namespace {

using Grid = std::map<std::string, std::string>;

// Half-precision tensors hold no wide exponents without overflowing; nor does what sums them.
constexpr int kHalfSpan = 3;
constexpr std::size_t kFields = 8;

std::string_view trim(std::string_view text) {
  std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(trim(text.substr(at, end - at)));
    at = end + 1;
  }
  return parts;
}

Error malformed(std::string_view line, std::string what) {
  return Error{Code::kInvalid, "case table: " + what + " in \"" + std::string(line) + "\""};
}

i64 to_number(std::string_view text) {
  i64 value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::vector<std::string> weight_codecs() {
  std::vector<std::string> names;
  for (u8 i = 0; i < static_cast<u8>(isa::DType::kCount); ++i) {
    isa::DType type = static_cast<isa::DType>(i);
    if (isa::is_weight_codec(type) && isa::can_quantize(type))
      names.emplace_back(isa::info(type).name);
  }
  return names;
}

std::vector<std::string> values_of(std::string_view list) {
  if (list == "@weights") return weight_codecs();
  std::vector<std::string> values;
  for (std::string_view value : split(list, ',')) values.emplace_back(value);
  return values;
}

// {name} by the grid's value, which may itself hold names.
std::string substitute(std::string text, const Grid& grid) {
  for (const auto& [key, value] : grid) {
    std::string name = "{" + key + "}";
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name)) {
      text.replace(at, name.size(), value);
    }
  }
  return text;
}

struct Axis {
  std::string name;
  std::vector<std::string> values;
};

// Every combination, the last axis running fastest; `label` tells those apart that have choices.
struct Point {
  Grid grid;
  std::string label;
};

std::vector<Point> points_of(const std::vector<Axis>& axes) {
  std::vector<Point> points = {{{{"x", "f32"}, {"y", "f32"}}, ""}};
  for (const Axis& axis : axes) {
    std::vector<Point> next;
    for (const Point& point : points) {
      for (const std::string& value : axis.values) {
        Point& added = next.emplace_back(point);
        added.grid[axis.name] = substitute(value, point.grid);
        if (axis.name != "span") added.label += " " + axis.name + "=" + added.grid[axis.name];
      }
    }
    points = std::move(next);
  }
  return points;
}

Result<std::vector<Axis>> read_axes(std::string_view line, std::string_view text) {
  std::vector<Axis> axes;
  for (std::string_view word : split(text, ' ')) {
    if (word.empty()) continue;
    std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return malformed(line, "grid " + std::string(word));
    axes.push_back({std::string(word.substr(0, equals)), values_of(word.substr(equals + 1))});
  }
  return axes;
}

// Of the op, and of the mask if it has one.
std::string profiles_of(isa::Opcode op, const Grid& grid) {
  std::string out = "TEXT";
  isa::Profile profile = isa::info(op).profile;
  if (profile != isa::Profile::kText) out += "," + std::string(isa::name(profile));
  Grid::const_iterator mask = grid.find("mask");
  if (op != isa::Opcode::kAttn || mask == grid.end()) return out;
  return out + (mask->second == "tree" ? ",SPEC" : ",EMBED");
}

bool takes_params(const std::string& body) {
  return body.find("%params") != std::string::npos;
}

// The whole program at one point; the grid decides types, so the magnitude's twin is another grid.
std::string program_text(isa::Opcode op, const std::vector<std::string_view>& fields,
                         const Grid& grid) {
  std::string head =
      ".tgp least profile=" + profiles_of(op, grid) + "\n.dim T<=512 S<=16 R<=512 C<=512\n";
  std::string body;
  for (std::string_view input : split(fields[4], ' ')) {
    std::size_t colon = input.find(':');
    if (colon == std::string_view::npos) continue;
    std::string name(input.substr(0, colon));
    std::string width(input.substr(colon + 1));
    head += ".w $in_" + name + " {x}[" + std::to_string(kTableRows) + "," + width + "]\n";
    body += "  %" + name + " = embed $in_" + name + ", %ids -> {x}[T," + width + "]\n";
  }
  for (std::string_view line : split(fields[5], ';')) head += std::string(line) + "\n";
  for (std::string_view line : split(fields[6], ';')) body += "  " + std::string(line) + "\n";
  // A body that names R or S rows gives main's result itself.
  bool is_by_token = body.find("[R") == std::string::npos && body.find("[S") == std::string::npos;
  bool is_wide = grid.at("y") == "f32" || grid.at("y") == "i32";
  std::string columns(fields[7]);
  std::string last = is_by_token ? "%g" : "%y";
  if (is_by_token) body += "  %g = gather %y, %rows -> {y}[R," + columns + "]\n";
  if (!is_wide) {
    std::string rows = body.find("[S") != std::string::npos ? "S" : "R";
    body += "  %out = cast " + last + " -> f32[" + rows + "," + columns + "]\n";
  }
  head += ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch" +
          std::string(takes_params(body) ? ", %params params" : "") + ") -> " +
          (is_wide ? last : "%out") + (body.find("%also") != std::string::npos ? ", %also" : "") +
          "\n";
  return substitute(head + body + ".end\n", grid);
}

bool needs_magnitude(ErrorClass cls, const Grid& grid) {
  return cls == ErrorClass::kE3 || cls == ErrorClass::kE3F16c || cls == ErrorClass::kE3Xq8 ||
         (cls == ErrorClass::kE1 && grid.contains("scaled"));
}

Grid magnitude_grid(const Grid& grid) {
  Grid twin = grid;
  for (const char* type : {"x", "y", "codec", "acc"}) {
    if (twin.contains(type)) twin[type] = "f32";
  }
  if (twin.contains("xq")) twin["xq"] = "none";
  return twin;
}

bool has_half(const Grid& grid) {
  for (const char* key : {"x", "y", "codec", "fmt", "acc"}) {
    Grid::const_iterator found = grid.find(key);
    if (found != grid.end() && (found->second == "f16" || found->second == "f16c")) return true;
  }
  return false;
}

std::vector<std::string> shapes_of(std::string_view set) {
  std::vector<std::string> rows = {"t1", "t17", "t257", "mixed", "empty", "norows", "zero"};
  if (set == "few") return {"t1", "t17", "mixed"};
  if (set == "fresh") return {"t1", "t17", "t257", "batch", "gap", "zero"};
  if (set == "cache") rows.insert(rows.end(), {"page", "window", "chunks", "hole"});
  return rows;
}

Result<Family> family_at(std::string_view line, const std::vector<std::string_view>& fields,
                         const Point& point) {
  std::optional<isa::Opcode> op = isa::opcode_by_name(fields[0]);
  std::optional<ErrorClass> cls = class_by_name(fields[1]);
  std::optional<isa::DType> type = isa::dtype_by_name(point.grid.at("y"));
  if (!op || !cls || !type) return malformed(line, "op, class or type");
  Family family{.op = *op,
                .cls = *cls,
                .label = std::string(fields[0]) + point.label,
                .text = program_text(*op, fields, point.grid),
                .grid = point.grid,
                .result_type = *type,
                .columns = to_number(substitute(std::string(fields[7]), point.grid)),
                .shapes = shapes_of(fields[2])};
  family.takes_params = takes_params(std::string(fields[6]));
  family.by_sequence = fields[6].find("[S") != std::string_view::npos;
  family.has_trees =
      point.grid.contains("tree") || family.text.find("mask=tree") != std::string::npos;
  family.keeps_chunks = *op == isa::Opcode::kAttn &&
                        (family.has_trees || family.text.find("mask=full") != std::string::npos);
  family.has_cache = family.text.find(".kv ") != std::string::npos;
  if (point.grid.contains("span")) family.span = static_cast<int>(to_number(point.grid.at("span")));
  if (has_half(point.grid)) family.span = std::min(family.span, kHalfSpan);
  if (needs_magnitude(*cls, point.grid)) {
    family.magnitude_text = program_text(*op, fields, magnitude_grid(point.grid));
  }
  return family;
}

// The table with every continued line in one piece.
std::string joined_lines(std::string_view table) {
  std::string out;
  for (std::size_t i = 0; i < table.size(); ++i) {
    bool goes_on = table[i] == '\n' && i + 1 < table.size() && table[i + 1] == ' ';
    if (!goes_on) {
      out += table[i];
      continue;
    }
    out += ' ';
    while (table[i + 1] == ' ') ++i;
  }
  return out;
}

// Lines that differ in their text alone get a number, so that labels stay unique.
void make_unique(std::vector<Family>& families) {
  std::map<std::string, int> seen;
  for (Family& family : families) {
    int count = ++seen[family.label];
    if (count > 1) family.label += " #" + std::to_string(count);
  }
}

}  // namespace

Result<std::vector<Family>> all_families() {
  std::vector<Family> families;
  std::string table = joined_lines(case_table());
  for (std::string_view line : split(table, '\n')) {
    if (line.empty()) continue;
    std::vector<std::string_view> fields = split(line, '|');
    if (fields.size() != kFields) return malformed(line, "not 8 fields");
    TG_ASSIGN(std::vector<Axis> axes, read_axes(line, fields[3]));
    for (const Point& point : points_of(axes)) {
      TG_ASSIGN(Family family, family_at(line, fields, point));
      families.push_back(std::move(family));
    }
  }
  make_unique(families);
  return families;
}

}  // namespace tg::conformance
