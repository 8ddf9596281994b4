// The host side of the CUDA backend against a driver that notes what it is asked: plans, bindings,
// launches, graphs, and every way a device can fail. No kernel runs here.
#include <gtest/gtest.h>

#include <algorithm>

#include "backend/bound_executor.h"
#include "backend/cuda/backend.h"
#include "backend/cuda/fake_driver.h"
#include "backend/gpu/table.h"
#include "backend/tiny_llama.h"

namespace tg::backend::cuda {
namespace {

// An image for every variant, as a full build has: all names differ, products of q8_0 are on tensor
// cores.
Image fake_image(const gpu::Variant& variant) {
  static const char bytes[64] = {};
  bool is_mma = variant.unit == gpu::Unit::kLinear && variant.codec == 18;
  return {.name = "fake", .fatbin = bytes + static_cast<int>(variant.unit), .is_mma = is_mma};
}

Image no_image(const gpu::Variant&) {
  return {.name = "none"};
}

gpu::Port& fake_port() {
  static const Api api = fake_api();
  static gpu::Port* port = make_port(api, fake_image).release();
  return *port;
}

gpu::Port& empty_port() {
  static const Api api = fake_api();
  static gpu::Port* port = make_port(api, no_image).release();
  return *port;
}

constexpr ExecutorLimits kLimits = {
    .tokens_max = 64, .sequences_max = 8, .rows_max = 8, .context_max = 1'024, .kv_pages = 64};

class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    FakeDriver::the() = FakeDriver();
    program_ = std::make_unique<isa::VerifiedProgram>(
        isa::verify(isa::assemble(tiny_llama_text({})).value()).value());
    weights_ = std::make_unique<RandomWeights>(program_->program(), 1);
  }

  // Nothing is left behind, whatever failed.
  void TearDown() override {
    const FakeDriver& d = FakeDriver::the();
    EXPECT_EQ(d.memory.size(), 0u);
    EXPECT_EQ(d.contexts + d.streams + d.modules + d.graphs + d.execs + d.pinned, 0);
  }

  template <gpu::Port& (*kPort)() = fake_port>
  Result<std::unique_ptr<Executor>> bind(const ExecutorLimits& limits = kLimits) {
    static const tg_backend table = gpu::make_table<kPort>("cuda");
    return bind_executor({.library = {.table = &table}, .device = 0}, *program_, weights_->table,
                         limits);
  }

  PackedStep batch(i32 sequences, i32 tokens, i32 past) const {
    PackedStep out;
    for (i32 s = 0; s < sequences; ++s) {
      std::vector<i32> ids(static_cast<std::size_t>(tokens), 3), pages;
      for (i32 p = 0; p <= (past + tokens) / 16; ++p) pages.push_back(8 * s + p);
      out.add(ids, past, pages, 1);
    }
    return out;
  }

  std::unique_ptr<isa::VerifiedProgram> program_;
  std::unique_ptr<RandomWeights> weights_;
};

TEST_F(CudaTest, a_decode_step_is_one_graph_and_allocates_nothing) {
  Result<std::unique_ptr<Executor>> executor = bind();
  ASSERT_TRUE(executor.ok()) << executor.error().message;
  EXPECT_EQ((*executor)->device_name(), "cuda Fake GPU");
  FakeDriver& d = FakeDriver::the();
  EXPECT_EQ(d.graph_launches.size(), 4u) << "buckets of 1, 2, 4 and 8 tokens";
  int allocations = d.calls["MemAlloc"];
  d.launches.clear();
  d.calls["StreamSynchronize"] = 0;
  ASSERT_TRUE((*executor)->run(batch(3, 1, 20).view()).ok());
  EXPECT_EQ(d.replayed, std::vector<std::size_t>{2}) << "3 tokens are bounded by 4";
  EXPECT_TRUE(d.launches.empty());
  EXPECT_EQ(d.calls["MemAlloc"], allocations);
  EXPECT_EQ(d.calls["StreamSynchronize"], 1) << "the host's own, after run()";
}

TEST_F(CudaTest, a_graph_has_every_kernel_at_the_sizes_of_its_bound) {
  Result<std::unique_ptr<Executor>> executor = bind();
  ASSERT_TRUE(executor.ok());
  const std::vector<NotedLaunch>& graph = FakeDriver::the().graph_launches[2];
  std::map<std::string, int> kernels;
  for (const NotedLaunch& launch : graph) ++kernels[launch.kernel];
  // Two layers of seven products and the head, in their form for few tokens.
  EXPECT_EQ(kernels["tg_linear_few"], 2 * 7 + 1);
  EXPECT_EQ(kernels["tg_linear_tile"], 0);
  EXPECT_EQ(kernels["tg_attention"], 2);
  EXPECT_EQ(kernels["tg_kv_append"], 2);
  for (const NotedLaunch& launch : graph) {
    EXPECT_EQ(launch.threads, 64u);
    if (launch.kernel == "tg_attention") {
      EXPECT_EQ(launch.grid[0], 4u);
      EXPECT_EQ(launch.grid[1], 2u) << "kv heads";
      EXPECT_EQ(launch.first_values[2], 1u) << "T rows, read from the step";
    }
  }
}

TEST_F(CudaTest, a_prompt_is_launched_in_tiles) {
  Result<std::unique_ptr<Executor>> executor = bind();
  ASSERT_TRUE(executor.ok());
  FakeDriver& d = FakeDriver::the();
  ASSERT_TRUE((*executor)->run(batch(1, 60, 0).view()).ok());
  EXPECT_TRUE(d.replayed.empty());
  bool seen = false;
  int attentions = 0;
  for (const NotedLaunch& launch : d.launches) {
    EXPECT_NE(launch.kernel, "tg_attention") << "60 new tokens of a sequence are tiled";
    if (launch.kernel == "tg_attention_tile") {
      ++attentions;
      EXPECT_EQ(launch.threads, 128u) << "tensor cores: four warps";
      EXPECT_EQ(launch.grid[0], 2u) << "60 tokens of two heads of a group in tiles of 64 rows";
      EXPECT_EQ(launch.grid[1], 2u) << "kv heads";
    }
    if (launch.kernel != "tg_linear_tile") continue;
    EXPECT_EQ(launch.threads, 128u) << "tensor cores: four warps";
    EXPECT_EQ(launch.grid[1], 1u) << "60 rows in tiles of 64";
    seen = seen || launch.grid[0] == 4u;  // 512 columns in tiles of 128
  }
  EXPECT_TRUE(seen);
  EXPECT_EQ(attentions, 2) << "layers";
}

// As many tokens as the largest graph has, but all of one sequence: launched by its own kernels.
TEST_F(CudaTest, a_short_prompt_is_no_decode_step) {
  ExecutorLimits limits = kLimits;
  limits.sequences_max = limits.rows_max = 32;
  Result<std::unique_ptr<Executor>> executor = bind(limits);
  ASSERT_TRUE(executor.ok()) << executor.error().message;
  FakeDriver& d = FakeDriver::the();
  for (i32 fresh : {16, 17}) {
    d.launches.clear();
    d.replayed.clear();
    ASSERT_TRUE((*executor)->run(batch(1, fresh, 0).view()).ok());
    EXPECT_EQ(d.replayed.size(), fresh == 16 ? 1u : 0u);
    EXPECT_EQ(std::ranges::count(d.launches, "tg_attention_tile", &NotedLaunch::kernel),
              fresh == 16 ? 0 : 2);
  }
}

TEST_F(CudaTest, long_contexts_are_split_in_their_own_graphs) {
  ExecutorLimits limits = kLimits;
  limits.context_max = 1'024;
  limits.kv_pages = 256;
  isa::Program longer = isa::assemble(tiny_llama_text({})).value();
  longer.bounds.context = 4'096;
  *program_ = isa::verify(std::move(longer)).value();
  limits.context_max = 4'096;
  Result<std::unique_ptr<Executor>> executor = bind(limits);
  ASSERT_TRUE(executor.ok()) << executor.error().message;
  FakeDriver& d = FakeDriver::the();
  EXPECT_EQ(d.graph_launches.size(), 8u);
  int joins = 0;
  for (const NotedLaunch& launch : d.graph_launches[1]) {
    joins += launch.kernel == "tg_attention_join";
    if (launch.kernel == "tg_attention") {
      EXPECT_EQ(launch.grid[2], 4u);
    }
  }
  EXPECT_EQ(joins, 2);
}

TEST_F(CudaTest, memory_that_is_short_is_named) {
  FakeDriver::the().memory_max = 1 << 20;
  Result<std::unique_ptr<Executor>> executor = bind();
  ASSERT_FALSE(executor.ok());
  EXPECT_EQ(executor.error().code, Code::kUnavailable);
  EXPECT_NE(executor.error().message.find("OUT_OF_MEMORY (2) for "), std::string::npos)
      << executor.error().message;
}

TEST_F(CudaTest, a_quota_is_the_models_own) {
  ExecutorLimits limits = kLimits;
  limits.memory_max = 1 << 20;
  Result<std::unique_ptr<Executor>> small = bind(limits);
  ASSERT_FALSE(small.ok());
  EXPECT_EQ(small.error().code, Code::kUnavailable);
  EXPECT_NE(small.error().message.find("quota of 1048576"), std::string::npos);
  Result<std::unique_ptr<Executor>> other = bind();
  EXPECT_TRUE(other.ok()) << "another model's quota";
}

// The call, on a bound executor.
struct Loss {
  const char* call;
  i32 tokens;
};

TEST_F(CudaTest, a_lost_device_is_an_error_every_time_and_a_new_one_works) {
  for (const Loss& loss : {Loss{"GraphLaunch", 1}, Loss{"Launch", 60}, Loss{"StreamSynchronize", 1},
                           Loss{"CopyIn", 1}, Loss{"CopyOut", 1}}) {
    Result<std::unique_ptr<Executor>> executor = bind();
    ASSERT_TRUE(executor.ok());
    FakeDriver& d = FakeDriver::the();
    d.fails_after[loss.call] = 0;
    Result<std::span<const f32>> first = (*executor)->run(batch(1, loss.tokens, 0).view());
    ASSERT_FALSE(first.ok()) << loss.call;
    EXPECT_EQ(first.error().code, Code::kIo) << loss.call;
    EXPECT_NE(first.error().message.find("(719); the device is lost"), std::string::npos)
        << first.error().message;
    d.fails_after.clear();
    Result<std::span<const f32>> second = (*executor)->run(batch(1, 1, 0).view());
    ASSERT_FALSE(second.ok()) << "lost is lost";
    EXPECT_EQ(second.error().code, Code::kIo);
    PageCopy copy{0, 1};
    EXPECT_FALSE((*executor)->copy_pages({&copy, 1}).ok());
    executor = bind();
    ASSERT_TRUE(executor.ok());
    EXPECT_TRUE((*executor)->run(batch(1, 1, 0).view()).ok());
  }
}

// Wherever binding fails, it is an error and nothing leaks (TearDown).
TEST_F(CudaTest, binding_survives_a_failure_of_any_call) {
  for (const char* call : {"MemAlloc", "HostAlloc", "MemsetAsync", "CopyIn", "ModuleLoad",
                           "CaptureBegin", "Launch", "StreamSynchronize"}) {
    for (int after : {0, 1, 3}) {
      FakeDriver::the().fails_after = {{call, after}};
      FakeDriver::the().calls.clear();
      Result<std::unique_ptr<Executor>> executor = bind();
      if (FakeDriver::the().calls[call] > after) {
        EXPECT_FALSE(executor.ok()) << call << " after " << after;
      }
    }
  }
  FakeDriver::the().fails_after.clear();
}

TEST_F(CudaTest, old_devices_and_missing_code_are_named) {
  FakeDriver::the().major = 7;
  Result<std::unique_ptr<Executor>> old = bind();
  ASSERT_FALSE(old.ok());
  EXPECT_NE(old.error().message.find("compute capability 7"), std::string::npos)
      << old.error().message;
  FakeDriver::the().major = 9;
  Result<std::unique_ptr<Executor>> empty = bind<empty_port>();
  ASSERT_FALSE(empty.ok());
  EXPECT_EQ(empty.error().code, Code::kUnsupported);
  EXPECT_NE(empty.error().message.find("no CUDA code"), std::string::npos) << empty.error().message;
}

}  // namespace
}  // namespace tg::backend::cuda
