// The suite on backends that are right: the CPU's and the kit's skeleton.
#include <gtest/gtest.h>

#include <cstdlib>

#include "backend/gpu/sanitized.h"
#include "conformance/allocation_watch.h"
#include "conformance/suite_fixture.h"

namespace tg::conformance {
namespace {

constexpr i64 kQuickCasesMin = 500;

TEST(Suite, cpu_passes_quickly) {
  Report report = report_of("cpu", {.quick = true});
  EXPECT_EQ(report.failed, 0) << failures_of(report);
  EXPECT_GE(report.cases, kQuickCasesMin);
  EXPECT_GE(report.models.size(), 4u);
  for (const ModelRow& model : report.models) EXPECT_EQ(model.outcome.determinism, 2);
  for (const auto& [key, row] : report.rows)
    EXPECT_TRUE(row.determinism == 2 || row.determinism == -1) << isa::name(key.op);
}

// Every op of TEXT but logits and sample, which no StepBatch of the suite has parameters for.
TEST(Suite, skeleton_passes_profile_text) {
  Report report = report_of(TG_BACKENDS "/libskeleton.so", {.quick = true});
  EXPECT_EQ(report.failed, 0) << failures_of(report);
  std::set<isa::Opcode> passed;
  for (const auto& [key, row] : report.rows) passed.insert(key.op);
  for (u16 op = 0; op < static_cast<u16>(isa::Opcode::kCount); ++op) {
    isa::Opcode code = static_cast<isa::Opcode>(op);
    if (isa::info(code).profile != isa::Profile::kText || code < isa::Opcode::kEmbed ||
        code > isa::Opcode::kAttn) {
      continue;
    }
    EXPECT_TRUE(passed.contains(code)) << isa::name(code);
  }
}

// On what the ICD loader has: PoCL in CI. Kernels are compiled once and kept in the build folder.
TEST(Suite, opencl_passes_quickly) {
  if (backend::gpu::kIsSanitized) GTEST_SKIP() << "drivers are not sanitized";
  setenv("POCL_CACHE_DIR", TG_BACKENDS "/pocl", 0);
  setenv("TG_OPENCL_CACHE", TG_BACKENDS "/opencl", 0);
  Result<backend::Library> library = backend::load_library(TG_BACKENDS "/libtg_backend_opencl.so");
  if (!library) GTEST_SKIP() << library.error().message;
  u32 devices = 0;
  // Asking brings the driver in, as opening a device does.
  watch_before_driver();
  tg_status counted = library->table->dev_count(&devices);
  watch_after_driver();
  if (counted != TG_OK) GTEST_SKIP() << library->table->error_text(nullptr);
  Report report = report_of(TG_BACKENDS "/libtg_backend_opencl.so", {.quick = true});
  EXPECT_EQ(report.failed, 0) << failures_of(report);
  EXPECT_GE(report.cases, kQuickCasesMin);
  std::set<isa::Opcode> passed;
  for (const auto& [key, row] : report.rows) passed.insert(key.op);
  for (u16 op = static_cast<u16>(isa::Opcode::kEmbed);
       op <= static_cast<u16>(isa::Opcode::kCombine); ++op) {
    EXPECT_TRUE(passed.contains(static_cast<isa::Opcode>(op)))
        << "profiles TEXT and MOE, op " << op;
  }
}

TEST(Suite, one_op_alone) {
  Report report = report_of("cpu", {.op = "cast"});
  EXPECT_EQ(report.failed, 0) << failures_of(report);
  for (const auto& [key, row] : report.rows) EXPECT_EQ(key.op, isa::Opcode::kCast);
  EXPECT_TRUE(report.models.empty());
}

TEST(Suite, an_unknown_op_is_an_error) {
  Result<backend::Library> library = backend::load_library("cpu");
  Result<Claims> claims = read_claims({.library = *library, .device = 0});
  SystemClock clock;
  Result<Report> report = run_suite(*claims, {.op = "multiply"}, clock);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message.find("multiply"), std::string::npos);
}

// A backend without a row is not wrong, and the record says which families it was not asked.
TEST(Suite, what_no_row_covers_is_not_claimed) {
  Result<backend::Library> library = backend::load_library("cpu");
  Result<Claims> claims = read_claims({.library = *library, .device = 0});
  std::erase_if(claims->rows,
                [](const tg_row& row) { return row.op == static_cast<u16>(isa::Opcode::kAttn); });
  SystemClock clock;
  Result<Report> report = run_suite(*claims, {.op = "attn", .quick = true}, clock);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->cases, 0);
  EXPECT_FALSE(report->not_claimed.empty());
}

tg_status refuse_plan(tg_dev, const tg_host*, void*, const tg_planopts*, tg_plan*) {
  return TG_E_UNSUPPORTED;
}

// Nor may a row promise what plan() then refuses.
TEST(Suite, claimed_then_refused_fails) {
  Result<backend::Library> library = backend::load_library("cpu");
  tg_backend table = *library->table;
  table.plan = refuse_plan;
  library->table = &table;
  Result<Claims> claims = read_claims({.library = *library, .device = 0});
  SystemClock clock;
  Result<Report> report = run_suite(*claims, {.op = "cast", .quick = true}, clock);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->failed, report->cases);
  ASSERT_GT(report->failed, 0);
  EXPECT_NE(report->failures[0].what.find("claimed, then refused"), std::string::npos);
}

TEST(Record, json_ends_in_the_summary) {
  Report report = report_of("cpu", {.op = "cast", .quick = true});
  std::string json = to_json(report);
  std::size_t at = json.find("\"summary\":{\"cases\":");
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(json.find('}', at), json.size() - 2) << "the last key";
  EXPECT_NE(json.find("\"achieved\":\"E1\""), std::string::npos);
  EXPECT_NE(json.find("\"determinism\":\"D2\""), std::string::npos);
}

}  // namespace
}  // namespace tg::conformance
