// A conformance suite is worth what it refuses: the skeleton with one kernel spoiled must fail, for
// each defect, and as it is must pass.
#include <gtest/gtest.h>

#include "conformance/allocation_watch.h"
#include "conformance/suite_fixture.h"

namespace tg::conformance {
namespace {

Report linear_of(const std::string& module) {
  return report_of(TG_BACKENDS "/lib" + module + ".so",
                   {.op = "linear", .only = "K=256 N=33", .quick = true});
}

bool any_failure_says(const Report& report, const std::string& text) {
  for (const Failure& f : report.failures) {
    if (f.what.find(text) != std::string::npos) return true;
  }
  return false;
}

const RecordRow& row_of(const Report& report, isa::DType y) {
  for (const auto& [key, row] : report.rows) {
    if (key.cls == ErrorClass::kE3 && key.signature.y == static_cast<u8>(y)) return row;
  }
  static const RecordRow none;
  return none;
}

TEST(Defects, none_passes) {
  Report report = linear_of("skeleton");
  EXPECT_EQ(report.failed, 0) << failures_of(report);
  EXPECT_GT(report.cases, 50);
}

TEST(Defects, f16_accumulation_fails) {
  Report report = linear_of("defect_f16_accumulation");
  EXPECT_GT(report.failed, 0);
  EXPECT_GT(row_of(report, isa::DType::kF32).gamma, kGammaF32);
}

TEST(Defects, silent_int8_activations_fail) {
  Report report = linear_of("defect_silent_int8");
  EXPECT_GT(report.failed, 0);
  EXPECT_GT(row_of(report, isa::DType::kF32).rho, kRhoF32);
}

TEST(Defects, one_corrupted_element_fails) {
  Report report = linear_of("defect_one_corrupted");
  EXPECT_GT(report.failed, 0);
  EXPECT_TRUE(any_failure_says(report, "row 0 column")) << failures_of(report);
}

TEST(Defects, truncation_fails) {
  Report report = linear_of("defect_truncation");
  EXPECT_GT(row_of(report, isa::DType::kBf16).failed, 0);
  EXPECT_GT(row_of(report, isa::DType::kBf16).rho, kRhoF32);
  EXPECT_EQ(row_of(report, isa::DType::kF32).failed, 0) << "f32 results are not cut";
}

TEST(Defects, allocation_inside_run_fails) {
  if (!can_watch_allocations()) GTEST_SKIP() << "the sanitizer has its own allocator";
  Report report = linear_of("defect_allocation");
  EXPECT_EQ(report.failed, report.cases) << "every case runs it";
  EXPECT_TRUE(any_failure_says(report, "called the allocator 2 times")) << failures_of(report);
}

// Right in every number, and still not what was claimed.
TEST(Defects, batch_dependence_fails_D2_and_is_D1) {
  Report report = linear_of("defect_batch_dependent");
  EXPECT_GT(report.failed, 0);
  EXPECT_TRUE(any_failure_says(report, "other bits token by token")) << failures_of(report);
  EXPECT_FALSE(any_failure_says(report, "other bits the same step again"));
  EXPECT_EQ(row_of(report, isa::DType::kF32).determinism, 1);
}

TEST(Defects, instability_fails_D1) {
  Report report = linear_of("defect_unstable");
  EXPECT_TRUE(any_failure_says(report, "other bits the same step again")) << failures_of(report);
  EXPECT_EQ(row_of(report, isa::DType::kF32).determinism, 0);
}

}  // namespace
}  // namespace tg::conformance
