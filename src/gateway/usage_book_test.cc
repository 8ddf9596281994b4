// Sums of receipts by hour and owner, and the query that asks for them.
#include "gateway/usage_book.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "ledger/focus.h"
#include "meter/receipt_testing.h"

namespace tg::gateway {
namespace {

constexpr i64 kHourNs = 3'600'000'000'000;

meter::Draft draft(i64 hour, const char* key, const char* project, u128 buyer = 7) {
  meter::Draft out = meter::sample_draft();
  out.receipt.time = Timestamp{hour * kHourNs + 5};
  out.receipt.buyer = buyer;
  out.receipt.actual_nst = out.receipt.nominal_nst / 2;
  out.receipt.device_us = 3'600'000;
  out.key = key;
  out.project = project;
  return out;
}

nlohmann::json asked(const UsageBook& book, std::string_view query, u128 account = 7) {
  UsageQuery parsed = parse_usage_query(query).value();
  parsed.account = account;
  return nlohmann::json::parse(book.report(parsed))["data"];
}

TEST(UsageBook, AddsUpByHourAndWhose) {
  UsageBook book(2'000'000);
  book.add(draft(480'000, "k1", "p"));
  book.add(draft(480'000, "k1", "p"));
  book.add(draft(480'001, "k2", "p"));
  book.add(draft(480'001, "k3", "q", 8));
  meter::Receipt r = draft(0, "", "").receipt;
  nlohmann::json rows = asked(book, "");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["requests"], 2);
  EXPECT_EQ(rows[0]["charged_nst"], 2 * r.billed);
  EXPECT_EQ(rows[0]["output_tokens"], 2 * r.output_tokens[0]);
  EXPECT_EQ(rows[0]["yield"], 2.0);
  EXPECT_GT(rows[0]["cput_ucredit_per_mst"].get<f64>(), 0);
  EXPECT_EQ(asked(book, "", 8).size(), 1u);
  rows = asked(book, "group_by=project&bucket=all");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0]["requests"], 3);
  EXPECT_EQ(rows[0]["key"], "*");
  EXPECT_EQ(asked(book, "key=k2").size(), 1u);
  EXPECT_EQ(asked(book, "start=1728003600").size(), 1u);
  EXPECT_EQ(asked(book, "end=1728003600").size(), 1u);
  EXPECT_EQ(asked(book, "start=1728003601").size(), 0u);
}

TEST(UsageBook, ExportsAreTables) {
  UsageBook book;
  book.add(draft(480'000, "k1", "p"));
  std::string csv = book.report(parse_usage_query("format=csv").value());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2);
  std::string head = csv.substr(0, csv.find('\n'));
  std::string row = csv.substr(csv.find('\n') + 1);
  EXPECT_EQ(std::count(head.begin(), head.end(), ','), std::count(row.begin(), row.end(), ','));
  std::string focus = book.report(parse_usage_query("format=focus").value());
  head = focus.substr(0, focus.find('\n'));
  row = focus.substr(focus.find('\n') + 1);
  EXPECT_EQ(std::count(head.begin(), head.end(), ','), std::count(row.begin(), row.end(), ','));
  EXPECT_NE(head.find("BilledCost"), std::string::npos);
  // The same columns as the bill's from the journal (ledger/focus.h), but for our own.
  std::string bill = ledger::focus_header("");
  EXPECT_EQ(head.substr(0, bill.size() - 1), bill.substr(0, bill.size() - 1));
}

// An operator may call a model what he likes.
TEST(UsageBook, NamesAreCells) {
  UsageBook book;
  meter::Draft odd = draft(480'000, "k1", "p");
  odd.receipt.model = "a,\"b\"";
  book.add(odd);
  for (const char* format : {"csv", "focus"}) {
    std::string table = book.report(parse_usage_query(std::string("format=") + format).value());
    EXPECT_NE(table.find(",\"a,\"\"b\"\"\","), std::string::npos) << table;
    EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 2);
  }
}

TEST(UsageBook, WhatIsNoQueryIsNamed) {
  for (const char* query :
       {"start=x", "start=-1", "bucket=week", "group_by=color", "format=xml", "limit=5"})
    EXPECT_FALSE(parse_usage_query(query).ok()) << query;
  EXPECT_EQ(parse_usage_query("limit=5").error().message, "'limit' is no parameter of usage");
}

}  // namespace
}  // namespace tg::gateway
