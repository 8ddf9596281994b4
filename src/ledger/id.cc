#include "ledger/id.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/hash.h"

namespace tg::ledger {

u128 time_ordered_id(Timestamp now, Random& random) {
  constexpr int kRandomBits = 80;
  u128 milliseconds = static_cast<u64>(std::max<i64>(now.ns, 0) / 1'000'000);
  u128 noise = (u128{random.next_u64()} << 64 | random.next_u64()) >> (128 - kRandomBits);
  u128 id = milliseconds << kRandomBits | noise;
  return id == 0 ? 1 : id;
}

u128 id_from_name(std::string_view text) {
  Digest digest = sha256(text);
  u128 id = 0;
  for (std::size_t i = digest.size() - 16; i < digest.size(); ++i) id = id << 8 | digest[i];
  return id == 0 ? 1 : id;
}

Result<u128> parse_id(std::string_view text) {
  Error wrong{Code::kInvalid,
              "id is not 1 to 32 hex digits: \"" + std::string(text.substr(0, 40)) + "\""};
  if (text.empty() || text.size() > 32) return wrong;
  std::string padded(32 - text.size(), '0');
  padded += text;
  Result<std::vector<u8>> bytes = from_hex(padded);
  if (!bytes.ok()) return wrong;
  u128 id = 0;
  for (u8 byte : *bytes) id = id << 8 | byte;
  return id;
}

}  // namespace tg::ledger
