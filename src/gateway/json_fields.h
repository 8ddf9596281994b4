// Reading fields of client JSON: each reader checks type and range, and its refusal names the field
// and the value. Only the files that parse requests include this.
#pragma once

#include <simdjson.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"
#include "gateway/api_error.h"

namespace tg::gateway {

namespace dom = simdjson::dom;
using Problem = std::optional<ApiError>;

struct Range {
  f64 low;
  f64 high;
};
struct IntegerRange {
  i64 low;
  i64 high;
};

// `body` may be any bytes; `out` borrows from `parser`.
Problem parse_object(dom::parser& parser, std::string_view body, dom::object& out);

// A parser that the thread's next request uses again, unless a large body has made it large; what
// it has read lives as long as it does.
class ReusedParser {
 public:
  ReusedParser();
  ~ReusedParser();
  ReusedParser(const ReusedParser&) = delete;
  ReusedParser& operator=(const ReusedParser&) = delete;
  dom::parser& operator*() { return *parser_; }

 private:
  std::unique_ptr<dom::parser> parser_;
};

Problem read_real(std::string_view name, dom::element value, Range range, f32& out);
// Whole numbers written as reals count.
Problem read_integer(std::string_view name, dom::element value, IntegerRange range, i64& out);
Problem read_bool(std::string_view name, dom::element value, bool& out);
Problem read_string(std::string_view name, dom::element value, std::string& out);

// Missing or null.
bool is_absent(simdjson::simdjson_result<dom::element> field);
// The value as JSON text with the fewest escapes.
std::string json_text(dom::element value);
// The object in `text` with the fewest escapes; "" if it is no JSON object.
std::string object_json(std::string_view text);
// The value as it was written, short enough for an error message.
std::string shown(dom::element value);

ApiError wrong_type(std::string_view name, std::string_view wanted, dom::element value);
ApiError missing_field(std::string name);

}  // namespace tg::gateway
