// Any bytes as a table of measurements: rows or one error, never a crash.
#include "predict/setting.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tg::Result<tg::predict::Table> table = tg::predict::Table::parse(text, "fuzz");
  if (!table.ok()) return 0;
  tg::Result<std::vector<tg::predict::Observation>> rows = tg::predict::parse_observations(*table);
  if (!rows.ok()) return 0;
  for (const tg::predict::Observation& row : *rows) tg::predict::configuration_key(row.setting);
  return 0;
}
