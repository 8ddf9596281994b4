#include "gateway/list_query.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "gateway/http.h"

namespace tg::gateway {

namespace {

Status read_field(std::string_view name, const std::string& value, i64 limit_max, ListQuery& out) {
  if (name == "after") out.after = value;
  if (name == "purpose") out.purpose = value;
  if (name == "order") {
    if (value != "asc" && value != "desc")
      return Error{Code::kInvalid,
                   fmt::format("'order' must be asc or desc, not '{}'", value.substr(0, 40))};
    out.is_ascending = value == "asc";
  }
  if (name != "limit") return {};
  auto read = std::from_chars(value.data(), value.data() + value.size(), out.limit);
  bool is_number = read.ec == std::errc() && read.ptr == value.data() + value.size();
  if (is_number && out.limit >= 1 && out.limit <= limit_max) return {};
  return Error{Code::kInvalid, fmt::format("'limit' must be a number within 1..{}, not '{}'",
                                           limit_max, value.substr(0, 40))};
}

}  // namespace

Result<ListQuery> list_query(std::string_view target, i64 limit_max) {
  ListQuery query;
  std::string_view rest = target.substr(std::min(target.find('?'), target.size()));
  while (!rest.empty()) {
    rest.remove_prefix(1);
    std::size_t end = std::min(rest.find('&'), rest.size());
    std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(end);
    std::size_t equals = std::min(pair.find('='), pair.size());
    std::string value = percent_decoded(pair.substr(std::min(equals + 1, pair.size())));
    TG_TRY(read_field(pair.substr(0, equals), value, limit_max, query));
  }
  return query;
}

}  // namespace tg::gateway
