#include "conformance/data.h"

#include <algorithm>
#include <cmath>

#include "isa/codec.h"

namespace tg::conformance {

namespace {

constexpr f64 kRopeBase = 10'000;
constexpr f64 kGainNoise = 0.2;

i64 rows_of(const isa::WeightDecl& weight) {
  i64 rows = 1;
  for (std::size_t i = 0; i + 1 < weight.dims.size(); ++i) rows *= weight.dims[i];
  return rows;
}

bool is_input(const isa::WeightDecl& weight) {
  return weight.name.starts_with("in_");
}

// Scores after token `id` that prefer a token of the same chunk: the next one, in a third of the
// rows the one after it (ids of a chunk go up by 7); by so little in another third that draws miss
// it.
void prefer_next(i64 id, std::span<f32> scores) {
  constexpr i64 kIdStep = 7;
  i64 ahead = id % 3 == 0 ? 2 : 1;
  i64 next = (id + kIdStep * ahead) % static_cast<i64>(scores.size());
  f32 lead = id % 3 == 1 ? 1.0f : 12.0f;
  scores[static_cast<std::size_t>(next)] = *std::max_element(scores.begin(), scores.end()) + lead;
}

std::vector<f32> values_of(const isa::WeightDecl& weight, const DataSpec& spec, u32 layer) {
  i64 columns = weight.dims.back();
  std::vector<f32> values(static_cast<std::size_t>(rows_of(weight) * columns));
  std::string seed = spec.label + "/" + std::string(name(spec.generator)) + "/" + weight.name;
  Recipe recipe{.generator = spec.generator,
                .seed = seed_of(seed) + layer,
                .columns = columns,
                .span = spec.span};
  bool is_gain = weight.name.starts_with("g");
  if (weight.name.starts_with("w")) {
    recipe.is_weight = true;
    recipe.scale = 1 / std::sqrt(static_cast<f64>(columns));
  }
  if (is_gain || weight.name.starts_with("s")) recipe.generator = Generator::kNormal;
  generate(recipe, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (is_gain) values[i] = static_cast<f32>(1 + kGainNoise * values[i]);
    if (weight.name == "eye") {
      i64 row = static_cast<i64>(i) / columns;
      values[i] = row % columns == static_cast<i64>(i) % columns ? 1.0f : 0.0f;
    }
    if (weight.name == "invf") {
      f64 part = static_cast<f64>(static_cast<i64>(i) % columns) / static_cast<f64>(columns);
      values[i] = static_cast<f32>(std::pow(kRopeBase, -part));
    }
  }
  for (i64 id = 0; weight.name == "in_next" && id < rows_of(weight); ++id) {
    std::size_t first = static_cast<std::size_t>(id * columns);
    prefer_next(id, std::span(values).subspan(first, static_cast<std::size_t>(columns)));
  }
  return values;
}

std::vector<f32> decoded(const isa::WeightDecl& weight, std::span<const u8> bytes) {
  std::size_t columns = static_cast<std::size_t>(weight.dims.back());
  std::size_t row = static_cast<std::size_t>(isa::row_bytes(weight.codec, weight.dims.back()));
  std::vector<f32> values(static_cast<std::size_t>(rows_of(weight)) * columns);
  for (std::size_t r = 0; r * columns < values.size(); ++r) {
    isa::dequantize_row(weight.codec, bytes.subspan(r * row, row),
                        std::span(values).subspan(r * columns, columns));
  }
  return values;
}

// Numbers that share one offset.
std::size_t offset_group(isa::DType codec) {
  return codec == isa::DType::kQ2K ? 16 : 32;
}

void make_absolute(isa::DType codec, std::vector<f32>& values) {
  for (f32& value : values) value = std::fabs(value);
  if (!has_offset(codec)) return;
  std::size_t group = offset_group(codec);
  for (std::size_t first = 0; first < values.size(); first += group) {
    std::span<f32> run = std::span(values).subspan(first, group);
    std::fill(run.begin(), run.end(), *std::max_element(run.begin(), run.end()));
  }
}

}  // namespace

bool has_offset(isa::DType codec) {
  switch (codec) {
    case isa::DType::kQ4_1:
    case isa::DType::kQ5_1:
    case isa::DType::kQ2K:
    case isa::DType::kQ4K:
    case isa::DType::kQ5K:
    case isa::DType::kI4G32:
    case isa::DType::kI4G128: return true;
    default: return false;
  }
}

void Data::add(const isa::WeightDecl& weight, const std::vector<std::vector<f32>>& layers) {
  std::size_t columns = static_cast<std::size_t>(weight.dims.back());
  std::size_t row = static_cast<std::size_t>(isa::row_bytes(weight.codec, weight.dims.back()));
  std::vector<std::span<const u8>>& spans = table_.by_symbol.emplace_back();
  for (const std::vector<f32>& values : layers) {
    std::vector<u8>& bytes = storage_.emplace_back(values.size() / columns * row);
    for (std::size_t r = 0; r * columns < values.size(); ++r) {
      isa::quantize_row(weight.codec, std::span(values).subspan(r * columns, columns),
                        std::span(bytes).subspan(r * row, row));
    }
    spans.push_back(bytes);  // Moving a vector keeps its elements' address.
  }
}

Data::Data(const isa::Program& program, const DataSpec& spec) {
  for (const isa::WeightDecl& weight : program.weights) {
    std::vector<std::vector<f32>> layers;
    for (u32 l = 0; l < std::max<u32>(weight.layers, 1); ++l) {
      layers.push_back(values_of(weight, spec, l));
    }
    add(weight, layers);
  }
}

Data Data::absolute(const isa::Program& program, const isa::Program& original, const Data& from) {
  Data data;
  for (std::size_t i = 0; i < program.weights.size(); ++i) {
    std::vector<std::vector<f32>> layers;
    for (std::span<const u8> bytes : from.table_.by_symbol[i]) {
      std::vector<f32>& values = layers.emplace_back(decoded(original.weights[i], bytes));
      // Another sign would send a token to other experts.
      if (original.weights[i].name != "in_router") make_absolute(original.weights[i].codec, values);
    }
    data.add(program.weights[i], layers);
  }
  return data;
}

std::vector<f64> Data::argument(const isa::Program& program, i32 id, i64 columns) const {
  std::vector<f64> by_column(static_cast<std::size_t>(columns), 0.0);
  f64 largest = 0;
  bool same_width = true;
  for (std::size_t i = 0; i < program.weights.size(); ++i) {
    const isa::WeightDecl& weight = program.weights[i];
    if (!is_input(weight)) continue;
    same_width &= weight.dims.back() == columns;
    std::size_t row = static_cast<std::size_t>(isa::row_bytes(weight.codec, weight.dims.back()));
    std::vector<f32> values(static_cast<std::size_t>(weight.dims.back()));
    isa::dequantize_row(weight.codec,
                        table_.by_symbol[i][0].subspan(static_cast<std::size_t>(id) * row, row),
                        values);
    for (std::size_t c = 0; c < values.size(); ++c) {
      f64 size = std::fabs(values[c]);
      largest = std::max(largest, size);
      if (same_width) by_column[c] = std::max(by_column[c], size);
    }
  }
  if (!same_width) std::fill(by_column.begin(), by_column.end(), largest);
  return by_column;
}

}  // namespace tg::conformance
