#include "node/process_launcher.h"

#include <signal.h>

#include <chrono>
#include <string_view>
#include <thread>

#include "base/log.h"

namespace tg::node {

namespace {

constexpr std::string_view kListening = "listening on ";
constexpr i64 kPollMs = 10;

std::string with_name(std::string argument, const std::string& name) {
  constexpr std::string_view kPlace = "{name}";
  for (std::size_t at = 0; (at = argument.find(kPlace, at)) != std::string::npos; at += name.size())
    argument.replace(at, kPlace.size(), name);
  return argument;
}

}  // namespace

ProcessLauncher::~ProcessLauncher() {
  for (auto& [slot, child] : children_) child.process->signal(SIGTERM);
  for (i64 ms = 0; ms < options_.stop_ms_max && !children_.empty(); ms += kPollMs) {
    std::erase_if(children_, [](auto& entry) { return entry.second.process->ended().has_value(); });
    if (!children_.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
  for (const auto& [slot, child] : children_)
    log_warn("autoscale", "{} does not end and is killed", child.name);
}

Status ProcessLauncher::start(u32 slot, const std::string& name) {
  TG_ASSERT(!children_.contains(slot));
  std::vector<std::string> argv;
  for (const std::string& argument : options_.command) argv.push_back(with_name(argument, name));
  Child child{.name = name};
  TG_ASSIGN(child.process, ChildProcess::start(argv));
  children_.emplace(slot, std::move(child));
  return {};
}

void ProcessLauncher::end(u32 slot) {
  auto found = children_.find(slot);
  if (found != children_.end()) found->second.process->signal(SIGTERM);
}

void ProcessLauncher::kill(u32 slot) {
  auto found = children_.find(slot);
  if (found != children_.end()) found->second.process->signal(SIGKILL);
}

fleet::LaunchedReplica ProcessLauncher::describe(u32 slot) const {
  auto found = children_.find(slot);
  if (found == children_.end()) return {};
  return {.process = found->second.process->id(), .address = found->second.address};
}

void ProcessLauncher::read(Child& child) {
  for (const std::string& line : child.process->read_lines()) {
    std::size_t at = line.find(kListening);
    if (at == std::string::npos || child.supplier != nullptr) continue;
    RemoteOptions remote = options_.remote;
    remote.address = line.substr(at + kListening.size());
    child.address = remote.address;
    Result<std::unique_ptr<RemoteSupplier>> started =
        RemoteSupplier::start(std::move(remote), loop_, clock_, random_);
    if (started.ok()) {
      child.supplier = std::move(*started);
      continue;
    }
    log_warn("autoscale", "{}: {}", child.name, started.error().message);
    child.process->signal(SIGTERM);
  }
}

std::string ProcessLauncher::why_ended(const Child& child, const std::string& how) const {
  if (child.supplier == nullptr || child.is_up) return how;
  std::string error = child.supplier->facts().last_error;
  return error.empty() ? how : how + "; " + error;
}

std::vector<fleet::LaunchEvent> ProcessLauncher::poll() {
  using Kind = fleet::LaunchEvent::Kind;
  std::vector<fleet::LaunchEvent> events;
  for (auto entry = children_.begin(); entry != children_.end();) {
    auto& [slot, child] = *entry;
    read(child);
    if (child.supplier != nullptr && !child.is_up && child.supplier->load().is_up) {
      child.is_up = true;
      events.push_back({.slot = slot, .kind = Kind::kUp, .supplier = child.supplier, .why = ""});
    }
    std::optional<std::string> how = child.process->ended();
    if (!how) {
      ++entry;
      continue;
    }
    events.push_back(
        {.slot = slot, .kind = Kind::kEnded, .supplier = nullptr, .why = why_ended(child, *how)});
    entry = children_.erase(entry);
  }
  return events;
}

}  // namespace tg::node
