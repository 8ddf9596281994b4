#include "bench/gateway/runs.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench/gateway/client.h"

namespace tg::bench {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience(30);  // for the last answers of an open loop

i64 us_between(Instant from, Instant to) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(to - from).count() / 1'000;
}

Clock::duration seconds_of(f64 seconds) {
  return std::chrono::nanoseconds(static_cast<i64>(seconds * 1e9));
}

// Sorts what it is given.
Json quantiles(std::vector<i64>& values) {
  Json out = Json::object();
  if (values.empty()) return out;
  std::sort(values.begin(), values.end());
  for (auto [name, q] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}}) {
    f64 at = q * static_cast<f64>(values.size() - 1);
    out[name] = values[static_cast<std::size_t>(at)];
  }
  out["max"] = values.back();
  return out;
}

// What came of the requests of a window.
struct Tally {
  void add(const Outcome& outcome) {
    ++count;
    ++statuses[outcome.status];
    if (outcome.has_retry_after) ++retry_after;
    if (outcome.status != 200) return;
    ++ok;
    body_bytes += outcome.body_bytes;
    latency_us.push_back(us_between(outcome.due, outcome.done));
  }
  Json json() {
    Json by_status = Json::object();
    for (const auto& [status, n] : statuses) by_status[std::to_string(status)] = n;
    return {{"requests", count},
            {"ok", ok},
            {"statuses", by_status},
            {"retry_after", retry_after},
            {"body_bytes", ok == 0 ? 0 : body_bytes / ok},
            {"latency_us", quantiles(latency_us)}};
  }

  i64 count = 0;
  i64 ok = 0;
  i64 retry_after = 0;
  i64 body_bytes = 0;
  std::map<i32, i64> statuses;
  std::vector<i64> latency_us;
};

// A window over which processes' use is measured.
struct Window {
  void begin(const std::vector<i64>& pids) {
    from = Clock::now();
    before = use_of(pids);
  }
  void end(const std::vector<i64>& pids) {
    to = Clock::now();
    after = use_of(pids);
  }
  void write(Json& out, i64 things) const {
    out["seconds"] = static_cast<f64>(us_between(from, to)) * 1e-6;
    out["cpu_us"] = after.cpu_us - before.cpu_us;
    out["cpu_us_each"] =
        things == 0 ? 0.0
                    : static_cast<f64>(after.cpu_us - before.cpu_us) / static_cast<f64>(things);
    out["rss_kib_before"] = before.rss_kib;
    out["rss_kib"] = after.rss_kib;
  }

  Instant from;
  Instant to;
  ProcessUse before;
  ProcessUse after;
};

std::vector<std::unique_ptr<Client>> make_clients(asio::io_context& io, const LoadOptions& options,
                                                  Audience& audience) {
  std::vector<std::unique_ptr<Client>> clients;
  for (i64 i = 0; i < options.clients; ++i) {
    clients.push_back(std::make_unique<Client>(io, options.endpoint, options.request, audience));
  }
  return clients;
}

// From now for the options' seconds; then the run ends. All outlive it.
void measure(asio::io_context& io, asio::steady_timer& timer, const LoadOptions& options,
             Window& window, bool& is_measured) {
  is_measured = true;
  window.begin(options.pids);
  timer.expires_after(seconds_of(options.seconds));
  timer.async_wait([&](error_code) {
    window.end(options.pids);
    is_measured = false;
    io.stop();
  });
}

class ClosedRun final : public Audience {
 public:
  explicit ClosedRun(const LoadOptions& options)
      : options_(options), clients_(make_clients(io_, options, *this)), timer_(io_) {}

  std::string run() {
    for (std::unique_ptr<Client>& client : clients_) client->ask(Clock::now());
    timer_.expires_after(seconds_of(options_.warmup_seconds));
    timer_.async_wait(
        [this](error_code) { measure(io_, timer_, options_, window_, is_measured_); });
    io_.run();
    Json out = tally_.json();
    window_.write(out, tally_.ok);
    return out.dump();
  }

  void on_events(Client&, i64, Instant) override {}
  void on_done(Client& client, const Outcome& outcome) override {
    if (is_measured_) tally_.add(outcome);
    client.ask(Clock::now());
  }

 private:
  const LoadOptions& options_;
  asio::io_context io_{1};
  std::vector<std::unique_ptr<Client>> clients_;
  asio::steady_timer timer_;
  bool is_measured_ = false;
  Window window_;
  Tally tally_;
};

class OpenRun final : public Audience {
 public:
  explicit OpenRun(const LoadOptions& options)
      : options_(options),
        clients_(make_clients(io_, options, *this)),
        timer_(io_),
        dues_(due_times(options.segments, options.seed)) {
    for (std::unique_ptr<Client>& client : clients_) idle_.push_back(client.get());
  }

  std::string run() {
    window_.begin(options_.pids);
    start_ = Clock::now();
    wait();
    io_.run();
    Json out = all_.json();
    window_.write(out, all_.ok);
    out["unanswered"] = static_cast<i64>(dues_.size()) - all_.count;
    Json seconds = Json::array();
    for (auto& [second, tally] : by_second_) {
      Json one = tally.json();
      one["second"] = second;
      seconds.push_back(one);
    }
    out["by_second"] = seconds;
    return out.dump();
  }

  void on_events(Client&, i64, Instant) override {}
  void on_done(Client& client, const Outcome& outcome) override {
    all_.add(outcome);
    by_second_[us_between(start_, outcome.due) / 1'000'000].add(outcome);
    idle_.push_back(&client);
    send();
    if (all_.count < static_cast<i64>(dues_.size())) return;
    window_.end(options_.pids);
    io_.stop();
  }

 private:
  Instant due_at(std::size_t i) const { return start_ + std::chrono::nanoseconds(dues_[i]); }

  void wait() {
    if (next_ == dues_.size()) {
      timer_.expires_after(kPatience);
      timer_.async_wait([this](error_code error) {
        if (error) return;
        window_.end(options_.pids);
        io_.stop();
      });
      return;
    }
    timer_.expires_at(due_at(next_));
    timer_.async_wait([this](error_code error) {
      if (error) return;
      Instant now = Clock::now();
      while (next_ < dues_.size() && due_at(next_) <= now) waiting_.push_back(due_at(next_++));
      send();
      wait();
    });
  }

  void send() {
    while (!waiting_.empty() && !idle_.empty()) {
      Client* client = idle_.back();
      idle_.pop_back();
      Instant due = waiting_.front();
      waiting_.pop_front();
      client->ask(due);
    }
  }

  const LoadOptions& options_;
  asio::io_context io_{1};
  std::vector<std::unique_ptr<Client>> clients_;
  asio::steady_timer timer_;
  std::vector<i64> dues_;
  std::size_t next_ = 0;
  std::vector<Client*> idle_;
  std::deque<Instant> waiting_;
  Instant start_;
  Window window_;
  Tally all_;
  std::map<i64, Tally> by_second_;
};

class StreamsRun final : public Audience {
 public:
  explicit StreamsRun(const LoadOptions& options)
      : options_(options), clients_(make_clients(io_, options, *this)), timer_(io_) {}

  std::string run() {
    ProcessUse idle = use_of(options_.pids);
    start_ = Clock::now();
    open_next();
    io_.run();
    Json out = {{"streams", options_.clients},
                {"begun", begun_},
                {"ended_early", ended_},
                {"events", events_},
                {"statuses", failures_.json()["statuses"]},
                {"first_us", quantiles(first_us_)},
                {"gap_us", quantiles(gap_us_)}};
    window_.write(out, events_);
    out["rss_kib_before"] = idle.rss_kib;
    return out.dump();
  }

  void on_events(Client& client, i64 count, Instant now) override {
    if (!client.has_events) {
      ++begun_;
      first_us_.push_back(us_between(asked_[&client], now));
    }
    if (is_measured_) {
      events_ += count;
      if (client.has_events) gap_us_.push_back(us_between(client.last_event, now));
    }
    client.has_events = true;
    client.last_event = now;
  }
  void on_done(Client&, const Outcome& outcome) override {
    ++ended_;
    failures_.add(outcome);
  }

 private:
  // Evenly over the first half of the warm-up.
  void open_next() {
    f64 step = options_.warmup_seconds / 2 / static_cast<f64>(clients_.size());
    while (opened_ < clients_.size()) {
      Instant due = start_ + seconds_of(step * static_cast<f64>(opened_));
      if (due > Clock::now()) {
        timer_.expires_at(due);
        timer_.async_wait([this](error_code) { open_next(); });
        return;
      }
      Client* client = clients_[opened_++].get();
      asked_[client] = Clock::now();
      client->ask(Clock::now());
    }
    timer_.expires_at(start_ + seconds_of(options_.warmup_seconds));
    timer_.async_wait(
        [this](error_code) { measure(io_, timer_, options_, window_, is_measured_); });
  }

  const LoadOptions& options_;
  asio::io_context io_{1};
  std::vector<std::unique_ptr<Client>> clients_;
  asio::steady_timer timer_;
  std::map<const Client*, Instant> asked_;
  std::size_t opened_ = 0;
  Instant start_;
  bool is_measured_ = false;
  Window window_;
  i64 begun_ = 0;
  i64 ended_ = 0;
  i64 events_ = 0;
  Tally failures_;
  std::vector<i64> first_us_;
  std::vector<i64> gap_us_;
};

}  // namespace

std::string run_closed(const LoadOptions& options) {
  return ClosedRun(options).run();
}
std::string run_open(const LoadOptions& options) {
  return OpenRun(options).run();
}
std::string run_streams(const LoadOptions& options) {
  return StreamsRun(options).run();
}

}  // namespace tg::bench
