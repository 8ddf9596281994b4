// The global functions.
#include <array>
#include <cstdio>

#include "text/jinja/builtin.h"
#include "text/jinja/printing.h"

namespace tg::jinja {
namespace {

constexpr i64 kRangeMax = 1'000'000;

// range(end), range(begin, end), range(begin, end, step)
Result<Value> range(Interpreter& run, const Value&, const Arguments& arguments) {
  bool has_begin = arguments.positional.size() > 1;
  TG_ASSIGN(i64 first, int_argument(run, arguments, 0, "start", 0));
  TG_ASSIGN(i64 end, int_argument(run, arguments, 1, "stop", first));
  TG_ASSIGN(i64 step, int_argument(run, arguments, 2, "step", 1));
  i64 begin = has_begin ? first : 0;
  if (step == 0) return run.error("range step is 0");
  std::vector<Value> items;
  i128 at = begin;
  while (step > 0 ? at < end : at > end) {
    if (static_cast<i64>(items.size()) == kRangeMax)
      return run.error(Code::kLimit, "range of more than " + std::to_string(kRangeMax));
    items.push_back(Value::integer(static_cast<i64>(at)));
    at += step;
  }
  TG_TRY(run.charge(static_cast<i64>(items.size())));
  return run.make_list(std::move(items));
}

void fill(Interpreter& run, Dict& dict, const Arguments& arguments) {
  for (const std::pair<std::string_view, Value>& named : arguments.named) {
    run.heap().add_bytes(sizeof(std::pair<Value, Value>));
    dict.set(Value::string(named.first), named.second);
  }
}

// namespace(a=1), dict(a=1), both also of a dict
Result<Value> make_dict(Interpreter& run, const Arguments& arguments, Dict** out) {
  Dict* dict = run.heap().dict();
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (!from.is(Kind::kDict)) return run.error(Code::kUnsupported, "dict of no dict");
    TG_TRY(run.charge(static_cast<i64>(from.as_dict().entries.size())));
    *dict = from.as_dict();
  }
  fill(run, *dict, arguments);
  *out = dict;
  return Value::dict(dict);
}

Result<Value> name_space(Interpreter& run, const Value&, const Arguments& arguments) {
  Dict* dict = nullptr;
  TG_TRY(make_dict(run, arguments, &dict));
  return Value::name_space(dict);
}

Result<Value> dict(Interpreter& run, const Value&, const Arguments& arguments) {
  Dict* ignored = nullptr;
  return make_dict(run, arguments, &ignored);
}

Result<Value> raise_exception(Interpreter& run, const Value&, const Arguments& arguments) {
  TG_ASSIGN(std::string message, run.text_of(arguments.get(0, "message", Value())));
  return Error{Code::kInvalid, "chat template: " + message};
}

struct Civil {
  i64 year = 1970;
  i64 month = 1;
  i64 day = 1;
  i64 weekday = 4;  // 0 is Sunday.
  i64 day_of_year = 1;
  i64 second_of_day = 0;
};

bool is_leap(i64 year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

// Proleptic Gregorian calendar from days since 1970-01-01, by 400-year eras that begin in March.
Civil civil_of(i64 unix_seconds) {
  constexpr i64 kDay = 86400;
  constexpr std::array<i64, 12> kDaysBefore = {0,   31,  59,  90,  120, 151,
                                               181, 212, 243, 273, 304, 334};
  i64 second = ((unix_seconds % kDay) + kDay) % kDay;
  i64 days = (unix_seconds - second) / kDay;
  i64 shifted = days + 719468;
  i64 era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  i64 day_of_era = shifted - era * 146097;
  i64 year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  i64 day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  i64 month_from_march = (5 * day_from_march + 2) / 153;
  Civil civil;
  civil.day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
  civil.month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  civil.year = year_of_era + era * 400 + (civil.month <= 2 ? 1 : 0);
  civil.weekday = ((days + 4) % 7 + 7) % 7;
  bool leap_day = civil.month > 2 && is_leap(civil.year);
  civil.day_of_year = kDaysBefore[civil.month - 1] + civil.day + (leap_day ? 1 : 0);
  civil.second_of_day = second;
  return civil;
}

constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};
constexpr std::string_view kWeekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday"};

std::string padded(i64 value, int width, bool pads) {
  char text[32];
  std::snprintf(text, sizeof text, "%0*lld", pads ? width : 1, static_cast<long long>(value));
  return text;
}

// One strftime directive, or false. `pads` is off after "%-".
bool append_date_part(std::string& out, char directive, const Civil& civil, bool pads) {
  i64 hour = civil.second_of_day / 3600;
  switch (directive) {
    case 'Y': out += padded(civil.year, 1, pads); return true;
    case 'y': out += padded(civil.year % 100, 2, pads); return true;
    case 'm': out += padded(civil.month, 2, pads); return true;
    case 'd': out += padded(civil.day, 2, pads); return true;
    case 'e': out += (civil.day < 10 && pads ? " " : "") + padded(civil.day, 1, pads); return true;
    case 'j': out += padded(civil.day_of_year, 3, pads); return true;
    case 'H': out += padded(hour, 2, pads); return true;
    case 'I': out += padded((hour + 11) % 12 + 1, 2, pads); return true;
    case 'M': out += padded(civil.second_of_day / 60 % 60, 2, pads); return true;
    case 'S': out += padded(civil.second_of_day % 60, 2, pads); return true;
    case 'p': out += hour < 12 ? "AM" : "PM"; return true;
    case 'B': out += kMonths[civil.month - 1]; return true;
    case 'b': out += kMonths[civil.month - 1].substr(0, 3); return true;
    case 'A': out += kWeekdays[civil.weekday]; return true;
    case 'a': out += kWeekdays[civil.weekday].substr(0, 3); return true;
    case 'Z': out += "UTC"; return true;
    case '%': out += '%'; return true;
    default: return false;
  }
}

Result<Value> strftime_now(Interpreter& run, const Value&, const Arguments& arguments) {
  TG_ASSIGN(std::string_view format, string_argument(run, arguments, 0, "format", ""));
  Civil civil = civil_of(run.unix_seconds());
  std::string text;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      text += format[i];
      continue;
    }
    bool pads = format.substr(i + 1, 1) != "-";
    i += pads ? 1 : 2;
    char directive = i < format.size() ? format[i] : '\0';
    if (!append_date_part(text, directive, civil, pads)) {
      return run.error(Code::kUnsupported,
                       "strftime_now format '" + std::string(format.substr(0, 40)) + "'");
    }
  }
  return run.make_string(std::move(text));
}

struct Named {
  std::string_view name;
  Function function;
};

constexpr Named kFunctions[] = {
    {"range", range},
    {"namespace", name_space},
    {"dict", dict},
    {"raise_exception", raise_exception},
    {"strftime_now", strftime_now},
};

}  // namespace

Function find_function(std::string_view name) {
  for (const Named& named : kFunctions) {
    if (named.name == name) return named.function;
  }
  return nullptr;
}

// loop.cycle(a, b, ...)
static Result<Value> cycle(Interpreter& run, const Value& self, const Arguments& arguments) {
  i64 count = static_cast<i64>(arguments.positional.size());
  if (count == 0) return run.error("loop.cycle of nothing");
  return arguments.positional[self.as_loop().index % count];
}

Result<Value> loop_attribute(Interpreter& run, Loop& loop, std::string_view name) {
  i64 length = static_cast<i64>(loop.items->items.size());
  i64 index = loop.index;
  if (name == "index") return Value::integer(index + 1);
  if (name == "index0") return Value::integer(index);
  if (name == "revindex") return Value::integer(length - index);
  if (name == "revindex0") return Value::integer(length - index - 1);
  if (name == "first") return Value::boolean(index == 0);
  if (name == "last") return Value::boolean(index == length - 1);
  if (name == "length") return Value::integer(length);
  if (name == "depth") return Value::integer(loop.depth + 1);
  if (name == "depth0") return Value::integer(loop.depth);
  if (name == "previtem")
    return index > 0 ? loop.items->items[index - 1] : Value::undefined("loop.previtem");
  if (name == "nextitem")
    return index + 1 < length ? loop.items->items[index + 1] : Value::undefined("loop.nextitem");
  if (name != "cycle") return run.error(Code::kUnsupported, "loop." + std::string(name));
  Callable* callable = run.heap().callable();
  callable->function = cycle;
  callable->self = Value::loop(&loop);
  return Value::callable(callable);
}

}  // namespace tg::jinja
