// The load is closed: a slow server is asked less, and can only look better for it.
#include "apps/bench_serve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "apps/bench_client.h"
#include "apps/bench_report.h"
#include "env/clock.h"
#include "env/disk.h"
#include "env/random.h"

namespace tg::apps {

namespace {

// Our own server as a child process with a data directory of its own, gone with this object.
class OwnServer {
 public:
  Status start(const ServeBenchOptions& o);
  ~OwnServer();
  const Target& target() const { return target_; }

 private:
  std::vector<std::string> arguments(const ServeBenchOptions& o) const;
  Status await_banner();

  std::string data_;
  pid_t child_ = -1;
  std::FILE* output_ = nullptr;
  Target target_;
};

std::vector<std::string> OwnServer::arguments(const ServeBenchOptions& o) const {
  std::vector<std::string> out = {"tokengrid", "serve",    "--port",
                                  "0",         "--data",   data_,
                                  "--quiet",   "--config", data_ + "/bench.toml"};
  if (!o.model.empty()) out.insert(out.end(), {"--model", o.model});
  if (o.threads > 0) out.insert(out.end(), {"--threads", std::to_string(o.threads)});
  return out;
}

Status OwnServer::start(const ServeBenchOptions& o) {
  std::string folder = (std::filesystem::temp_directory_path() / "tokengrid-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return Error{Code::kIo, "cannot create " + folder};
  data_ = folder;
  // Room for every client at once, and money for all of it.
  constexpr i64 kSlack = 64;
  i64 tokens =
      (o.prompt_bytes + o.own_bytes + o.output_tokens + kSlack) * std::max<i64>(o.clients, 2);
  std::string config = fmt::format(
      "[engine]\nkv_tokens = {}\n[model]\ncontext = {}\n[first_start]\nbundle_st = 1000000000\n",
      tokens, std::max<i64>(512, o.prompt_bytes + o.output_tokens + 4 * kSlack));
  TG_TRY(write_file_durably(data_ + "/bench.toml",
                            {reinterpret_cast<const u8*>(config.data()), config.size()}, 0600));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error{Code::kIo, "cannot make a pipe"};
  std::vector<std::string> words = arguments(o);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  child_ = ::fork();
  if (child_ == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::execv("/proc/self/exe", argv.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  output_ = ::fdopen(ends[0], "r");
  if (child_ < 0) return Error{Code::kIo, "cannot start a server"};
  TG_TRY(await_banner());
  TG_ASSIGN(target_.key, read_file(data_ + "/first-key", 4'096));
  while (target_.key.ends_with('\n')) target_.key.pop_back();
  return {};
}

// Reads up to "listening on URL".
Status OwnServer::await_banner() {
  char line[4'096];
  while (std::fgets(line, sizeof(line), output_) != nullptr) {
    std::string_view text(line);
    constexpr std::string_view kSaid = "listening on ";
    if (!text.starts_with(kSaid)) continue;
    text.remove_prefix(kSaid.size());
    while (text.ends_with('\n')) text.remove_suffix(1);
    TG_ASSIGN(target_, parse_url(std::string(text)));
    return {};
  }
  return Error{Code::kUnavailable, "the server ended before it listened"};
}

OwnServer::~OwnServer() {
  if (child_ > 0) {
    ::kill(child_, SIGTERM);
    ::waitpid(child_, nullptr, 0);
  }
  if (output_ != nullptr) std::fclose(output_);
  std::error_code ignored;
  if (!data_.empty()) std::filesystem::remove_all(data_, ignored);
}

// Words of lower-case letters, nothing in common between two seeds.
std::string words_of(i64 bytes, u64 seed) {
  SeededRandom random(seed);
  std::string out;
  while (static_cast<i64>(out.size()) < bytes)
    out += random.below(6) == 0 ? ' ' : static_cast<char>('a' + random.below(26));
  return out;
}

f64 quantile_ms(std::vector<i64> values, f64 q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  std::size_t at = static_cast<std::size_t>(q * static_cast<f64>(values.size() - 1) + 0.5);
  return static_cast<f64>(values[at]) * 1e-6;
}

// `count` completions, at most o.clients at a time; prompt(i) is the i-th one's.
template <typename Prompt>
Result<std::vector<StreamTimes>> ask_all(const ServeBenchOptions& o, const Target& target,
                                         i64 count, const Prompt& prompt) {
  std::atomic<i64> next = 0;
  std::mutex mutex;
  std::vector<StreamTimes> done;
  Status status;
  auto client = [&] {
    for (i64 i = next++; i < count; i = next++) {
      Result<StreamTimes> times = stream_completion(target, prompt(i), o.output_tokens);
      std::lock_guard lock(mutex);
      if (times.ok()) {
        done.push_back(std::move(*times));
      } else {
        status = times.error();
      }
    }
  };
  std::vector<std::jthread> clients;
  for (i64 i = 0; i < o.clients; ++i) clients.emplace_back(client);
  clients.clear();
  TG_TRY(status);
  return done;
}

Status report_streams(const ServeBenchOptions& o, const std::vector<StreamTimes>& done) {
  i64 first = done[0].start_ns, last = 0;
  i64 prompt = 0, longest = 1, cached = 0, output = 0, worst = 0;
  std::vector<i64> ttft, gaps, between;
  for (const StreamTimes& t : done) {
    first = std::min(first, t.start_ns);
    if (!t.event_ns.empty()) last = std::max(last, t.event_ns.back());
    prompt += t.prompt_tokens;
    longest = std::max(longest, t.prompt_tokens);
    cached += t.cached_tokens;
    output += t.output_tokens;
    ttft.push_back(t.first_ns());
    worst = std::max(worst, t.worst_gap_ns());
    for (std::size_t i = 1; i < t.event_ns.size(); ++i)
      gaps.push_back(t.event_ns[i] - t.event_ns[i - 1]);
    if (t.output_tokens > 1 && t.event_ns.size() > 1)
      between.push_back((t.event_ns.back() - t.event_ns.front()) / (t.output_tokens - 1));
  }
  f64 seconds = static_cast<f64>(last - first) * 1e-9;
  Report report("serve", {"server", "case", "clients", "requests", "prompt tokens", "computed",
                          "x one prompt", "output tokens", "output tok/s", "TTFT p50 ms",
                          "TTFT p99 ms", "TPOT p50 ms", "gap p99 ms", "worst gap ms"});
  report.row({o.name, o.case_name, o.clients, static_cast<i64>(done.size()), prompt,
              prompt - cached, static_cast<f64>(prompt - cached) / static_cast<f64>(longest),
              output, static_cast<f64>(output) / seconds, quantile_ms(ttft, 0.5),
              quantile_ms(ttft, 0.99), quantile_ms(between, 0.5), quantile_ms(gaps, 0.99),
              static_cast<f64>(worst) * 1e-6});
  report.print(o.json);
  return report.plot(o.svg);
}

Status run_load(const ServeBenchOptions& o, const Target& target) {
  TG_ASSIGN(std::vector<StreamTimes> done, ask_all(o, target, o.requests, [&](i64 i) {
              return words_of(o.prompt_bytes, o.seed * 1'000'003 + static_cast<u64>(i));
            }));
  return report_streams(o, done);
}

Status run_prefix(const ServeBenchOptions& o, const Target& target) {
  std::string prefix = words_of(o.prompt_bytes, o.seed);
  TG_ASSIGN(std::vector<StreamTimes> done, ask_all(o, target, o.clients, [&](i64 i) {
              return prefix + words_of(o.own_bytes, o.seed + 77 + static_cast<u64>(i));
            }));
  return report_streams(o, done);
}

Status run_stall(const ServeBenchOptions& o, const Target& target) {
  constexpr i64 kVictimTokens = 256;
  constexpr i64 kHeadStartMs = 1'500;
  Result<StreamTimes> victim = Error{Code::kUnavailable, "not run"};
  std::jthread stream(
      [&] { victim = stream_completion(target, words_of(32, o.seed), kVictimTokens); });
  std::this_thread::sleep_for(std::chrono::milliseconds(kHeadStartMs));
  Result<StreamTimes> intruder = stream_completion(target, words_of(o.prompt_bytes, o.seed + 1), 8);
  stream.join();
  TG_TRY(victim);
  TG_TRY(intruder);
  std::vector<i64> gaps;
  for (std::size_t i = 1; i < victim->event_ns.size(); ++i)
    gaps.push_back(victim->event_ns[i] - victim->event_ns[i - 1]);
  Report report("serve", {"server", "case", "prompt tokens", "stream's gap p50 ms",
                          "stream's worst gap ms", "prompt's TTFT ms"});
  report.row({o.name, o.case_name, intruder->prompt_tokens, quantile_ms(gaps, 0.5),
              static_cast<f64>(victim->worst_gap_ns()) * 1e-6,
              static_cast<f64>(intruder->first_ns()) * 1e-6});
  report.print(o.json);
  return report.plot(o.svg);
}

}  // namespace

Status bench_serve(const ServeBenchOptions& options) {
  ServeBenchOptions o = options;
  if (o.case_name == "prefix" || o.case_name == "stall") o.requests = o.clients;
  OwnServer server;
  Target target;
  if (o.url.empty()) {
    if (o.name.empty()) o.name = "tokengrid";
    TG_TRY(server.start(o));
    target = server.target();
  } else {
    if (o.name.empty()) o.name = o.url;
    TG_ASSIGN(target, parse_url(o.url));
    target.key = o.key;
  }
  TG_ASSIGN(target.model, first_model(target));
  // The first request of a server pays for what it allocates late.
  TG_TRY(stream_completion(target, words_of(16, 99), 2));
  if (o.case_name == "prefix") return run_prefix(o, target);
  if (o.case_name == "stall") return run_stall(o, target);
  return run_load(o, target);
}

}  // namespace tg::apps
