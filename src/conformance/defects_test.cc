// A conformance suite is worth what it refuses: the skeleton with one kernel spoiled must fail, for
// each defect, and as it is must pass.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "backend/cpu/backend.h"
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

// ---- defects of a table: one of its functions stands in for the right one

Report report_of_table(const tg_backend& table, const SuiteOptions& options) {
  Result<Claims> claims = read_claims({.library = {.table = &table}, .device = 0});
  EXPECT_TRUE(claims.ok());
  SystemClock clock;
  Result<Report> report = run_suite(*claims, options, clock);
  EXPECT_TRUE(report.ok());
  return std::move(report).value();
}

// Cases of whose label holds all of `texts` that failed.
i64 failures_at(const Report& report, const std::vector<std::string>& texts) {
  return std::count_if(report.failures.begin(), report.failures.end(), [&texts](const Failure& f) {
    return std::all_of(texts.begin(), texts.end(), [&f](const std::string& text) {
      return f.where.find(text) != std::string::npos;
    });
  });
}

const tg_backend* skeleton_table = nullptr;

// The skeleton's attention is causal whatever the mask; here it claims them all.
tg_status rows_of_every_mask(tg_dev device, const tg_row** rows, u32* count) {
  static std::vector<tg_row> claimed;
  const tg_row* real = nullptr;
  tg_status status = skeleton_table->rows(device, &real, count);
  if (status != TG_OK) return status;
  claimed.assign(real, real + *count);
  for (tg_row& row : claimed) row.mask_bits = row.mask_bits != 0 ? 0x7 : 0;
  *rows = claimed.data();
  return TG_OK;
}

TEST(Defects, masks_taken_for_causal_fail) {
  backend::Library skeleton = backend::load_library(TG_BACKENDS "/libskeleton.so").value();
  skeleton_table = skeleton.table;
  tg_backend table = *skeleton.table;
  table.rows = rows_of_every_mask;
  Report report = report_of_table(table, {.op = "attn", .quick = true});
  EXPECT_GT(failures_at(report, {"mask=full"}), 0) << failures_of(report);
  EXPECT_GT(failures_at(report, {"mask=tree"}), 0) << failures_of(report);
  EXPECT_EQ(failures_at(report, {"mask="}), report.failed) << "causal attention is right";
  EXPECT_FALSE(any_failure_says(report, "refused"));
}

// By executable: its blocks of parameters, and where in a block the tree is.
struct BoundTree {
  u8* blocks = nullptr;
  u64 offset = 0;
};
std::map<tg_exec, BoundTree> bound_trees;

tg_status bind_and_note(tg_plan plan, const tg_bindings* bindings, tg_exec* exec) {
  void* blocks = nullptr;
  tg_status status = backend::cpu::cpu_backend()->mem_map(bindings->params, &blocks);
  if (status == TG_OK) status = backend::cpu::cpu_backend()->bind(plan, bindings, exec);
  if (status == TG_OK) bound_trees[*exec] = {static_cast<u8*>(blocks), bindings->tree};
  return status;
}

tg_status run_as_chains(tg_exec exec, u32 first, u32 count, const tg_step* step, tg_stream stream) {
  const BoundTree& bound = bound_trees.at(exec);
  std::memset(bound.blocks + step->params + bound.offset, 0xFF, step->T * sizeof(i32));
  return backend::cpu::cpu_backend()->run(exec, first, count, step, stream);
}

TEST(Defects, trees_taken_for_chains_fail) {
  tg_backend table = *backend::cpu::cpu_backend();
  table.bind = bind_and_note;
  table.run = run_as_chains;
  Report report = report_of_table(table, {.op = "spec_verify", .quick = true});
  EXPECT_GT(failures_at(report, {"accepts=1 tree=1 y=i32"}), 0) << failures_of(report);
  EXPECT_GT(failures_at(report, {"accepts=1 tree=1 token=1"}), 0) << failures_of(report);
  EXPECT_EQ(failures_at(report, {"tree=1"}), report.failed) << "chains are verified rightly";
  report = report_of_table(table, {.op = "attn", .only = "mask=", .quick = true});
  EXPECT_GT(failures_at(report, {"mask=tree"}), 0) << failures_of(report);
  EXPECT_EQ(failures_at(report, {"mask=tree"}), report.failed) << failures_of(report);
}

// A second entry that was bound to a cache of its own: what it writes main does not find.
struct OwnCache {
  tg_dev device{};
  std::set<tg_plan> plans;  // of second entries
  std::map<tg_exec, tg_buf> caches;
};
OwnCache own_cache;
constexpr u64 kOwnCacheBytes = u64{16} << 20;

tg_status plan_and_note(tg_dev device, const tg_host* host, void* handle,
                        const tg_planopts* options, tg_plan* plan) {
  tg_status status = backend::cpu::cpu_backend()->plan(device, host, handle, options, plan);
  own_cache.device = device;
  if (std::string_view(options->function) == "fresh") own_cache.plans.insert(*plan);
  return status;
}

tg_status bind_apart(tg_plan plan, const tg_bindings* bindings, tg_exec* exec) {
  const tg_backend& cpu = *backend::cpu::cpu_backend();
  if (!own_cache.plans.contains(plan)) return cpu.bind(plan, bindings, exec);
  tg_bindings apart = *bindings;
  tg_status status = cpu.mem_alloc(own_cache.device, kOwnCacheBytes, TG_MEM_DEVICE, &apart.kv);
  if (status == TG_OK) status = cpu.bind(plan, &apart, exec);
  if (status == TG_OK) own_cache.caches[*exec] = apart.kv;
  return status;
}

void free_apart(tg_exec exec) {
  const tg_backend& cpu = *backend::cpu::cpu_backend();
  cpu.exec_free(exec);
  std::map<tg_exec, tg_buf>::iterator found = own_cache.caches.find(exec);
  if (found == own_cache.caches.end()) return;
  cpu.mem_free(found->second);
  own_cache.caches.erase(found);
}

TEST(Defects, a_second_entry_with_a_cache_of_its_own_fails) {
  tg_backend table = *backend::cpu::cpu_backend();
  table.plan = plan_and_note;
  table.bind = bind_apart;
  table.exec_free = free_apart;
  Result<Claims> claims = read_claims({.library = {.table = &table}, .device = 0});
  int seen = 0;
  for (const ModelCase& model : all_models()) {
    if (!model.has_fresh_entry) continue;
    ++seen;
    Result<ModelOutcome> outcome = run_model(*claims, model);
    ASSERT_TRUE(outcome.ok());
    EXPECT_FALSE(outcome->pass);
    EXPECT_NE(outcome->failure.find("mean KL"), std::string::npos) << outcome->failure;
  }
  EXPECT_EQ(seen, 1);
}

}  // namespace
}  // namespace tg::conformance
