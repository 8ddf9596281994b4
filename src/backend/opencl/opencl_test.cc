// The OpenCL backend on whatever the ICD loader has (PoCL in CI): loading, the cache on disk,
// device loss, two suppliers in one process. Whether its numbers are right is conformance's to say.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "backend/bound_executor.h"
#include "backend/cpu/backend.h"
#include "backend/gpu/sanitized.h"
#include "backend/gpu/table.h"
#include "backend/opencl/backend.h"
#include "backend/opencl/binary_cache.h"
#include "backend/tiny_llama.h"

namespace tg::backend::opencl {
namespace {

// The driver's table; a test replaces what it wants to fail or count.
struct Driver {
  Api real, faulty;
  int sources = 0, binaries = 0;
  int launches_left = -1;  // -1: no limit
  cl_int finish = CL_SUCCESS;
  // What was launched: a kernel, and whether on a grid that PoCL compiles it anew for.
  std::set<std::pair<cl_kernel, bool>> launched;
  static Driver& the() {
    static Driver driver;
    return driver;
  }
};

std::string cache() {
  return testing::TempDir() + "tg_opencl_" + std::to_string(getpid());
}

gpu::Port& faulty_port() {
  static gpu::Port* port = make_port(Driver::the().faulty, cache()).release();
  return *port;
}

// A second port has contexts of its own: what the first compiled it finds on disk.
gpu::Port& other_port() {
  static gpu::Port* port = make_port(Driver::the().faulty, cache()).release();
  return *port;
}

// And one where no kernel has run yet.
gpu::Port& cold_port() {
  static gpu::Port* port = make_port(Driver::the().faulty, cache()).release();
  return *port;
}

// A device that says it has sub-groups, with a compiler that knows none.
int refused = 0;
gpu::Port& boasting_port() {
  static Api api = Driver::the().real;
  api.GetDeviceInfo = [](cl_device_id device, cl_device_info what, std::size_t bytes, void* value,
                         std::size_t* size) {
    std::string text = what == CL_DEVICE_EXTENSIONS         ? "cl_khr_fp64 cl_khr_subgroups"
                       : what == CL_DEVICE_OPENCL_C_VERSION ? "OpenCL C 2.0 x"
                                                            : "";
    if (text.empty()) return Driver::the().real.GetDeviceInfo(device, what, bytes, value, size);
    if (size) *size = text.size() + 1;
    if (value && bytes > text.size()) std::memcpy(value, text.c_str(), text.size() + 1);
    return static_cast<cl_int>(CL_SUCCESS);
  };
  api.BuildProgram = [](cl_program program, cl_uint n, const cl_device_id* devices,
                        const char* options, auto... a) {
    bool is_asked = std::strstr(options, "-cl-std=CL2.0 -DHAS_SUBGROUPS") != nullptr;
    refused += is_asked;
    if (is_asked) return static_cast<cl_int>(CL_BUILD_PROGRAM_FAILURE);
    return Driver::the().real.BuildProgram(program, n, devices, options, a...);
  };
  static gpu::Port* port = make_port(api, "").release();
  return *port;
}

constexpr ExecutorLimits kLimits = {
    .tokens_max = 16, .sequences_max = 2, .rows_max = 4, .context_max = 64, .kv_pages = 8};

class OpenClTest : public testing::Test {
 protected:
  void SetUp() override {
    if (gpu::kIsSanitized) GTEST_SKIP() << "drivers are not sanitized";
    Result<Api> api = load_api("");
    if (!api) GTEST_SKIP() << api.error().message;
    Driver& d = Driver::the();
    d.real = *api;
    d.faulty = *api;
    d.launches_left = -1;
    d.finish = CL_SUCCESS;
    d.faulty.CreateProgramWithSource = [](auto... a) {
      ++Driver::the().sources;
      return Driver::the().real.CreateProgramWithSource(a...);
    };
    d.faulty.CreateProgramWithBinary = [](auto... a) {
      ++Driver::the().binaries;
      return Driver::the().real.CreateProgramWithBinary(a...);
    };
    d.faulty.EnqueueNDRangeKernel = [](cl_command_queue queue, cl_kernel kernel, cl_uint axes,
                                       const std::size_t* offset, const std::size_t* items,
                                       auto... a) {
      Driver& driver = Driver::the();
      driver.launched.emplace(kernel, *std::max_element(items, items + axes) >= 65'535);
      if (driver.launches_left == 0) return static_cast<cl_int>(CL_OUT_OF_RESOURCES);
      if (driver.launches_left > 0) --driver.launches_left;
      return driver.real.EnqueueNDRangeKernel(queue, kernel, axes, offset, items, a...);
    };
    d.faulty.Finish = [](cl_command_queue queue) {
      Driver& driver = Driver::the();
      return driver.finish == CL_SUCCESS ? driver.real.Finish(queue) : driver.finish;
    };
    Result<u32> devices = faulty_port().count();
    if (!devices) GTEST_SKIP() << devices.error().message;
    program_ =
        std::make_unique<isa::VerifiedProgram>(isa::verify(isa::assemble(kText).value()).value());
    weights_ = std::make_unique<RandomWeights>(program_->program(), 1);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(cache()); }

  template <gpu::Port& (*kPort)() = faulty_port>
  Result<std::unique_ptr<Executor>> bind() {
    static const tg_backend table = gpu::make_table<kPort>("opencl");
    return bind_executor({.library = {.table = &table}, .device = 0}, *program_, weights_->table,
                         kLimits);
  }

  static PackedStep batch() {
    PackedStep out;
    out.add(std::vector<i32>{1, 2, 3}, 0, std::vector<i32>{0}, 3);
    return out;
  }

  static constexpr const char* kText =
      ".tgp 1.0 profile=TEXT\n.dim T<=16 S<=2 R<=4 C<=64\n.w $e f32[8,32]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %g\n"
      "  %x = embed $e, %ids -> f32[T,32]\n  %y = add %x, %x {alpha=0.5} -> f32[T,32]\n"
      "  %g = gather %y, %rows -> f32[R,32]\n.end\n";
  std::unique_ptr<isa::VerifiedProgram> program_;
  std::unique_ptr<RandomWeights> weights_;
};

TEST_F(OpenClTest, two_suppliers_of_one_process_agree) {
  Result<std::unique_ptr<Executor>> opencl = bind();
  ASSERT_TRUE(opencl.ok()) << opencl.error().message;
  Result<std::unique_ptr<Executor>> cpu = bind_executor(
      {.library = {.table = cpu::cpu_backend()}, .device = 0}, *program_, weights_->table, kLimits);
  ASSERT_TRUE(cpu.ok());
  for (int step = 0; step < 3; ++step) {
    Result<std::span<const f32>> ours = (*opencl)->run(batch().view());
    ASSERT_TRUE(ours.ok()) << ours.error().message;
    Result<std::span<const f32>> theirs = (*cpu)->run(batch().view());
    ASSERT_TRUE(theirs.ok());
    EXPECT_EQ(std::vector<f32>(ours->begin(), ours->end()),
              std::vector<f32>(theirs->begin(), theirs->end()));
  }
}

TEST_F(OpenClTest, a_lost_device_is_an_error_and_the_next_context_works) {
  Driver& d = Driver::the();
  for (bool at_launch : {true, false}) {
    Result<std::unique_ptr<Executor>> executor = bind();
    ASSERT_TRUE(executor.ok()) << executor.error().message;
    if (at_launch) d.launches_left = 1;
    if (!at_launch) d.finish = CL_DEVICE_NOT_AVAILABLE;
    Result<std::span<const f32>> first = (*executor)->run(batch().view());
    ASSERT_FALSE(first.ok());
    EXPECT_EQ(first.error().code, Code::kIo);
    EXPECT_NE(first.error().message.find("the device is lost"), std::string::npos)
        << first.error().message;
    d.launches_left = -1;
    d.finish = CL_SUCCESS;
    EXPECT_FALSE((*executor)->run(batch().view()).ok()) << "lost is lost";
    executor = bind();
    ASSERT_TRUE(executor.ok()) << executor.error().message;
    EXPECT_TRUE((*executor)->run(batch().view()).ok());
  }
}

// Beyond 1,024 keys few tokens are split among work-groups and joined: longer than conformance's.
TEST_F(OpenClTest, long_contexts_are_split_and_joined) {
  isa::VerifiedProgram program = verified(
      ".tgp 1.0 profile=TEXT\n.dim T<=512 S<=2 R<=16 C<=2560\n"
      ".kv $kv layers=1 heads=2 dk=32 dv=32 fmt=f16 page=16\n"
      ".w $q f32[97,128]\n.w $k f32[97,64]\n.w $v f32[97,64]\n.w $s f32[4]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %g\n"
      "  %q = embed $q, %ids -> f32[T,128]\n  %k = embed $k, %ids -> f32[T,64]\n"
      "  %v = embed $v, %ids -> f32[T,64]\n  kv_append $kv[0], %k, %v, %bt\n"
      "  %y = attn %q, $kv[0], %bt, $s {heads=4 scale=1.5 window=2100} -> f32[T,128]\n"
      "  %g = gather %y, %rows -> f32[R,128]\n.end\n");
  RandomWeights weights(program.program(), 3);
  ExecutorLimits limits{.tokens_max = 512,
                        .sequences_max = 2,
                        .rows_max = 16,
                        .context_max = 2'560,
                        .kv_pages = 160,
                        .threads = 1};
  static const tg_backend table = gpu::make_table<faulty_port>("opencl");
  Result<std::unique_ptr<Executor>> ours =
      bind_executor({.library = {.table = &table}, .device = 0}, program, weights.table, limits);
  ASSERT_TRUE(ours.ok()) << ours.error().message;
  Result<std::unique_ptr<Executor>> theirs = bind_executor(
      {.library = {.table = cpu::cpu_backend()}, .device = 0}, program, weights.table, limits);
  ASSERT_TRUE(theirs.ok());
  std::vector<i32> pages(160);
  for (i32 p = 0; p < 160; ++p) pages[static_cast<std::size_t>(p)] = 159 - p;
  i32 past = 0;
  for (i32 count : {512, 500, 12, 1, 512, 512, 16, 17, 1}) {
    std::vector<i32> ids;
    for (i32 i = 0; i < count; ++i) ids.push_back((past + i) * 31 % 97);
    PackedStep batch;
    std::span<const i32> held(pages.data(), static_cast<std::size_t>((past + count + 15) / 16));
    batch.add(ids, past, held, std::min(count, 12));
    Result<std::span<const f32>> got = (*ours)->run(batch.view());
    ASSERT_TRUE(got.ok()) << got.error().message;
    Result<std::span<const f32>> want = (*theirs)->run(batch.view());
    ASSERT_TRUE(want.ok());
    ASSERT_EQ(got->size(), want->size());
    for (std::size_t i = 0; i < got->size(); ++i) {
      ASSERT_NEAR((*got)[i], (*want)[i], 2e-5) << "after " << past << " number " << i;
    }
    past += count;
  }
}

// A kernel's first launch may compile it, and its first wide one again: never inside run().
TEST_F(OpenClTest, what_run_launches_was_launched_by_bind_on_grids_as_wide) {
  isa::VerifiedProgram program = verified(
      ".tgp 1.0 profile=TEXT\n.dim T<=512 S<=1 R<=2 C<=512\n.w $e f32[8,1024]\n"
      ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %g\n"
      "  %x = embed $e, %ids -> f32[T,1024]\n  %y = add %x, %x {alpha=0.5} -> f32[T,1024]\n"
      "  %g = gather %y, %rows -> f32[R,1024]\n.end\n");
  RandomWeights weights(program.program(), 4);
  ExecutorLimits limits{
      .tokens_max = 300, .sequences_max = 1, .rows_max = 2, .context_max = 304, .kv_pages = 1};
  static const tg_backend table = gpu::make_table<cold_port>("opencl");
  Driver& d = Driver::the();
  d.launched.clear();
  Result<std::unique_ptr<Executor>> executor =
      bind_executor({.library = {.table = &table}, .device = 0}, program, weights.table, limits);
  ASSERT_TRUE(executor.ok()) << executor.error().message;
  std::set<std::pair<cl_kernel, bool>> by_bind = std::move(d.launched);
  d.launched.clear();
  for (std::size_t tokens : {std::size_t{300}, std::size_t{1}}) {
    PackedStep batch;
    batch.add(std::vector<i32>(tokens, 3), 0, std::vector<i32>{0}, 1);
    Result<std::span<const f32>> ran = (*executor)->run(batch.view());
    ASSERT_TRUE(ran.ok()) << ran.error().message;
  }
  EXPECT_EQ(d.launched.size(), 5u) << "embed and add on both grids, gather on one";
  EXPECT_TRUE(std::includes(by_bind.begin(), by_bind.end(), d.launched.begin(), d.launched.end()));
}

TEST_F(OpenClTest, compiled_programs_are_kept_on_disk) {
  Driver& d = Driver::the();
  ASSERT_TRUE(bind().ok());
  int sources = d.sources;
  ASSERT_TRUE(bind<other_port>().ok());
  EXPECT_EQ(d.sources, sources) << "all from disk";
  EXPECT_GT(d.binaries, 0);
}

TEST_F(OpenClTest, what_the_compiler_refuses_is_compiled_plainly) {
  Result<std::unique_ptr<Executor>> executor = bind<boasting_port>();
  ASSERT_TRUE(executor.ok()) << executor.error().message;
  EXPECT_GT(refused, 0);
  EXPECT_TRUE((*executor)->run(batch().view()).ok());
}

TEST(OpenClExtensions, are_what_the_device_reports) {
  using Use = ExtensionUse;
  auto options = [](const Reported& device, Use use = Use::kDevice) {
    return build_options(device, extensions_of(device, use));
  };
  const Reported all{.extensions = "cl_khr_fp16 cl_khr_subgroups cl_khr_integer_dot_product",
                     .c_version = "OpenCL C 3.0 some name",
                     .dot_products = 3};
  EXPECT_EQ(options(all), "-cl-std=CL3.0 -DHAS_HALF -DHAS_SUBGROUPS -DHAS_INT_DOT");
  EXPECT_EQ(options(all, Use::kNone), "-cl-std=CL1.2");
  EXPECT_EQ(options({}, Use::kEmulated),
            "-cl-std=CL1.2 -DHAS_HALF -DHAS_SUBGROUPS -DHAS_INT_DOT -DEMULATED");
  EXPECT_EQ(options({.extensions = "cl_khr_fp16x xcl_khr_fp16", .c_version = "OpenCL C 2.0"}),
            "-cl-std=CL1.2")
      << "other words";
  EXPECT_EQ(options({.extensions = "cl_khr_subgroups cl_khr_fp16", .c_version = "OpenCL C 1.2 "}),
            "-cl-std=CL1.2 -DHAS_HALF")
      << "sub-groups need 2.0";
  EXPECT_EQ(options({.extensions = "cl_khr_subgroups", .c_version = "OpenCL C 2.0 "}),
            "-cl-std=CL2.0 -DHAS_SUBGROUPS");
  EXPECT_EQ(options({.extensions = "cl_khr_integer_dot_product", .c_version = "OpenCL C 3.0"}),
            "-cl-std=CL1.2")
      << "no packed form";
}

TEST(OpenClCache, a_file_is_whole_or_not_read) {
  std::string file = cache() + "/some.bin";
  std::vector<u8> bytes = {1, 2, 3, 4};
  write_binary(file, bytes);
  EXPECT_EQ(read_binary(file).value(), bytes);
  EXPECT_EQ(read_binary(file + "x").error().code, Code::kNotFound);
  std::ofstream(file, std::ios::app) << "more";
  EXPECT_EQ(read_binary(file).error().code, Code::kCorrupt);
  std::filesystem::remove_all(cache());
}

TEST(OpenClLoader, a_missing_library_is_named) {
  Result<Api> api = load_api("/nowhere/libOpenCL.so.1");
  ASSERT_FALSE(api.ok());
  EXPECT_NE(api.error().message.find("/nowhere/libOpenCL.so.1"), std::string::npos);
  Result<Api> other = load_api("libm.so.6");
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("clGetPlatformIDs"), std::string::npos);
}

}  // namespace
}  // namespace tg::backend::opencl
