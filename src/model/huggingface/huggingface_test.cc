// Whole directories: what they mean is what the GGUF file of the same weights means, in program and
// in logits; and one line for every way in which they can be wrong.
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <sstream>

#include "isa/reference/interpreter.h"
#include "model/architecture/shape.h"
#include "model/huggingface/checkpoint.h"
#include "model/huggingface/tiny_checkpoint.h"
#include "model/model.h"
#include "text/tokenizer.h"

namespace tg::checkpoint {
namespace {

using model::Model;
using safetensors::NewTensor;
using SDType = safetensors::DType;

// Logits after every token of a short text, in f64. [n,V]
isa::Tensor logits_of(const Model& model) {
  const std::vector<i32> ids = {3, 17, 5, 39, 0, 8, 8};
  std::vector<i32> counting(ids.size());
  std::iota(counting.begin(), counting.end(), 0);
  const std::vector<i32> cu = {0, static_cast<i32>(ids.size())}, past = {0}, pages = {0},
                         page_begin = {0, 1};
  isa::Interpreter interpreter =
      isa::Interpreter::make(model.program(), model.weights(), isa::Precision::kGolden, 1).value();
  return interpreter
      .run({.ids = ids,
            .positions = counting,
            .cu = cu,
            .past = past,
            .page_begin = page_begin,
            .pages = pages,
            .slots = counting,
            .rows = counting,
            .params = {}})
      .value()[0];
}

void expect_near(const Model& a, const Model& b, f64 tolerance) {
  isa::Tensor x = logits_of(a), y = logits_of(b);
  f64 spread = 0;
  for (i64 row = 0; row < 7; ++row) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(kVocabulary); ++i) {
      ASSERT_NEAR(x.row(row)[i], y.row(row)[i], tolerance);
      spread = std::max(spread, std::abs(x.row(row)[i]));
    }
  }
  EXPECT_GT(spread, 0.1);
}

// GGUF names by the end of the Hugging Face name, written out once more so that the tables under
// test are not their own witness.
const std::map<std::string, std::string> kNames = {
    {"embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"input_layernorm.weight", "attn_norm.weight"},
    {"q_proj.weight", "attn_q.weight"},
    {"k_proj.weight", "attn_k.weight"},
    {"v_proj.weight", "attn_v.weight"},
    {"q_proj.bias", "attn_q.bias"},
    {"k_proj.bias", "attn_k.bias"},
    {"v_proj.bias", "attn_v.bias"},
    {"o_proj.weight", "attn_output.weight"},
    {"q_norm.weight", "attn_q_norm.weight"},
    {"k_norm.weight", "attn_k_norm.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"gate_proj.weight", "ffn_gate.weight"},
    {"up_proj.weight", "ffn_up.weight"},
    {"down_proj.weight", "ffn_down.weight"},
};

std::string gguf_name(const std::string& name) {
  for (const std::pair<const std::string, std::string>& entry : kNames) {
    if (!name.ends_with(entry.first)) continue;
    std::size_t layer = name.find(".layers.");
    return layer == std::string::npos ? entry.second
                                      : "blk." + name.substr(layer + 8, 2) + entry.second;
  }
  return "?";
}

// Rows of a head so that the partners of rope are neighbours, as files of the architecture llama
// hold them.
std::vector<u8> permuted(const NewTensor& tensor) {
  std::size_t row = tensor.data.size() / static_cast<std::size_t>(tensor.dims[0]);
  std::vector<u8> out;
  for (i64 r = 0; r < tensor.dims[0]; ++r) {
    i64 in_head = r % kHeadDim;
    i64 from = r - in_head + in_head / 2 + in_head % 2 * (kHeadDim / 2);
    const u8* in = tensor.data.data() + static_cast<std::size_t>(from) * row;
    out.insert(out.end(), in, in + row);
  }
  return out;
}

struct GgufForm {
  std::string architecture;
  bool is_permuted = false;
  bool says_neox = false;
};

// The checkpoint's weights in the GGUF file that a converter writes: vectors in f32.
void write_gguf(const TinyCheckpoint& checkpoint, const GgufForm& form, const std::string& path) {
  gguf::Header header;
  auto set = [&](const std::string& key, gguf::WriteValue value) {
    header.set(form.architecture + "." + key, std::move(value));
  };
  header.set("general.architecture", form.architecture);
  set("block_count", static_cast<u32>(kLayers));
  set("context_length", u32{512});
  set("embedding_length", static_cast<u32>(kWidth));
  set("feed_forward_length", static_cast<u32>(kFfn));
  set("attention.head_count", static_cast<u32>(kHeads));
  set("attention.head_count_kv", static_cast<u32>(kKvHeads));
  set("attention.layer_norm_rms_epsilon", 1e-6f);
  set("rope.freq_base", 10'000.0f);
  if (form.says_neox) header.set("tokengrid.rope_style", std::string("neox"));
  std::vector<std::vector<u8>> data;
  for (const NewTensor& tensor : checkpoint.tensors) {
    bool is_rotated =
        tensor.name.ends_with("q_proj.weight") || tensor.name.ends_with("k_proj.weight");
    data.push_back(form.is_permuted && is_rotated ? permuted(tensor) : tensor.data);
    isa::DType codec = tensor.dtype == SDType::kF32   ? isa::DType::kF32
                       : tensor.dtype == SDType::kF16 ? isa::DType::kF16
                                                      : isa::DType::kBf16;
    if (tensor.dims.size() == 1) {
      std::vector<f32> values(static_cast<std::size_t>(tensor.dims[0]));
      isa::dequantize_row(codec, tensor.data, values);
      data.back() = float_bytes(SDType::kF32, values);
      codec = isa::DType::kF32;
    }
    header.tensors.push_back({gguf_name(tensor.name), codec, tensor.dims});
  }
  gguf::Writer writer = gguf::Writer::create(path, header).value();
  for (const std::vector<u8>& bytes : data) ASSERT_TRUE(writer.append(bytes).ok());
  ASSERT_TRUE(writer.finish().ok());
}

std::unique_ptr<Model> open_saved(const TinyCheckpoint& checkpoint, const std::string& name) {
  TestDirectory directory(name);
  checkpoint.save(directory);
  Result<std::unique_ptr<Model>> model = Model::open(directory.path(), {.exact = true});
  EXPECT_TRUE(model.ok()) << model.error().message;
  return std::move(*model);
}

std::unique_ptr<Model> open_gguf(const TinyCheckpoint& checkpoint, const GgufForm& form) {
  TestDirectory directory("gguf");
  write_gguf(checkpoint, form, directory.path() + "/model.gguf");
  return Model::open(directory.path() + "/model.gguf", {.exact = true}).value();
}

TEST(HuggingFace, QwenIsTheGgufOfTheSameWeights) {
  const std::pair<std::string, std::string> families[] = {{"Qwen2ForCausalLM", "qwen2"},
                                                          {"Qwen3ForCausalLM", "qwen3"}};
  for (const std::pair<std::string, std::string>& family : families) {
    for (SDType dtype : {SDType::kF32, SDType::kF16, SDType::kBf16}) {
      TinyCheckpoint checkpoint = tiny_checkpoint(family.first, dtype);
      std::unique_ptr<Model> found = open_saved(checkpoint, "qwen");
      std::unique_ptr<Model> expected = open_gguf(checkpoint, {.architecture = family.second});
      EXPECT_EQ(found->architecture(), family.second);
      EXPECT_EQ(found->name(), "tg_huggingface_qwen");
      EXPECT_EQ(found->context_length(), 512);
      EXPECT_EQ(found->program().id(), expected->program().id());
      EXPECT_EQ(manifest_digest(found->manifest_with_hashes().value()),
                manifest_digest(expected->manifest_with_hashes().value()));
      EXPECT_TRUE(found->unused_tensors().empty());
      expect_near(*found, *expected, 0);
    }
  }
}

// The same numbers in another order of rows: sums differ in their last bits.
TEST(HuggingFace, LlamaIsTheGgufOfTheSameWeights) {
  for (const std::string architecture : {"LlamaForCausalLM", "MistralForCausalLM"}) {
    TinyCheckpoint checkpoint = tiny_checkpoint(architecture, SDType::kBf16);
    std::unique_ptr<Model> found = open_saved(checkpoint, "llama");
    GgufForm stated{.architecture = "llama", .is_permuted = false, .says_neox = true};
    EXPECT_EQ(found->program().id(), open_gguf(checkpoint, stated)->program().id());
    std::unique_ptr<Model> usual =
        open_gguf(checkpoint, {.architecture = "llama", .is_permuted = true});
    EXPECT_NE(found->program().id(), usual->program().id());
    expect_near(*found, *usual, 1e-9);
  }
}

TEST(HuggingFace, ShardsAndPathsInsideMeanTheSame) {
  TinyCheckpoint checkpoint = tiny_checkpoint("LlamaForCausalLM", SDType::kF16);
  TestDirectory whole("whole"), split("split");
  checkpoint.save(whole);
  Digest expected = manifest_digest(
      Model::open(whole.path() + "/config.json", {}).value()->manifest_with_hashes().value());
  nlohmann::json index;
  for (std::size_t part = 0; part < 3; ++part) {
    std::vector<NewTensor> tensors;
    std::string file = "model-0000" + std::to_string(part + 1) + "-of-00003.safetensors";
    for (std::size_t i = part; i < checkpoint.tensors.size(); i += 3) {
      tensors.push_back(checkpoint.tensors[i]);
      index["weight_map"][checkpoint.tensors[i].name] = file;
    }
    split.put(file, safetensors::encode(tensors));
  }
  split.put("model.safetensors.index.json", as_bytes(index.dump()));
  split.put("config.json", as_bytes(checkpoint.config.dump()));
  for (const std::string inside : {"", "/", "/config.json", "/model-00002-of-00003.safetensors"}) {
    std::unique_ptr<Model> model = Model::open(split.path() + inside, {}).value();
    EXPECT_EQ(manifest_digest(model->manifest_with_hashes().value()), expected) << inside;
    EXPECT_EQ(model->name(), "tg_huggingface_split");
  }
  std::filesystem::rename(whole.path() + "/model.safetensors", whole.path() + "/other.safetensors");
  EXPECT_EQ(Model::open(whole.path(), {}).error().message,
            whole.path() + ": model.safetensors is missing");
  EXPECT_TRUE(Model::open(whole.path() + "/other.safetensors", {}).ok());
}

TEST(HuggingFace, TiedHeadsAreTheEmbedding) {
  TinyCheckpoint checkpoint = tiny_checkpoint("Qwen2ForCausalLM", SDType::kF16);
  checkpoint.config["tie_word_embeddings"] = true;
  std::unique_ptr<Model> stored = open_saved(checkpoint, "tied");
  EXPECT_EQ(stored->unused_tensors(), std::vector<std::string>{"lm_head.weight"});
  std::erase_if(checkpoint.tensors, [](const NewTensor& t) { return t.name == "lm_head.weight"; });
  std::unique_ptr<Model> absent = open_saved(checkpoint, "tied");
  checkpoint.config.erase("tie_word_embeddings");
  std::unique_ptr<Model> unsaid = open_saved(checkpoint, "tied");
  EXPECT_EQ(stored->program().id(), absent->program().id());
  EXPECT_EQ(unsaid->program().id(), absent->program().id());
  expect_near(*stored, *open_gguf(checkpoint, {.architecture = "qwen2"}), 0);
}

TEST(HuggingFace, TensorsOfOtherFamiliesAreListed) {
  TinyCheckpoint checkpoint = tiny_checkpoint("LlamaForCausalLM", SDType::kF16);
  NewTensor extra{
      "model.layers.0.self_attn.rotary_emb.inv_freq", SDType::kF64, {1}, std::vector<u8>(8)};
  checkpoint.tensors.push_back(extra);
  NewTensor ahead = *checkpoint.find("model.layers.1.mlp.up_proj.weight");
  ahead.name = "model.layers.2.mlp.up_proj.weight";
  checkpoint.tensors.push_back(ahead);
  std::unique_ptr<Model> model = open_saved(checkpoint, "unused");
  EXPECT_EQ(model->unused_tensors(), (std::vector<std::string>{extra.name, ahead.name}));
  EXPECT_FALSE(model->check_vocab().ok());
}

// A tokenizer of three tokens and one that was added; `extra` stands behind the model section.
std::string tokenizer_json(const std::string& extra = "") {
  return R"({"added_tokens":[{"id":3,"content":"<|end|>","special":true}],
    "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
    "decoder":{"type":"ByteLevel"},
    "model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})" +
         extra + "}";
}

TEST(HuggingFace, TokenizersAreFittedToTheModel) {
  TinyCheckpoint checkpoint = tiny_checkpoint("LlamaForCausalLM", SDType::kF16);
  checkpoint.config["eos_token_id"] = {1, 2};
  TestDirectory directory("tokenizer");
  checkpoint.save(directory);
  std::unique_ptr<Model> without = Model::open(directory.path(), {}).value();
  EXPECT_EQ(without->check_vocab().error().message,
            directory.path() + ": tokenizer.json is missing");
  directory.put("tokenizer.json", as_bytes(tokenizer_json()));
  directory.put("chat_template.jinja", as_bytes("{{ messages }}"));
  std::unique_ptr<Model> with = Model::open(directory.path(), {}).value();
  ASSERT_TRUE(with->check_vocab().ok()) << with->check_vocab().error().message;
  const Vocab& vocab = with->vocab();
  ASSERT_EQ(vocab.tokens.size(), static_cast<std::size_t>(kVocabulary));
  ASSERT_EQ(vocab.types.size(), vocab.tokens.size());
  EXPECT_EQ(vocab.tokens[3], "<|end|>");
  EXPECT_EQ(vocab.types[3], TokenType::kControl);
  EXPECT_EQ(vocab.tokens[39], "[PAD39]");
  EXPECT_EQ(vocab.types[39], TokenType::kUnused);
  EXPECT_EQ(vocab.chat_template, "{{ messages }}");
  EXPECT_EQ(std::count(vocab.end_of_generation.begin(), vocab.end_of_generation.end(), 1), 1);
  EXPECT_EQ(std::count(vocab.end_of_generation.begin(), vocab.end_of_generation.end(), 2), 1);
  Tokenizer tokenizer = Tokenizer::create(vocab).value();
  EXPECT_EQ(tokenizer.encode("abb", {}).value(), (std::vector<TokenId>{2, 1}));
  directory.put("generation_config.json", as_bytes(R"({"eos_token_id":0})"));
  std::unique_ptr<Model> generation = Model::open(directory.path(), {}).value();
  EXPECT_EQ(generation->vocab().end_of_generation[0], 0);
}

TEST(HuggingFace, BrokenTokenizersAreRefused) {
  TinyCheckpoint checkpoint = tiny_checkpoint("LlamaForCausalLM", SDType::kF16);
  TestDirectory directory("broken");
  checkpoint.save(directory);
  auto error = [&](const std::string& file, const std::string& text) {
    directory.put("tokenizer.json", as_bytes(tokenizer_json()));
    directory.put("generation_config.json", as_bytes("{}"));
    directory.put(file, as_bytes(text));
    Result<std::unique_ptr<Model>> model = Model::open(directory.path(), {});
    std::string message = model.ok() ? "ok" : model.error().message;
    return model.ok() ? message : message.substr(directory.path().size() + 2);
  };
  EXPECT_EQ(error("tokenizer.json", tokenizer_json()), "ok");
  EXPECT_EQ(error("generation_config.json", R"({"eos_token_id":40})"),
            "generation_config.json: key 'eos_token_id' is 40, expected ids below 40");
  EXPECT_EQ(error("generation_config.json", R"({"eos_token_id":[0,"x"]})"),
            "generation_config.json: key 'eos_token_id' is a list, expected ids below 40");
  EXPECT_EQ(error("generation_config.json", "[]"), "generation_config.json: not an object");
  std::string large = tokenizer_json();
  large.replace(large.find("\"id\":3"), 6, "\"id\":40");
  EXPECT_EQ(error("tokenizer.json", large),
            "tokenizer.json: the vocabulary has 41 tokens, the model 40");
  EXPECT_NE(error("tokenizer.json", "{"), "ok");
}

// Overwrites one matrix by what `pack` makes of its random codes; the plain twin holds the numbers
// that those codes stand for.
struct Packed {
  TinyCheckpoint quantised, plain;
};

std::vector<u8> random_bytes(std::size_t count, u64 seed) {
  std::vector<u8> out(count);
  SeededRandom(seed).fill(out);
  return out;
}

void replace(TinyCheckpoint& checkpoint, const std::string& name, std::vector<NewTensor> by) {
  std::erase_if(checkpoint.tensors, [&](const NewTensor& t) { return t.name == name; });
  for (NewTensor& tensor : by) checkpoint.tensors.push_back(std::move(tensor));
}

// GPTQ of the first version, group 128, symmetric: every zero point is stored as 7.
Packed gptq_pair() {
  Packed out{tiny_checkpoint("LlamaForCausalLM", SDType::kF32), {}};
  out.plain = out.quantised;
  out.quantised.config["quantization_config"] = {
      {"quant_method", "gptq"}, {"bits", 4}, {"group_size", 128}, {"desc_act", false}};
  for (const NewTensor& tensor : std::vector<NewTensor>(out.plain.tensors)) {
    if (!tensor.name.ends_with("_proj.weight")) continue;
    i64 n = tensor.dims[0], k = tensor.dims[1];
    std::string module = tensor.name.substr(0, tensor.name.size() - 6);
    std::vector<u8> codes = random_bytes(static_cast<std::size_t>(n * k / 2), 5);
    std::vector<f32> scales, values;
    for (i64 i = 0; i < k / 128 * n; ++i)
      scales.push_back(isa::f32_from_f16(isa::f16_from_f32(0.01f + 0.0001f * static_cast<f32>(i))));
    std::vector<u8> order;
    for (i64 i = 0; i < k; ++i) append_u32(order, static_cast<u32>(i / 128));
    for (i64 row = 0; row < n; ++row) {
      for (i64 column = 0; column < k; ++column) {
        std::size_t byte = static_cast<std::size_t>((column / 8 * n + row) * 4 + column % 8 / 2);
        i32 code = codes[byte] >> (4 * (column % 2)) & 15;
        values.push_back(static_cast<f32>(code - 8) *
                         scales[static_cast<std::size_t>(column / 128 * n + row)]);
      }
    }
    out.plain.find(tensor.name)->data = float_bytes(SDType::kF32, values);
    replace(out.quantised, tensor.name,
            {{module + "qweight", SDType::kI32, {k / 8, n}, codes},
             {module + "qzeros",
              SDType::kI32,
              {k / 128, n / 8},
              std::vector<u8>(static_cast<std::size_t>(k / 128 * n / 2), 0x77)},
             {module + "scales", SDType::kF16, {k / 128, n}, float_bytes(SDType::kF16, scales)},
             {module + "g_idx", SDType::kI32, {k}, order}});
  }
  return out;
}

TEST(HuggingFace, GptqMeansItsDequantisedWeights) {
  Packed pair = gptq_pair();
  std::unique_ptr<Model> quantised = open_saved(pair.quantised, "gptq");
  std::unique_ptr<Model> plain = open_saved(pair.plain, "plain");
  EXPECT_TRUE(quantised->unused_tensors().empty());
  EXPECT_EQ(quantised->manifest_with_hashes().value().size(), plain->manifest().size());
  i64 packed = 0;
  for (const model::ManifestEntry& entry : quantised->manifest())
    packed += entry.codec == isa::DType::kI4G128;
  EXPECT_EQ(packed, 7 * kLayers);
  expect_near(*quantised, *plain, 0);
}

TEST(HuggingFace, Fp8MeansItsDequantisedWeights) {
  TinyCheckpoint fp8 = tiny_checkpoint("Qwen3ForCausalLM", SDType::kF32), plain = fp8;
  fp8.config["quantization_config"] = {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}};
  for (const NewTensor& tensor : std::vector<NewTensor>(plain.tensors)) {
    if (!tensor.name.ends_with("_proj.weight")) continue;
    i64 n = tensor.dims[0], k = tensor.dims[1];
    std::vector<f32> scales, values(static_cast<std::size_t>(n * k));
    for (i64 i = 0; i < (n + 127) / 128 * (k / 128); ++i)
      scales.push_back(0.001f + 0.0003f * static_cast<f32>(i));
    std::vector<u8> codes = random_bytes(values.size(), 6);
    for (u8& code : codes) code &= 0xBF;  // magnitudes below 2
    std::vector<u8> blocks;
    for (i64 i = 0; i < n * k; ++i) {
      if (i % 128 == 0) {
        f32 scale = scales[static_cast<std::size_t>(i / k / 128 * (k / 128) + i % k / 128)];
        append_u32(blocks, std::bit_cast<u32>(scale));
      }
      blocks.push_back(codes[static_cast<std::size_t>(i)]);
    }
    isa::dequantize_row(isa::DType::kFp8B128, blocks, values);
    plain.find(tensor.name)->data = float_bytes(SDType::kF32, values);
    *fp8.find(tensor.name) = {tensor.name, SDType::kE4m3, tensor.dims, codes};
    fp8.tensors.push_back({tensor.name + "_scale_inv",
                           SDType::kF32,
                           {(n + 127) / 128, k / 128},
                           float_bytes(SDType::kF32, scales)});
  }
  std::unique_ptr<Model> found = open_saved(fp8, "fp8");
  EXPECT_TRUE(found->unused_tensors().empty());
  expect_near(*found, *open_saved(plain, "plain"), 0);
}

// --- mutations
// ------------------------------------------------------------------------------------

void edit(TinyCheckpoint& checkpoint, const std::string& line) {
  std::istringstream words(line);
  std::string action, name, value;
  words >> action >> name;
  std::getline(words >> std::ws, value);
  NewTensor* tensor = checkpoint.find(name);
  if (action == "set") {
    nlohmann::json parsed = nlohmann::json::parse(value, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded()) << line;
    checkpoint.config[nlohmann::json::json_pointer("/" + name)] = parsed;
  } else if (action == "drop") {
    ASSERT_EQ(checkpoint.config.erase(name), 1u) << line;
  } else if (action == "drop-tensor") {
    ASSERT_NE(tensor, nullptr) << line;
    checkpoint.tensors.erase(checkpoint.tensors.begin() + (tensor - checkpoint.tensors.data()));
  } else if (action == "rename") {
    ASSERT_NE(tensor, nullptr) << line;
    tensor->name = value;
  } else {
    ASSERT_TRUE(action == "dtype" || action == "dims" || action == "fill") << line;
    ASSERT_NE(tensor, nullptr) << line;
    if (action == "dtype") tensor->dtype = safetensors::dtype_by_name(value).value();
    if (action == "fill") std::fill(tensor->data.begin(), tensor->data.end(), std::stoi(value));
    if (action == "fill") return;
    if (action == "dims") tensor->dims = nlohmann::json::parse(value).get<std::vector<i64>>();
    u64 bytes = safetensors::element_bytes(tensor->dtype);
    for (i64 dim : tensor->dims) bytes *= static_cast<u64>(dim);
    tensor->data.resize(bytes);
  }
}

TinyCheckpoint base_checkpoint(const std::string& name) {
  if (name == "gptq") return gptq_pair().quantised;
  return tiny_checkpoint(name == "qwen2"   ? "Qwen2ForCausalLM"
                         : name == "qwen3" ? "Qwen3ForCausalLM"
                                           : "LlamaForCausalLM",
                         SDType::kF16);
}

TEST(HuggingFace, EveryMutationGivesItsOneLine) {
  std::ifstream lines(std::string(TG_SOURCE_DIR) + "/src/model/testdata/huggingface.txt");
  TestDirectory directory("mutation");
  std::map<std::string, TinyCheckpoint> bases;
  i64 cases = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::size_t colon = line.find(": "), arrow = line.find(" => ");
    ASSERT_TRUE(colon < arrow && arrow != std::string::npos) << line;
    std::string base = line.substr(0, colon);
    if (!bases.contains(base)) bases[base] = base_checkpoint(base);
    TinyCheckpoint checkpoint = bases[base];
    std::string edits = line.substr(colon + 2, arrow - colon - 2);
    for (std::size_t end = 0; !edits.empty(); edits.erase(0, std::min(end + 3, edits.size()))) {
      end = std::min(edits.find(" & "), edits.size());
      edit(checkpoint, edits.substr(0, end));
    }
    checkpoint.save(directory);
    Result<std::unique_ptr<Model>> model = Model::open(directory.path(), {});
    std::string found = model.ok() ? "ok" : model.error().message;
    if (!model.ok()) {
      ASSERT_TRUE(found.starts_with(directory.path() + ": ")) << found;
      found.erase(0, directory.path().size() + 2);
    }
    EXPECT_EQ(found, line.substr(arrow + 4)) << line;
    ++cases;
  }
  EXPECT_GT(cases, 90);
}

TEST(HuggingFace, ConfigFilesAreJsonObjects) {
  TestDirectory directory("config");
  const std::pair<std::string, std::string> cases[] = {
      {"", "config.json: not JSON at byte 1"},
      {"[]", "config.json: not an object"},
      {"{\"a\":1,\"a\":2}", "config.json: key 'a' appears twice"},
      {"{\"b\":[{\"a\":1,\"a\":2}]}", "config.json: key 'a' appears twice"},
      {"{\"a\":NaN}", "config.json: not JSON at byte 6"},
      {std::string(40, '['), "config.json: nested deeper than 32"},
      {"{\"a\":[" + std::string(300'000, '1') + "]}", "config.json: not JSON at byte 300006"},
      {"{}",
       "config.json: architecture '' is not supported (known: LlamaForCausalLM, "
       "MistralForCausalLM, MixtralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, "
       "Qwen3MoeForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM, "
       "Glm4ForCausalLM, GptOssForCausalLM, DeepseekV2ForCausalLM, DeepseekV3ForCausalLM, "
       "BertModel)"},
  };
  EXPECT_EQ(Model::open(directory.path(), {}).error().message,
            directory.path() + ": config.json is missing");
  for (const std::pair<std::string, std::string>& c : cases) {
    directory.put("config.json", as_bytes(c.first));
    EXPECT_EQ(Model::open(directory.path(), {}).error().message,
              directory.path() + ": " + c.second);
  }
  directory.put("config.json", as_bytes("[" + std::string(500'000, ' ') + "1"));
  EXPECT_EQ(Checkpoint::open(directory.path()).error().message,
            "config.json: not JSON at byte 500003");
  std::string many = "[0";
  for (int i = 0; i < 200'001; ++i) many += ",0";
  directory.put("config.json", as_bytes(many + "]"));
  EXPECT_EQ(Checkpoint::open(directory.path()).error().message,
            "config.json: more than 200000 values");
  directory.put("config.json", as_bytes(std::string(1'048'577, ' ')));
  EXPECT_EQ(Checkpoint::open(directory.path()).error().code, Code::kLimit);
}

}  // namespace
}  // namespace tg::checkpoint
