// What the text of a decoder says, what is refused, and files on disk.
#include "model/onnx/import.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "isa/disassemble.h"
#include "model/model.h"
#include "model/onnx/package.h"
#include "model/onnx/testing/edits.h"
#include "model/onnx/testing/routes.h"

namespace tg::model {
namespace {

using onnx::testing::apply_edits;
using onnx::testing::decoder_of;
using onnx::testing::edit;
using onnx::testing::GenaiGraph;
using onnx::testing::gguf_logits;
using onnx::testing::logits_of;
using onnx::testing::MadeModel;
using onnx::testing::MadeTensor;
using onnx::testing::TinyDecoder;

Result<OnnxModel> import_bytes(const std::vector<u8>& bytes, const ImportOptions& options = {}) {
  return import_onnx({.model = bytes, .external = {}}, options);
}

std::string error_of(const MadeModel& model) {
  Result<OnnxModel> imported = import_bytes(model.encode());
  return imported.ok() ? "no error" : imported.error().message;
}

TEST(OnnxImport, TheTextOfASmallLlama) {
  std::vector<u8> bytes = GenaiGraph(TinyDecoder{.layers = 3}).model.encode();
  OnnxModel model = import_bytes(bytes).value();
  EXPECT_EQ(isa::disassemble(model.program.program()), R"(.tgp 1.0 profile=TEXT
.dim T<=8192 S<=256 R<=256 C<=64
.kv $kv layers=3 heads=2 dk=16 dv=16 fmt=f16 page=16
.w $input_layernorm[3] f32[64]
.w $attn_q_proj[3] f32[64,64]
.w $attn_k_proj[3] f32[32,64]
.w $attn_v_proj[3] f32[32,64]
.w $attn_o_proj[3] f32[64,64]
.w $post_attention_layernorm[3] f32[64]
.w $mlp_gate_proj[3] f32[96,64]
.w $mlp_up_proj[3] f32[96,64]
.w $mlp_down_proj[3] f32[64,96]
.w $embed_tokens f32[80,64]
.w $final_norm_layernorm f32[64]
.w $lm_head f32[80,64]
.const $invf f32[8] = 0x3f800000 0x3ea1e89b 0x3dcccccd 0x3d0186e2 0x3c23d70a )"
                                                       R"(0x3b4f3e37 0x3a83126f 0x39a5cb5f
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits f32[R,80]
  %v0 = embed $embed_tokens, %ids -> f32[T,64]
  %x0_0 = repeat l 3 carry %v0 as %c0_0
    %l0_0 = rmsnorm %c0_0, $input_layernorm[l] -> f32[T,64]
    %l0_1 = linear %l0_0, $attn_q_proj[l] -> f32[T,64]
    %l0_2 = linear %l0_0, $attn_k_proj[l] -> f32[T,32]
    %l0_3 = linear %l0_0, $attn_v_proj[l] -> f32[T,32]
    %l0_4 = rope %l0_1, %pos, $invf {heads=4 rot=16} -> f32[T,64]
    %l0_5 = rope %l0_2, %pos, $invf {heads=2 rot=16} -> f32[T,32]
    kv_append $kv[l], %l0_5, %l0_3, %bt
    %l0_7 = attn %l0_4, $kv[l], %bt {heads=4 scale=0.25} -> f32[T,64]
    %l0_8 = linear %l0_7, $attn_o_proj[l] -> f32[T,64]
    %l0_9 = add %c0_0, %l0_8 -> f32[T,64]
    %l0_10 = rmsnorm %l0_9, $post_attention_layernorm[l] -> f32[T,64]
    %l0_11 = linear %l0_10, $mlp_gate_proj[l] -> f32[T,96]
    %l0_12 = linear %l0_10, $mlp_up_proj[l] -> f32[T,96]
    %l0_13 = glu %l0_11, %l0_12 -> f32[T,96]
    %l0_14 = linear %l0_13, $mlp_down_proj[l] -> f32[T,64]
    %l0_15 = add %l0_9, %l0_14 -> f32[T,64]
  yield %l0_15
  %v54 = gather %x0_0, %rows -> f32[R,64]
  %v52 = rmsnorm %v54, $final_norm_layernorm -> f32[R,64]
  %logits = linear %v52, $lm_head -> f32[R,80]
.end
)");
}

std::string text_of(const MadeModel& model, const ImportOptions& options = {}) {
  std::vector<u8> bytes = model.encode();
  Result<OnnxModel> imported = import_bytes(bytes, options);
  return imported.ok() ? isa::disassemble(imported->program.program()) : imported.error().message;
}

i64 count_of(const std::string& text, std::string_view part) {
  i64 count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

TEST(OnnxImport, OptionsReachTheProgram) {
  ImportOptions options;
  options.activations_bf16 = true;
  options.kv_format = isa::DType::kBf16;
  options.bounds.context = 48;
  std::string text = text_of(GenaiGraph({}).model, options);
  EXPECT_EQ(count_of(text, "C<=48"), 1) << text;
  EXPECT_EQ(count_of(text, "fmt=bf16"), 1) << text;
  EXPECT_EQ(count_of(text, "-> bf16[T,64]"), 10) << text;
  EXPECT_EQ(count_of(text, "-> f32[R,80]"), 1) << text;
}

// "DECODER: edit & edit => message"
TEST(OnnxImport, EveryEditGivesItsOneLine) {
  std::ifstream lines(std::string(TG_SOURCE_DIR) + "/src/model/onnx/testdata/refused.txt");
  i64 cases = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::size_t arrow = line.find(" => ");
    std::size_t colon = line.find(": ");
    ASSERT_NE(arrow, std::string::npos) << line;
    ASSERT_LT(colon, arrow) << line;
    MadeModel model = GenaiGraph(decoder_of(line.substr(0, colon))).model;
    apply_edits(model, line.substr(colon + 2, arrow - colon - 2));
    EXPECT_EQ(error_of(model), line.substr(arrow + 4)) << line.substr(0, arrow);
    ++cases;
  }
  EXPECT_GE(cases, 40);
}

// Edits that are read: the decoder stays one program, with these lines in its text.
struct Feature {
  const char* decoder;
  const char* edits;
  std::vector<std::string_view> lines;
};

TEST(OnnxImport, OtherFormsOfTheBuilder) {
  const Feature features[] = {
      {"llama", "op act_fn/Sigmoid Tanh", {" = act ", "{act=tanh}", " = mul "}},
      {"llama",
       "op layers.0/mlp/act_fn/Mul Gelu & input layers.0/mlp/act_fn/Mul 1 - & "
       "op layers.1/mlp/act_fn/Mul FastGelu com.microsoft & "
       "input layers.1/mlp/act_fn/Mul 1 -",
       {"{act=gelu_erf}", "{act=gelu_tanh}"}},
      {"llama",
       "op layers.0/mlp/act_fn/Mul QuickGelu com.microsoft & "
       "input layers.0/mlp/act_fn/Mul 1 -",
       {"{code=(x0 x0 1.702 mul sigmoid mul)}"}},
      {"llama",
       "op layers.0/mlp/act_fn/Mul Relu & input layers.0/mlp/act_fn/Mul 1 -",
       {" = glu %", "{act=relu}"}},
      {"llama", "op layers.1/mlp/Mul Add", {" = act %", " = add "}},
      {"llama",
       "attr layers.1/attn/GroupQueryAttention local_window_size int 7",
       {"window=cyc(0,7)", "repeat l 2"}},
      {"llama", "attr layers.0/attn/GroupQueryAttention softcap float 50", {"softcap=50"}},
      {"llama",
       "attr layers.0/attn/GroupQueryAttention smooth_softmax int 1",
       {".const $sinks f32[4] = 0x00000000 0x00000000 0x00000000 0x00000000", "%bt, $sinks {"}},
      {"llama", "attr layers.0/attn/GroupQueryAttention scale float 0", {"scale=0.25"}},
      {"llama", "attr layers.0/attn/GroupQueryAttention rotary_interleaved int 1", {"style=gptj"}},
      {"llama",
       "attr layers.0/attn/GroupQueryAttention do_rotary int 0",
       {"kv_append $kv[0], %v3, %v4, %bt"}},
      {"qwen3",
       "op layers.0/attn/q_norm/SimplifiedLayerNormalization RMSNormalization",
       {"{group=16}", "repeat l 2"}},
      {"llama", "op layers.0/input_layernorm/LayerNorm LayerNormalization", {" = layernorm "}},
      {"llama",
       "op layers.0/post_attention_layernorm/SkipLayerNorm SkipLayerNormalization",
       {" = layernorm "}},
      {"llama",
       "insert lm_head/MatMul Gather prune /model/layers.2/final_norm_layernorm/output_0,"
       "/model/constants/INT64/[-1] pruned & attr prune axis int 1 & "
       "insert lm_head/MatMul Unsqueeze up pruned,/model/constants/INT64/[1] up & "
       "input lm_head/MatMul 0 up",
       {"%logits = linear"}},
      {"llama",
       "insert layers.0/mlp/gate_proj/MatMul Cast half "
       "/model/layers.0/post_attention_layernorm/output_0 half & attr half to int 10 & "
       "input layers.0/mlp/gate_proj/MatMul 0 half",
       {"repeat l 2"}},
  };
  for (const Feature& feature : features) {
    MadeModel model = GenaiGraph(decoder_of(feature.decoder)).model;
    MadeTensor last{.name = "/model/constants/INT64/[-1]",
                    .type = onnx::ElementType::kInt64,
                    .dims = {},
                    .data = std::vector<u8>(8, 0xFF)};
    model.tensors.push_back(last);
    apply_edits(model, feature.edits);
    std::string text = text_of(model);
    for (std::string_view line : feature.lines)
      EXPECT_NE(text.find(line), std::string::npos) << feature.edits << "\n"
                                                    << line << "\n"
                                                    << text;
  }
}

TEST(OnnxImport, LayersOfOtherMakeAreLoopsOfTheirOwn) {
  MadeModel model = GenaiGraph({.layers = 6, .window = 9}).model;
  for (i64 layer : {2, 3}) {
    std::string node = fmt::format("layers.{}/mlp/act_fn/Sigmoid", layer);
    edit(model, "op " + node + " Tanh");
  }
  std::string text = text_of(model);
  EXPECT_EQ(count_of(text, "repeat l 2"), 3) << text;
  EXPECT_EQ(count_of(text, ".w $attn_q_proj[6] "), 1) << text;
  EXPECT_EQ(count_of(text, "$attn_q_proj[l+4]"), 1) << text;
  EXPECT_EQ(count_of(text, "kv_append $kv[l+2]"), 1) << text;
  EXPECT_EQ(count_of(text, "window=9"), 3) << text;
}

TEST(OnnxImport, ManyLayersStaySmall) {
  TinyDecoder decoder{.layers = 61, .has_bias = true, .is_packed = true};
  std::vector<u8> bytes = GenaiGraph(decoder).model.encode();
  OnnxModel model = import_bytes(bytes).value();
  EXPECT_LE(model.program.bytes().size(), 2'048u);
  EXPECT_EQ(model.program.flatten("main").value().code.size(), 61u * 17 + 4);
}

TEST(OnnxImport, SoftcapOfTheLogits) {
  MadeModel model = GenaiGraph({}).model;
  for (const char* name : {"thirty", "half"}) {
    MadeTensor scalar{.name = name, .type = onnx::ElementType::kFloat};
    append_u32(scalar.data, std::bit_cast<u32>(std::string_view(name) == "half" ? 0.5f : 30.0f));
    model.tensors.push_back(scalar);
  }
  apply_edits(model, "output lm_head/MatMul 0 raw");
  model.nodes.push_back({.op = "Mul", .name = "m", .inputs = {"raw", "half"}, .outputs = {"a"}});
  model.nodes.push_back({.op = "Div", .name = "d", .inputs = {"a", "thirty"}, .outputs = {"b"}});
  model.nodes.push_back({.op = "Tanh", .name = "t", .inputs = {"b"}, .outputs = {"c"}});
  model.nodes.push_back(
      {.op = "Mul", .name = "n", .inputs = {"c", "thirty"}, .outputs = {"logits"}});
  std::string text = text_of(model);
  EXPECT_EQ(count_of(text, "{alpha=0.5} -> f32[R,80]"), 1) << text;
  EXPECT_EQ(count_of(text, "{act=softcap softcap=30} -> f32[R,80]"), 1) << text;
  EXPECT_EQ(count_of(text, "gather %x0_0, %rows"), 1) << text;
}

TEST(OnnxImport, FactorsMayBeNegative) {
  MadeModel model = GenaiGraph({}).model;
  MadeTensor scalar{.name = "factor", .type = onnx::ElementType::kFloat};
  append_u32(scalar.data, std::bit_cast<u32>(-0.75f));
  model.tensors.push_back(scalar);
  apply_edits(model, "output lm_head/MatMul 0 raw");
  model.nodes.push_back({.op = "Mul", .name = "m", .inputs = {"raw", "factor"}, .outputs = {"a"}});
  model.nodes.push_back(
      {.op = "Div", .name = "d", .inputs = {"a", "factor"}, .outputs = {"logits"}});
  std::string text = text_of(model);
  EXPECT_EQ(count_of(text, "{alpha=-0.75} -> f32[R,80]"), 1) << text;
  EXPECT_EQ(count_of(text, "{code=(x0 -0.75 div)} -> f32[R,80]"), 1) << text;
}

// A file as it lies on disk: data beside the model, the context in genai_config.json.
TEST(OnnxImport, OpensAFolder) {
  std::string folder = testing::TempDir() + "/tokengrid_onnx_folder";
  std::filesystem::create_directories(folder);
  GenaiGraph graph({.is_f16 = true});
  std::vector<u8> data;
  for (MadeTensor& tensor : graph.model.tensors) {
    data.resize((data.size() + 63) / 64 * 64);
    tensor.location = "model.onnx.data";
    tensor.offset = static_cast<i64>(data.size());
    data.insert(data.end(), tensor.data.begin(), tensor.data.end());
  }
  std::vector<u8> bytes = graph.model.encode();
  std::string config =
      R"({"model": {"context_length": 50, "type": "llama", "decoder": {}}, "search": {}})";
  std::string path = folder + "/model.onnx";
  ASSERT_TRUE(write_file_durably(path, bytes, 0600).ok());
  ASSERT_TRUE(write_file_durably(folder + "/model.onnx.data", data, 0600).ok());
  ASSERT_TRUE(write_file_durably(folder + "/genai_config.json", as_bytes(config), 0600).ok());
  Result<OnnxModel> model = open_onnx(path, 50, {});
  ASSERT_TRUE(model.ok()) << model.error().message;
  EXPECT_EQ(model->context, 50);
  EXPECT_EQ(logits_of(model->program, model->weights()), gguf_logits({}, graph.weights));
  // The same as a package, by any of its three paths.
  for (const std::string& name : {path, folder, folder + "/genai_config.json"}) {
    ASSERT_TRUE(onnx::is_package(name));
    onnx::Package package = onnx::Package::open(name, {}).value();
    onnx::Package moved = std::move(package);
    Imported imported = moved.imported();
    EXPECT_EQ(imported.program.id(), model->program.id());
    EXPECT_EQ(imported.context, 50);
    EXPECT_EQ(moved.file().text("general.architecture").value(), "llama");
    EXPECT_EQ(moved.file().text("general.name").value(), "tokengrid_onnx_folder");
    isa::WeightTable table;
    for (const Binding& binding : imported.bindings) {
      std::vector<std::span<const u8>>& layers = table.by_symbol.emplace_back();
      for (const gguf::Tensor* tensor : binding.tensors) layers.push_back(tensor->data);
    }
    EXPECT_EQ(logits_of(imported.program, table), logits_of(model->program, model->weights()));
  }
  EXPECT_FALSE(onnx::is_package(folder + "/model.onnx.data"));
  // And as Model opens it: without a tokenizer it runs on ids.
  std::unique_ptr<Model> opened = Model::open(folder, {}).value();
  EXPECT_EQ(opened->program().id(), model->program.id());
  EXPECT_EQ(opened->name(), "tokengrid_onnx_folder");
  EXPECT_EQ(opened->check_vocab().error().message, folder + ": tokenizer.json is missing");
  EXPECT_EQ(logits_of(opened->program(), opened->weights()), gguf_logits({}, graph.weights));
  EXPECT_EQ(opened->manifest_with_hashes().value().size(), 9u * 2 + 3);
  EXPECT_TRUE(opened->unused_tensors().empty());
  opened.reset();
  // Norms and the embedding stay where they are; matrices are held transposed.
  EXPECT_EQ(model->buffers.size(), 7u * 2 + 1);
  data.resize(data.size() / 2);
  ASSERT_TRUE(write_file_durably(folder + "/model.onnx.data", data, 0600).ok());
  std::string message = open_onnx(path, 0, {}).error().message;
  EXPECT_TRUE(message.starts_with("onnx: tensor '")) << message;
  std::filesystem::remove(folder + "/model.onnx.data");
  EXPECT_EQ(open_onnx(path, 0, {}).error().code, Code::kNotFound);
  std::filesystem::remove_all(folder);
}

// No broken file crashes; most say what is wrong.
TEST(OnnxImport, EveryTruncationAndFlippedByteIsAnswered) {
  TinyDecoder decoder{.layers = 1,
                      .width = 4,
                      .heads = 2,
                      .kv_heads = 1,
                      .head = 2,
                      .ffn = 4,
                      .vocabulary = 4,
                      .positions = 4};
  std::vector<u8> bytes = GenaiGraph(decoder).model.encode();
  ASSERT_TRUE(import_bytes(bytes).ok());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(import_bytes({bytes.begin(), bytes.begin() + static_cast<i64>(size)}).ok());
  i64 refused = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (u8 flip : {u8{0x01}, u8{0x80}}) {
      std::vector<u8> broken = bytes;
      broken[i] = static_cast<u8>(broken[i] ^ flip);
      refused += !import_bytes(broken).ok();
    }
  }
  EXPECT_GT(refused, static_cast<i64>(bytes.size()));
}

}  // namespace
}  // namespace tg::model
