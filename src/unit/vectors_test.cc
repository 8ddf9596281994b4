// The published vectors (spec/vectors/nominal.jsonl), made by tools/st_vectors.py, which shares no
// code with this folder: the same integers from both sides.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "unit/nominal.h"

namespace tg::unit {
namespace {

Counter class_by_name(const std::string& name) {
  if (name == "f32") return kMmF32;
  if (name == "int8") return kMmInt8;
  EXPECT_EQ(name, "f16");
  return kMmF16;
}

PairKind kind_by_name(const std::string& name) {
  if (name == "full") return PairKind::kFull;
  if (name == "selected") return PairKind::kSelected;
  if (name == "tree") return PairKind::kTree;
  if (name == "dense") return PairKind::kDense;
  EXPECT_EQ(name, "causal");
  return PairKind::kCausal;
}

CostMatrix matrix_of(const nlohmann::json& m) {
  CostMatrix cost;
  Counter mm = class_by_name(m["mm_class"]);
  cost.per_token[mm] = m["mm_per_token"];
  cost.per_token[kKvWr] = m["kv_wr_per_token"];
  cost.per_row[mm] = m["mm_per_row"];
  cost.per_pass[kWBytes] = m["w_bytes"];
  cost.head_bytes = m["head_bytes"];
  cost.per_token[kAttn] = m.value("attn_per_token", u64{0});
  cost.per_sequence[kState] = m.value("state_per_sequence", u64{0});
  for (const nlohmann::json& w : m["windows"]) {
    cost.windows.push_back({w["window"], w["attn_flops_per_pair"], 0, w["kv_rd_bytes_per_key"],
                            kind_by_name(w.value("kind", "causal"))});
  }
  for (const nlohmann::json& e : m["experts"]) {
    cost.experts.push_back({e["experts"], e["active"], e["layers"], e["bytes_per_expert"]});
  }
  return cost;
}

// ST4-ST9, ST14, ST15 over 22 shapes and 17 requests.
TEST(Vectors, EveryPublishedVectorAgrees) {
  std::ifstream in(TG_SOURCE_DIR "/spec/vectors/nominal.jsonl");
  int count = 0;
  for (std::string line; std::getline(in, line); ++count) {
    nlohmann::json v = nlohmann::json::parse(line);
    const nlohmann::json& r = v["request"];
    std::vector<i64> outputs = r["outputs"];
    Result<NominalWork> work = nominal_work(matrix_of(v["matrix"]), {.prompt = r["prompt"],
                                                                     .cached = r["cached"],
                                                                     .outputs = outputs,
                                                                     .embedding = r["embedding"]});
    ASSERT_TRUE(work.ok()) << work.error().message;
    EXPECT_EQ(work->total.value, v["nominal_nst"].get<i64>())
        << v["shape"]["name"] << " " << r.dump();
    EXPECT_EQ(work->input.value, v["input_nst"].get<i64>())
        << v["shape"]["name"] << " " << r.dump();
  }
  EXPECT_GE(count, 370);
}

}  // namespace
}  // namespace tg::unit
