// The OpenCL backend on whatever the ICD loader has (PoCL in CI): loading, the cache on disk,
// device loss, two suppliers in one process. Whether its numbers are right is conformance's to say.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backend/bound_executor.h"
#include "backend/cpu/backend.h"
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
  static Driver& the() {
    static Driver driver;
    return driver;
  }
};

std::string cache() {
  return "/tmp/tokengrid-opencl-test-" + std::to_string(getpid());
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

constexpr ExecutorLimits kLimits = {
    .tokens_max = 16, .sequences_max = 2, .rows_max = 4, .context_max = 64, .kv_pages = 8};

class OpenClTest : public testing::Test {
 protected:
  void SetUp() override {
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
    d.faulty.EnqueueNDRangeKernel = [](auto... a) {
      Driver& driver = Driver::the();
      if (driver.launches_left == 0) return static_cast<cl_int>(CL_OUT_OF_RESOURCES);
      if (driver.launches_left > 0) --driver.launches_left;
      return driver.real.EnqueueNDRangeKernel(a...);
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

  static OwnedBatch batch() {
    OwnedBatch out;
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

TEST_F(OpenClTest, compiled_programs_are_kept_on_disk) {
  Driver& d = Driver::the();
  ASSERT_TRUE(bind().ok());
  int sources = d.sources;
  ASSERT_TRUE(bind<other_port>().ok());
  EXPECT_EQ(d.sources, sources) << "all from disk";
  EXPECT_GT(d.binaries, 0);
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
