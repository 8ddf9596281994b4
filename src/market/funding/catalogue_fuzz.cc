// Any bytes as a catalogue: an error, or plans that can be sold.
#include "base/assert.h"
#include "market/funding/catalogue.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace tg::market;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tg::Result<std::vector<Plan>> plans = parse_catalogue(text, "fuzz.toml");
  if (!plans.ok()) return 0;
  FundingBooks books{.wash = 1, .breakage = 2};
  for (const Plan& plan : *plans) {
    tg::ledger::Request sale = sale_request(books, plan, {.owner = 3, .purchase = 4});
    TG_ASSERT(sale.accounts.size() == 1 && sale.transfers.size() == 1);
    TG_ASSERT(find_plan(*plans, sale.accounts[0].product) == &plan);
  }
  return 0;
}
