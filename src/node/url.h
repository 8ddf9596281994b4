// The address of a server as configuration writes it.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace tg::node {

struct Url {
  bool is_tls = false;
  std::string host;
  std::string port;          // digits
  std::string path;          // without a slash at the end; often ""
  bool checks_name = false;  // the certificate must be of that host
};

// "http://host:port/path", "https://..."; IPv6 addresses in brackets. kInvalid names what is wrong.
Result<Url> parse_url(std::string_view text);
// "host:port", for nodes. kInvalid names what is wrong.
Result<Url> parse_address(std::string_view text);

}  // namespace tg::node
