// What runs have come to since the start, by account, key and project: the meters that /v1/usage
// streams. Reports for bills are usage_book.h's.
#pragma once

#include <map>
#include <string>
#include <tuple>

#include "gateway/billing.h"

namespace tg::gateway {

class RunMeters {
  struct Meter {
    u64 requests = 0;
    i64 prompt_tokens = 0;
    i64 output_tokens = 0;
    i64 nominal_nst = 0;
    i64 charged = 0;
    i64 open = 0;
  };
  using Whose = std::tuple<AccountRef, std::string, std::string>;

 public:
  struct Settled {
    i64 output_tokens = 0;
    i64 nominal_nst = 0;
    i64 charged = 0;
  };
  // A run has ended.
  void count(const HoldOpen& what, const Settled& settled);

  // One account's, to which what is open can be added.
  class Report {
   public:
    void add_open(const HoldOpen& what, i64 output_tokens, i64 posted);
    // One JSON object.
    std::string text(bool in_money) const;

   private:
    friend class RunMeters;
    std::map<Whose, Meter> all_;
  };
  Report report(AccountRef account) const;

 private:
  std::map<Whose, Meter> meters_;
};

}  // namespace tg::gateway
