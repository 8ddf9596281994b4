#include "node/url.h"

#include <algorithm>

#include "base/types.h"

namespace tg::node {
namespace {

Error bad(std::string_view text, std::string_view why) {
  return Error{Code::kInvalid, "'" + std::string(text.substr(0, 200)) + "' " + std::string(why)};
}

bool is_port(std::string_view text) {
  constexpr i64 kPortMax = 65'535;
  bool is_number = !text.empty() && text.size() <= 5 &&
                   std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return false;
  i64 port = std::stoll(std::string(text));
  return port > 0 && port <= kPortMax;
}

// No spaces or control characters: the text goes into request heads.
bool is_clean(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

Result<Url> parse_host_port(std::string_view text, std::string_view rest, Url url) {
  std::size_t colon = rest.rfind(':');
  bool is_bracketed = rest.starts_with('[');
  std::size_t bracket = is_bracketed ? rest.find(']') : std::string_view::npos;
  if (is_bracketed && bracket == std::string_view::npos) return bad(text, "lacks a ']'");
  bool has_port = colon != std::string_view::npos && (!is_bracketed || colon > bracket);
  std::string_view host = has_port ? rest.substr(0, colon) : rest;
  if (is_bracketed) host = rest.substr(1, bracket - 1);
  if (has_port) url.port = rest.substr(colon + 1);
  url.host = host;
  if (url.host.empty() || !is_clean(url.host)) return bad(text, "names no host");
  if (!is_port(url.port)) return bad(text, "has no port between 1 and 65535");
  return url;
}

}  // namespace

Result<Url> parse_url(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
    url.port = "80";
  } else if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
    url.is_tls = true;
    url.checks_name = true;
    url.port = "443";
  } else {
    return bad(text, "does not begin with http:// or https://");
  }
  std::size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    url.path = rest.substr(slash);
    rest = rest.substr(0, slash);
  }
  while (url.path.ends_with('/')) url.path.pop_back();
  if (!is_clean(url.path)) return bad(text, "has a path with spaces or other bytes");
  return parse_host_port(text, rest, std::move(url));
}

Result<Url> parse_address(std::string_view text) {
  return parse_host_port(text, text, Url{.is_tls = true});
}

}  // namespace tg::node
