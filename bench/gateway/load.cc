// The load generator of the gateway benchmark: gateway_load closed|open|streams --port N --body
// FILE [...]; prints JSON.
#include <fmt/format.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "bench/gateway/runs.h"

namespace tg::bench {
namespace {

struct Arguments {
  std::string mode;
  u16 port = 0;
  std::string path = "/v1/chat/completions";
  std::string body_file;
  std::vector<std::string> headers;
  std::vector<std::string> segments;
  LoadOptions options;
};

std::string request_text(const Arguments& arguments) {
  std::ifstream file(arguments.body_file);
  std::string body((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::string text = fmt::format(
      "POST {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n"
      "content-length: {}\r\n",
      arguments.path, arguments.port, body.size());
  for (const std::string& header : arguments.headers) text += header + "\r\n";
  return text + "\r\n" + body;
}

// "FROM:TO:SECONDS"
bool read_segment(const std::string& text, Segment& out) {
  return std::sscanf(text.c_str(), "%lf:%lf:%lf", &out.rate_from, &out.rate_to, &out.seconds) ==
             3 &&
         out.seconds > 0 && out.rate_from > 0 && out.rate_to > 0;
}

int run(Arguments& arguments) {
  // Timers to the microsecond.
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  arguments.options.endpoint = {asio::ip::make_address("127.0.0.1"), arguments.port};
  arguments.options.request = request_text(arguments);
  for (const std::string& text : arguments.segments) {
    Segment segment;
    if (!read_segment(text, segment)) {
      std::fprintf(stderr, "segment '%s' is not FROM:TO:SECONDS\n", text.c_str());
      return 2;
    }
    arguments.options.segments.push_back(segment);
  }
  std::string json;
  if (arguments.mode == "closed") json = run_closed(arguments.options);
  if (arguments.mode == "open") json = run_open(arguments.options);
  if (arguments.mode == "streams") json = run_streams(arguments.options);
  std::printf("%s\n", json.c_str());
  return 0;
}

}  // namespace
}  // namespace tg::bench

int main(int argc, char** argv) {
  tg::bench::Arguments arguments;
  CLI::App app("Load generator of the gateway benchmark");
  app.add_option("mode", arguments.mode)
      ->required()
      ->check(CLI::IsMember({"closed", "open", "streams"}));
  app.add_option("--port", arguments.port)->required();
  app.add_option("--path", arguments.path);
  app.add_option("--body", arguments.body_file)->required()->check(CLI::ExistingFile);
  app.add_option("--header", arguments.headers, "a whole line");
  app.add_option("--clients", arguments.options.clients);
  app.add_option("--seconds", arguments.options.seconds);
  app.add_option("--warmup", arguments.options.warmup_seconds);
  app.add_option("--pid", arguments.options.pids, "whose CPU time is measured");
  app.add_option("--segment", arguments.segments, "FROM:TO:SECONDS, requests per second");
  app.add_option("--seed", arguments.options.seed, "Poisson arrivals; 0: evenly spaced");
  CLI11_PARSE(app, argc, argv);
  return tg::bench::run(arguments);
}
