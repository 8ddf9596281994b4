// Every family: a GGUF file of its tiny synthetic shape and a checkpoint of the same weights, whose
// config.json and names are written out by hand in testdata, give the same program and the same
// weights.
#include "model/huggingface/families.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "model/architecture/shape.h"
#include "model/huggingface/tiny_checkpoint.h"
#include "model/model.h"
#include "model/random_blocks.h"
#include "model/synth.h"

namespace tg::checkpoint {
namespace {

using model::Model;
using safetensors::NewTensor;
using SDType = safetensors::DType;

struct Line {
  std::string gguf, name, shaping;  // '*' is the layer, '@' the expert
};

struct FamilyCase {
  std::string shape;
  std::string config;
  std::vector<Line> lines;
};

std::vector<FamilyCase> read_cases() {
  std::ifstream in(std::string(TG_SOURCE_DIR) + "/src/model/testdata/huggingface_families.txt");
  std::vector<FamilyCase> out;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      out.push_back({.shape = line.substr(1, line.size() - 2)});
    } else if (line[0] == '{') {
      out.back().config = line;
    } else {
      Line parsed;
      std::istringstream(line) >> parsed.gguf >> parsed.name >> parsed.shaping;
      out.back().lines.push_back(parsed);
    }
  }
  return out;
}

std::string with_number(std::string text, char mark, i64 number) {
  std::size_t at = text.find(mark);
  return at == std::string::npos ? text : text.replace(at, 1, std::to_string(number));
}

// The weights of a synthetic GGUF file, in memory.
struct Weights {
  gguf::Header header;
  std::map<std::string, std::vector<u8>> data;
  // The value that a key of the header has.
  u32 count(std::string_view key) const {
    for (const std::pair<std::string, gguf::WriteValue>& entry : header.metadata)
      if (entry.first.ends_with(key)) return std::get<u32>(entry.second);
    return 0;
  }
};

// f16 matrices; experts in mxfp4 where that is what checkpoints of the family hold.
Weights make_weights(const std::string& shape_name) {
  model::SynthShape shape = model::find_synth_shape(shape_name).value();
  Weights out{.header = model::synth_header(shape, "f16", false).value(), .data = {}};
  if (shape.architecture == "llama") out.header.set(model::kRopeStyleKey, std::string("neox"));
  SeededRandom random(23);
  for (gguf::TensorDecl& tensor : out.header.tensors) {
    if (shape.architecture == "gpt-oss" && tensor.name.ends_with("_exps.weight"))
      tensor.codec = isa::DType::kMxfp4;
    std::vector<u8>& bytes = out.data[tensor.name];
    bytes.resize(gguf::tensor_bytes(tensor).value());
    if (tensor.name.starts_with("rope_")) continue;
    if (tensor.name.ends_with("norm.weight")) {
      model::fill_random_gains(random, bytes);
    } else {
      model::fill_random(tensor.codec, random, bytes, shape.deviation);
    }
  }
  return out;
}

// Divisors are stated in config.json, so their tensors must say the same.
void fill_divisors(const model::SynthShape& shape, Weights& weights) {
  for (std::pair<const std::string, std::vector<u8>>& entry : weights.data) {
    if (!entry.first.starts_with("rope_")) continue;
    std::vector<f32> values =
        model::banded_divisors(model::kLlama31Scaling, static_cast<f64>(shape.rope_base),
                               static_cast<i64>(entry.second.size() / 2));
    if (entry.first != "rope_freqs.weight") {
      f32 rise = entry.first == "rope_factors_long.weight" ? 3.0f : 0.25f;
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = 1 + rise * static_cast<f32>(i) / static_cast<f32>(values.size());
    }
    entry.second = float_bytes(SDType::kF32, values);
  }
}

SDType stored_type(isa::DType codec) {
  return codec == isa::DType::kF32 ? SDType::kF32 : SDType::kF16;
}

std::vector<u8> minus_one(const std::vector<u8>& bytes) {
  std::vector<f32> values(bytes.size() / 4);
  isa::dequantize_row(isa::DType::kF32, bytes, values);
  for (f32& value : values) value -= 1;
  return float_bytes(SDType::kF32, values);
}

// mxfp4 blocks taken apart: codes with neighbours in one byte, scales.
void take_apart(const std::vector<u8>& blocks, std::vector<u8>& codes, std::vector<u8>& scales) {
  for (std::size_t b = 0; b < blocks.size(); b += 17) {
    scales.push_back(blocks[b]);
    auto code = [&](std::size_t i) {
      u8 byte = blocks[b + 1 + i % 16];
      return static_cast<u8>(i < 16 ? byte & 15 : byte >> 4);
    };
    for (std::size_t i = 0; i < 32; i += 2)
      codes.push_back(static_cast<u8>(code(i) | code(i + 1) << 4));
  }
}

// Writes a checkpoint's tensors from a GGUF file's, one line of the case at a time.
class Unshaper {
 public:
  Unshaper(const Weights& weights, TinyCheckpoint& out) : weights_(weights), out_(out) {}

  void write(const Line& line, i64 layer) {
    std::string name = with_number(line.gguf, '*', layer);
    const gguf::TensorDecl* decl = nullptr;
    for (const gguf::TensorDecl& tensor : weights_.header.tensors)
      if (tensor.name == name) decl = &tensor;
    if (decl == nullptr) return;
    ++used;
    const std::vector<u8>& data = weights_.data.at(name);
    std::string target = with_number(line.name, '*', layer);
    if (line.shaping == "experts") return experts(*decl, data, target);
    if (line.shaping == "kv_b") return key_value_up(*decl, data, target);
    if (line.shaping == "gate" || line.shaping == "up" || line.shaping == "mxfp4")
      return open_experts(*decl, data, target, line.shaping);
    add(target, stored_type(decl->codec), decl->dims,
        line.shaping == "minus_one" ? minus_one(data) : data);
  }

  std::size_t used = 0;

 private:
  void add(const std::string& name, SDType dtype, std::vector<i64> dims, std::vector<u8> data) {
    out_.tensors.push_back({name, dtype, std::move(dims), std::move(data)});
  }

  void experts(const gguf::TensorDecl& decl, const std::vector<u8>& data,
               const std::string& target) {
    std::size_t bytes = data.size() / static_cast<std::size_t>(decl.dims[0]);
    for (i64 e = 0; e < decl.dims[0]; ++e) {
      const u8* first = data.data() + static_cast<std::size_t>(e) * bytes;
      add(with_number(target, '@', e), stored_type(decl.codec), {decl.dims[1], decl.dims[2]},
          std::vector<u8>(first, first + bytes));
    }
  }

  // attn_k_b [H,rank,nope] and attn_v_b [H,value,rank], in f16, to [H*(nope+value),rank].
  void key_value_up(const gguf::TensorDecl& decl, const std::vector<u8>& data,
                    const std::string& target) {
    bool is_key = decl.name.ends_with("k_b.weight");
    i64 nope = weights_.count("key_length_mla") - weights_.count("rope.dimension_count");
    i64 value = weights_.count("value_length_mla");
    i64 rank = weights_.count("kv_lora_rank");
    NewTensor* tensor = out_.find(target);
    if (tensor == nullptr) {
      i64 rows = decl.dims[0] * (nope + value);
      add(target, SDType::kF16, {rows, rank}, std::vector<u8>(static_cast<u64>(2 * rows * rank)));
      tensor = &out_.tensors.back();
    }
    for (i64 h = 0; h < decl.dims[0]; ++h) {
      for (i64 i = 0; i < (is_key ? nope : value); ++i) {
        for (i64 r = 0; r < rank; ++r) {
          i64 from = is_key ? (h * rank + r) * nope + i : (h * value + i) * rank + r;
          i64 to = (h * (nope + value) + (is_key ? 0 : nope) + i) * rank + r;
          std::copy_n(data.data() + 2 * from, 2, tensor->data.data() + 2 * to);
        }
      }
    }
  }

  // Parts of all experts' mxfp4 or biases; gate and up go to the even and the odd rows.
  void open_experts(const gguf::TensorDecl& decl, const std::vector<u8>& data,
                    const std::string& target, const std::string& shaping) {
    bool is_bias = decl.name.ends_with(".bias");
    std::vector<u8> codes, scales;
    if (is_bias) return scatter(target + "_bias", SDType::kF32, decl.dims, data, shaping);
    take_apart(data, codes, scales);
    std::vector<i64> blocks = {decl.dims[0], decl.dims[1], decl.dims[2] / 32};
    scatter(target + "_scales", SDType::kU8, blocks, scales, shaping);
    blocks.push_back(16);
    scatter(target + "_blocks", SDType::kU8, blocks, codes, shaping);
  }

  void scatter(const std::string& target, SDType dtype, std::vector<i64> dims,
               const std::vector<u8>& data, const std::string& shaping) {
    if (shaping == "mxfp4") return add(target, dtype, dims, data);
    std::size_t rows = static_cast<std::size_t>(dims[0] * dims[1]);
    std::size_t row = data.size() / rows;
    dims[1] *= 2;
    if (out_.find(target) == nullptr) add(target, dtype, dims, std::vector<u8>(2 * data.size()));
    NewTensor* tensor = out_.find(target);
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(data.data() + r * row, row,
                  tensor->data.data() + (2 * r + (shaping == "up" ? 1 : 0)) * row);
  }

  const Weights& weights_;
  TinyCheckpoint& out_;
};

void save_gguf(const Weights& weights, const std::string& path) {
  gguf::Writer writer = gguf::Writer::create(path, weights.header).value();
  for (const gguf::TensorDecl& tensor : weights.header.tensors)
    ASSERT_TRUE(writer.append(weights.data.at(tensor.name)).ok());
  ASSERT_TRUE(writer.finish().ok());
}

// The configuration alone gives the program, and so the price, that the weights gave.
void expect_outline_costs_the_same(const std::string& directory,
                                   const isa::VerifiedProgram& expected) {
  for (const std::filesystem::directory_entry& entry :
       std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".safetensors") std::filesystem::remove(entry.path());
  Result<std::unique_ptr<Model>> outline = Model::open(directory + "/config.json", {});
  ASSERT_TRUE(outline.ok()) << outline.error().message;
  EXPECT_FALSE((*outline)->has_data());
  EXPECT_EQ((*outline)->program().cost(), expected.cost());
  // How an encoder stores its tables of positions and types is not stated and costs nothing.
  bool is_encoder = (*outline)->architecture() == "bert";
  EXPECT_EQ((*outline)->program().id() == expected.id(), !is_encoder);
}

TEST(Families, EachIsTheGgufOfTheSameWeights) {
  std::vector<FamilyCase> cases = read_cases();
  ASSERT_EQ(cases.size(), families().size());
  for (const FamilyCase& c : cases) {
    SCOPED_TRACE(c.shape);
    Weights weights = make_weights(c.shape);
    fill_divisors(model::find_synth_shape(c.shape).value(), weights);
    TinyCheckpoint checkpoint;
    checkpoint.config = nlohmann::json::parse(c.config, nullptr, false);
    ASSERT_FALSE(checkpoint.config.is_discarded());
    Unshaper unshaper(weights, checkpoint);
    for (const Line& line : c.lines) {
      i64 layers = line.gguf.find('*') == std::string::npos ? 1 : weights.count("block_count");
      for (i64 layer = 0; layer < layers; ++layer) unshaper.write(line, layer);
    }
    std::size_t divisors = 0;
    for (const gguf::TensorDecl& tensor : weights.header.tensors)
      divisors += tensor.name.starts_with("rope_");
    EXPECT_EQ(unshaper.used + divisors, weights.header.tensors.size());
    TestDirectory directory("family");
    checkpoint.save(directory);
    if (c.shape == "tiny-bert") {
      std::filesystem::create_directory(directory.path() + "/1_Pooling");
      directory.put("1_Pooling/config.json",
                    as_bytes(R"({"word_embedding_dimension":64,"pooling_mode_cls_token":true,
                                 "pooling_mode_mean_tokens":false})"));
    }
    save_gguf(weights, directory.path() + "/model.gguf");
    Result<std::unique_ptr<Model>> expected = Model::open(directory.path() + "/model.gguf", {});
    Result<std::unique_ptr<Model>> found = Model::open(directory.path(), {});
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_EQ((*found)->program().id(), (*expected)->program().id());
    EXPECT_EQ(manifest_digest((*found)->manifest_with_hashes().value()),
              manifest_digest((*expected)->manifest_with_hashes().value()));
    EXPECT_TRUE((*found)->unused_tensors().empty());
    expect_outline_costs_the_same(directory.path(), (*found)->program());
  }
}

TEST(Families, TablesNameEachModuleOnce) {
  for (const Family& family : families()) {
    std::map<std::string_view, int> modules, tensors;
    for (std::span<const TensorRow> rows : family.tensors) {
      for (const TensorRow& row : rows) {
        EXPECT_EQ(++modules[row.module], 1) << family.architecture << " " << row.module;
        EXPECT_EQ(++tensors[row.gguf], 1) << family.architecture << " " << row.gguf;
        EXPECT_EQ(row.module.find("{l}") == std::string_view::npos,
                  row.gguf.find("{l}") == std::string_view::npos);
        EXPECT_EQ(row.module.find("{e}") != std::string_view::npos,
                  row.shaping == Shaping::kExpert);
      }
    }
  }
}

}  // namespace
}  // namespace tg::checkpoint
