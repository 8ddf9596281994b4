// Tables from outside: what is read, and one line for each way they can be wrong.
#include "predict/table.h"

#include <gtest/gtest.h>

#include "predict/setting.h"

namespace tg::predict {
namespace {

TEST(Table, ReadsQuotesEmptyFieldsAndWindowsLines) {
  Table t = Table::parse("a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n\r\n2.5,\n", "t.csv").value();
  ASSERT_EQ(t.row_count(), 2u);
  EXPECT_EQ(t.text(0, "b"), "x, \"y\"\nz");
  EXPECT_EQ(t.text(0, "missing"), "");
  EXPECT_EQ(t.number(1, "a").value(), 2.5);
  EXPECT_EQ(t.number_or(1, "b", 7).value(), 7);
  EXPECT_EQ(t.line(0), 2);
  EXPECT_EQ(t.line(1), 5);
}

struct WrongTable {
  const char* text;
  const char* message;
};

TEST(Table, NamesFileLineAndValueOfWhatIsWrong) {
  for (const WrongTable& wrong : std::vector<WrongTable>{
           {"", "t.csv:1: there is no header"},
           {"a,a\n", "t.csv:1: column 'a' appears twice"},
           {"a,b\n1,2\n3\n", "t.csv:3: 1 fields, the header has 2"},
           {"a\n\"open\n", "t.csv:2: a quote is not closed"},
       }) {
    Result<Table> t = Table::parse(wrong.text, "t.csv");
    ASSERT_FALSE(t.ok()) << wrong.text;
    EXPECT_EQ(t.error().message, wrong.message);
  }
  Table t = Table::parse("a\nx1\nnan\n", "t.csv").value();
  EXPECT_EQ(t.number(0, "a").error().message, "t.csv:2: column 'a' is 'x1', expected a number");
  EXPECT_FALSE(t.number(1, "a").ok());
  EXPECT_EQ(t.number(0, "b").error().message, "t.csv:1: there is no column 'b'");
}

constexpr const char* kHeader =
    "id,silicon_data_source,backend,backend_version,model_path,system,precision,mode,isl,osl,"
    "batch_size,tp_size,attention_dp_size,moe_tp_size,moe_ep_size,decode_num_workers,decode_tp_"
    "size,"
    "silicon_ttft_ms,silicon_tpot_ms\n";

Result<std::vector<Observation>> rows_of(const std::string& row) {
  TG_ASSIGN(Table table, Table::parse(kHeader + row, "rows.csv"));
  return parse_observations(table);
}

TEST(Observations, ReadConcurrencyDateAndSizes) {
  Observation o =
      rows_of(
          "i,db-dump/x; silicon_concurrency=64; measured=2026-04-22T0:0,vllm,0.19.0,org/m,h,fp8,"
          "agg,1024,512,16,2,1,2,1,,,100,10\n")
          .value()[0];
  EXPECT_EQ(o.setting.concurrency, 64);
  EXPECT_NEAR(o.setting.month, 16 + 22.0 / 31, 1e-9);
  EXPECT_EQ(o.setting.decode.devices, 2);
  EXPECT_EQ(o.setting.campaign, Campaign::kDump);
  EXPECT_EQ(o.tpot_ms, 10);
}

struct SizeRow {
  const char* sizes;  // tp, dp, moe_tp, moe_ep
  f64 devices;
  f64 tensor;
};

TEST(Observations, TellTheConventionsOfParallelSizesApart) {
  for (const SizeRow& row : std::vector<SizeRow>{{"8,1,8,1", 8, 8},
                                                 {"64,1,8,8", 8, 8},
                                                 {"1,64,8,8", 8, 1},
                                                 {"4,4,1,16", 4, 1},
                                                 {"1,8,1,8", 8, 1},
                                                 {"4,,1,1", 4, 4},
                                                 {"2,0,0,0", 2, 2}}) {
    Setting s =
        rows_of(std::string("i,s,e,,m,h,,agg,8,8,4,") + row.sizes + ",,,1,1\n").value()[0].setting;
    EXPECT_EQ(s.decode.devices, row.devices) << row.sizes;
    EXPECT_EQ(s.decode.tensor_parallel, row.tensor) << row.sizes;
  }
}

TEST(Observations, RefuseWithLineColumnAndValue) {
  struct Wrong {
    const char* row;
    const char* message;
  };
  for (const Wrong& wrong : std::vector<Wrong>{
           {"i,s,e,,m,h,,agg,x,8,4,1,1,1,1,,,1,1\n",
            "rows.csv:2: column 'isl' is 'x', expected a number"},
           {"i,s,e,,m,h,,agg,0,8,4,1,1,1,1,,,1,1\n",
            "rows.csv:2: column 'isl' is '0', expected 1 to 100000000"},
           {"i,s,e,,m,h,,both,8,8,4,1,1,1,1,,,1,1\n",
            "rows.csv:2: column 'mode' is 'both', expected agg or disagg"},
           {"i,s,e,,m,h,,agg,8,8,,1,1,1,1,,,1,1\n",
            "rows.csv:2: column 'batch_size' is '', and no silicon_concurrency= is stated"},
           {"i,s,e,,m,h,,agg,8,8,4,-1,1,1,1,,,1,1\n",
            "rows.csv:2: column 'tp_size' is '-1', expected a number from 0 to 1000000"},
           {"i,s,e,,m,h,,agg,8,8,4,1,1,1,1,,,1,-5\n",
            "rows.csv:2: column 'silicon_tpot_ms' is '-5', expected milliseconds above 0"},
           {"i,s,e,,,h,,agg,8,8,4,1,1,1,1,,,1,1\n",
            "rows.csv:2: column 'model_path' is '', expected a model"},
       }) {
    Result<std::vector<Observation>> rows = rows_of(wrong.row);
    ASSERT_FALSE(rows.ok()) << wrong.row;
    EXPECT_EQ(rows.error().message, wrong.message);
  }
}

}  // namespace
}  // namespace tg::predict
