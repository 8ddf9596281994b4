// OpenCL's optional paths (sub-groups, halves, products of bytes) in every op that has one, with
// plain code standing for the extensions: PoCL has none of them.
#if __has_include(<CL/cl.h>)
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/gpu/sanitized.h"
#include "backend/gpu/table.h"
#include "backend/opencl/backend.h"
#include "conformance/allocation_watch.h"
#include "conformance/suite_fixture.h"

namespace tg::conformance {
namespace {

backend::opencl::Api& api() {
  static backend::opencl::Api loaded;
  return loaded;
}

backend::gpu::Port& emulating_port() {
  static backend::gpu::Port* port =
      backend::opencl::make_port(api(), TG_BACKENDS "/opencl",
                                 backend::opencl::ExtensionUse::kEmulated)
          .release();
  return *port;
}

TEST(Extensions, ops_that_use_them_pass) {
  if (backend::gpu::kIsSanitized) GTEST_SKIP() << "drivers are not sanitized";
  setenv("POCL_CACHE_DIR", TG_BACKENDS "/pocl", 0);
  Result<backend::opencl::Api> found = backend::opencl::load_api("");
  if (!found) GTEST_SKIP() << found.error().message;
  api() = *found;
  // Asking brings the driver in.
  watch_before_driver();
  Result<u32> devices = emulating_port().count();
  watch_after_driver();
  if (!devices) GTEST_SKIP() << devices.error().message;
  static const tg_backend table = backend::gpu::make_table<emulating_port>("opencl");
  Result<Claims> claims = read_claims({.library = {.table = &table}, .device = 0});
  ASSERT_TRUE(claims.ok()) << claims.error().message;
  SystemClock clock;
  i64 int_products = 0;
  // Not every codec: each is compiled, and they differ in nothing that is tried here.
  struct Part {
    const char *op, *only;
  };
  for (const Part& part : {Part{"linear", "xq=i8"}, Part{"linear", "codec=f16 acc=f16c"},
                           Part{"rmsnorm", ""}, Part{"layernorm", ""}, Part{"reduce", ""},
                           Part{"kv_append", "fmt=f16"}, Part{"attn", "sinks=1 fmt=q8_0"}}) {
    Result<Report> report =
        run_suite(*claims, {.op = part.op, .only = part.only, .quick = true}, clock);
    ASSERT_TRUE(report.ok()) << part.only << ": " << report.error().message;
    EXPECT_GT(report->cases, 0) << part.op << " " << part.only;
    EXPECT_EQ(report->failed, 0) << part.op << ": " << failures_of(*report);
    for (const auto& [key, row] : report->rows) {
      if (key.signature.acc == static_cast<u8>(isa::DType::kI32)) int_products += row.cases;
    }
  }
  EXPECT_GT(int_products, 0);
}

}  // namespace
}  // namespace tg::conformance
#endif
