// Data sheets and configurations: what is taken from them, and how they can be wrong.
#include <gtest/gtest.h>

#include <filesystem>

#include "predict/catalog.h"
#include "predict/roofline.h"

namespace tg::predict {
namespace {

TEST(DeviceSpec, ReadsKeysAndFillsWhatIsNotStated) {
  DeviceSpec d = parse_device_spec(
                     "gpu:\n  mem_bw: 4e12 # fast\n  bfloat16_tc_flops: 1e15\n\n"
                     "node:\n  num_gpus_per_node: 4\n  num_gpus_per_rack: 72\n"
                     "  intra_node_bw: 9e11\n  odd: [1, 2]\n",
                     "d.yaml", "d")
                     .value();
  EXPECT_EQ(d.memory_bandwidth, 4e12);
  EXPECT_EQ(d.flops(Math::kFp4), 1e15);
  EXPECT_EQ(d.near_devices, 72);
  EXPECT_GT(d.far_bandwidth, 0);
}

TEST(DeviceSpec, NamesFileLineAndValueOfWhatIsWrong) {
  struct Wrong {
    const char* text;
    const char* message;
  };
  for (const Wrong& wrong : std::vector<Wrong>{
           {"gpu:\n  mem_bw: fast\n", "d.yaml:2: key 'mem_bw' is 'fast', expected a number from 0"},
           {"mem_bw: -1\n", "d.yaml:1: key 'mem_bw' is '-1', expected a number from 0"},
           {"mem_bw: 1\n", "d.yaml: key 'bfloat16_tc_flops' is absent or 0"},
           {"", "d.yaml: key 'mem_bw' is absent or 0"}}) {
    Result<DeviceSpec> d = parse_device_spec(wrong.text, "d.yaml", "d");
    ASSERT_FALSE(d.ok()) << wrong.text;
    EXPECT_EQ(d.error().message, wrong.message);
  }
}

constexpr const char* kDenseConfig =
    R"({"num_hidden_layers":4,"hidden_size":64,"vocab_size":100,"num_attention_heads":8,
        "num_key_value_heads":2,"intermediate_size":256})";

TEST(ModelShape, CountsADenseModelByHand) {
  ModelShape m = parse_model_shape(kDenseConfig, "c.json").value();
  f64 attention = 64 * 64 * 2 + 64 * 16 * 2, feed_forward = 3 * 64 * 256;
  EXPECT_EQ(m.dense_parameters, 4 * (attention + feed_forward));
  EXPECT_EQ(m.head_parameters, 6400);
  EXPECT_EQ(m.kv_elements, 32);
  EXPECT_EQ(m.decode_pair_flops, 4 * 64);
  EXPECT_EQ(m.full_layers, 4);
}

TEST(ModelShape, ReadsExpertsWindowsAndStates) {
  ModelShape m =
      parse_model_shape(R"({"text_config":{"num_hidden_layers":6,"hidden_size":32,"vocab_size":10,
        "num_attention_heads":4,"head_dim":8,"intermediate_size":64,"moe_intermediate_size":16,
        "num_experts":8,"num_experts_per_tok":2,"first_k_dense_replace":1,"n_shared_experts":1,
        "sliding_window":128,"linear_num_key_heads":2,"linear_num_value_heads":4,
        "linear_key_head_dim":8,"linear_value_head_dim":8,"layer_types":["full_attention",
        "sliding_attention","linear_attention","linear_attention","full_attention",
        "sliding_attention","ignored_beyond_the_layers"]},"quantization_config":
        {"quant_method":"mxfp4","modules_to_not_convert":["model.layers.*.self_attn"]}})",
                        "c.json")
          .value();
  EXPECT_EQ(m.full_layers, 2);
  EXPECT_EQ(m.window_layers, 2);
  EXPECT_EQ(m.recurrent_layers, 2);
  EXPECT_EQ(m.state_bytes, 2 * 4 * 8 * 8 * 4);
  EXPECT_EQ(m.expert_layers, 5);
  EXPECT_EQ(m.expert_parameters, 3 * 32 * 16);
  EXPECT_EQ(m.stored_as, StoredAs::kMxFp4);
  EXPECT_TRUE(m.is_attention_wide);
}

TEST(ModelShape, NamesFileKeyAndValueOfWhatIsWrong) {
  struct Wrong {
    const char* text;
    const char* part;
  };
  for (const Wrong& wrong : std::vector<Wrong>{
           {"[]", "c.json: not an object"},
           {"{", "c.json: "},
           {R"({"num_hidden_layers":0})", "num_hidden_layers"},
           {R"({"num_hidden_layers":2,"hidden_size":"wide"})", "hidden_size"},
           {R"({"num_hidden_layers":2,"hidden_size":8,"vocab_size":9})", "num_attention_heads"},
           {R"({"num_hidden_layers":2000000,"hidden_size":8})", "num_hidden_layers is 2000000"}}) {
    Result<ModelShape> m = parse_model_shape(wrong.text, "c.json");
    ASSERT_FALSE(m.ok()) << wrong.text;
    EXPECT_NE(m.error().message.find(wrong.part), std::string::npos) << m.error().message;
  }
}

TEST(ModelShape, ReadsWhatPythonWrites) {
  std::string text = R"({"limit":[0.0,Infinity],"low":-Infinity,"x":NaN,"name":"Infinity \" NaN",)";
  EXPECT_TRUE(parse_model_shape(text.append(kDenseConfig + 1), "c.json").ok());
}

TEST(ModelShape, OfAProgramIsThatOfItsConfiguration) {
  ModelShape from_file = parse_model_shape(kDenseConfig, "c.json").value();
  unit::CostMatrix cost;
  cost.per_pass[unit::kWBytes] = static_cast<u64>(from_file.dense_parameters) * 2;
  cost.head_bytes = 6400 * 2;
  cost.windows = {
      {.window = 0, .attn_flops_per_pair = 4 * 4 * 64, .kv_rd_bytes_per_key = 4 * 32 * 2}};
  ModelShape m = shape_of(cost, {.layers = 4, .hidden = 64, .kv_heads = 2});
  EXPECT_EQ(m.dense_parameters, from_file.dense_parameters);
  EXPECT_EQ(m.head_parameters, from_file.head_parameters);
  EXPECT_EQ(m.kv_elements, from_file.kv_elements);
  EXPECT_EQ(m.decode_pair_flops, from_file.decode_pair_flops);
  EXPECT_EQ(m.full_layers, 4);
}

TEST(Catalog, ComparesNamesWithoutMakerTuningAndPrecision) {
  EXPECT_EQ(identity_words("org/Llama-3.1-70B"), identity_words("org--Meta-Llama-3.1-70B"));
  EXPECT_EQ(identity_words("nvidia/Qwen3-32B-NVFP4"), identity_words("Qwen/Qwen3-32B"));
  EXPECT_NE(identity_words("Qwen/Qwen3-32B"), identity_words("Qwen/Qwen3-8B"));
}

TEST(Roofline, GrowsWithWorkAndShrinksWithDevices) {
  ModelShape m = parse_model_shape(kDenseConfig, "c.json").value();
  DeviceSpec d{.name = "d",
               .memory_bandwidth = 1e12,
               .bf16_flops = 1e14,
               .fp8_flops = 2e14,
               .fp4_flops = 4e14,
               .int8_flops = 2e14,
               .near_bandwidth = 1e11,
               .far_bandwidth = 1e10};
  Setting s;
  s.prompt = 1000;
  s.output = 100;
  s.concurrency = 4;
  Basis one = make_basis(s, m, d);
  s.concurrency = 8;
  Basis two = make_basis(s, m, d);
  EXPECT_GT(two.tpot[kAttention], one.tpot[kAttention]);
  EXPECT_GT(two.ttft[kQueuedWork], one.ttft[kQueuedWork]);
  s.decode = s.prefill = {.devices = 2, .tensor_parallel = 2};
  Basis split = make_basis(s, m, d);
  EXPECT_LT(split.tpot[kDense], two.tpot[kDense]);
  EXPECT_GT(split.tpot[kLinkBytes], 0);
  EXPECT_EQ(two.tpot[kLinkBytes], 0);
  s.is_split = true;
  EXPECT_EQ(make_basis(s, m, d).tpot[kPromptGemm], 0);
  EXPECT_NEAR(experts_hit(8, 2, 1), 2, 1e-12);
  EXPECT_NEAR(experts_hit(8, 2, 1e9), 8, 1e-12);
}

// Every published configuration has integers that make sense.
TEST(Catalog, ReadsEveryPublishedConfiguration) {
  std::string folder(TG_SOURCE_DIR);
  folder.append("/../shared/data/perf");
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  Catalog catalog = Catalog::open(folder).value();
  i64 read = 0;
  for (const std::filesystem::directory_entry& entry :
       std::filesystem::directory_iterator(folder + "/specs/model_configs")) {
    std::string name = entry.path().filename().string();
    if (name.ends_with("_hf_quant_config.json")) continue;
    Result<const ModelEntry*> model =
        catalog.model(name.substr(0, name.size() - std::string("_config.json").size()));
    // A configuration that lists other widths per layer states no common ones.
    if (name.find("Nemotron-Super-49B") != std::string::npos) continue;
    ASSERT_TRUE(model.ok()) << model.error().message;
    EXPECT_GT((*model)->shape.parameters(), 3e8) << name;
    EXPECT_LT((*model)->shape.parameters(), 4e12) << name;
    EXPECT_LE((*model)->shape.active_parameters(), (*model)->shape.parameters()) << name;
    ++read;
  }
  EXPECT_GT(read, 60);
  struct Known {
    const char* name;
    f64 total, active;  // as their makers state them
  };
  for (const Known& known : std::vector<Known>{{"openai/gpt-oss-120b", 117e9, 5.1e9},
                                               {"deepseek-ai/DeepSeek-R1", 671e9, 37e9},
                                               {"meta-llama/Llama-3.1-70B", 70.6e9, 70.6e9},
                                               {"MiniMaxAI/MiniMax-M2.5", 229e9, 10e9},
                                               {"Qwen/Qwen3.5-397B-A17B", 397e9, 17e9}}) {
    ModelShape m = catalog.model(known.name).value()->shape;
    EXPECT_NEAR(m.parameters() / known.total, 1, 0.03) << known.name;
    EXPECT_NEAR(m.active_parameters() / known.active, 1, 0.08) << known.name;
  }
  EXPECT_FALSE(catalog.model("org/Unheard-Of-9B").ok());
  EXPECT_FALSE(catalog.device("abacus").ok());
}

}  // namespace
}  // namespace tg::predict
