#include "grammar/formats.h"

namespace tg::grammar {
namespace {

// 29 February is left out: whether it exists depends on the year.
constexpr const char* kDate =
    "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|"
    "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))";
constexpr const char* kTime =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?"
    "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
constexpr const char* kLabel = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
constexpr const char* kByte = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
constexpr const char* kGroup = "[0-9a-fA-F]{1,4}";

std::string hostname() {
  std::string label = kLabel;
  return "(?:" + label + "\\.){0,2}" + label;
}

std::string ipv4() {
  std::string byte = kByte;
  return "(?:" + byte + "\\.){3}" + byte;
}

std::string ipv6() {
  std::string group = kGroup;
  return "(?:" + group + ":){7}" + group + "|(?:" + group + ":){1,6}:" + group + "|(?:" + group +
         ":){1,7}:|::" + group + "(?::" + group + "){0,5}|::";
}

std::string email() {
  constexpr const char* kAtom = "[A-Za-z0-9_+-]{1,31}";
  std::string atom = kAtom;
  std::string label = kLabel;
  return atom + "(?:\\." + atom + ")?@(?:" + label + "\\.){1,2}[A-Za-z]{2,24}";
}

std::string uri() {
  constexpr const char* kRest = "[A-Za-z0-9_.~-]";
  std::string rest = kRest;
  return "(?:https?|ftp)://" + hostname() + "(?::[1-9][0-9]{0,3})?(?:/" + rest + "*)*(?:\\?" +
         rest + "*(?:=" + rest + "*)?(?:&" + rest + "+=" + rest + "*)*)?(?:#" + rest + "*)?";
}

std::string duration() {
  constexpr const char* kN = "[0-9]{1,6}";
  std::string n = kN;
  std::string day = n + "D";
  std::string month = n + "M(?:" + day + ")?";
  std::string date = n + "Y(?:" + month + ")?|" + month + "|" + day;
  std::string second = n + "S";
  std::string minute = n + "M(?:" + second + ")?";
  std::string time = "T(?:" + n + "H(?:" + minute + ")?|" + minute + "|" + second + ")";
  return "P(?:(?:" + date + ")(?:" + time + ")?|" + time + "|" + n + "W)";
}

}  // namespace

std::string format_pattern(std::string_view name) {
  std::string date = kDate;
  if (name == "date-time") return date + "T" + kTime;
  if (name == "date") return date;
  if (name == "time") return kTime;
  if (name == "duration") return duration();
  if (name == "email") return email();
  if (name == "hostname") return hostname();
  if (name == "ipv4") return ipv4();
  if (name == "ipv6") return ipv6();
  if (name == "uri") return uri();
  if (name == "uuid") return "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}";
  return "";
}

bool is_number_format(std::string_view name) {
  return name == "int32" || name == "int64" || name == "float" || name == "double";
}

}  // namespace tg::grammar
