// Any bytes as a receipt, a draft and a buyer's file: an error, or something that prints back the
// same and whose every check returns.
#include <cstdlib>

#include "meter/receipt_file.h"
#include "meter/receipt_testing.h"

namespace {

template <typename T>
void expect_same(const tg::Result<T>& parsed, std::string_view text) {
  if (parsed.ok() && to_text(*parsed) != text) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  using namespace tg::meter;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  expect_same(parse_receipt(text), text);
  expect_same(parse_draft(text), text);
  tg::Result<ReceiptFile> file = parse_receipt_file(text);
  expect_same(file, text);
  if (!file.ok()) return 0;
  tg::unit::CostMatrix cost = sample_cost();
  Evidence evidence{.key = tg::tlog::VerifierKey{.name = "gw-1", .public_key = {}},
                    .witnesses = {},
                    .earlier = &*file,
                    .cost = &cost,
                    .sent = text,
                    .received = text};
  if (verify(*file, evidence).signature.passed()) std::abort();
  return 0;
}
