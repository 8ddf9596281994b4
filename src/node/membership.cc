#include "node/membership.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/json_out.h"
#include "base/log.h"

namespace tg::node {
namespace {

using Json = nlohmann::json;

constexpr i64 kRenewMs = 1'000;
constexpr i64 kAdvertMs = 100;
constexpr i64 kSettleNs = 2 * kLeaseMs * 1'000'000;
constexpr std::size_t kFieldBytesMax = 512;

std::string advert_json(const Advert& advert) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("name").string(advert.name).key("address").string(advert.address);
  json.key("model").string(advert.model).key("program").string(to_hex(advert.program));
  json.key("zone").string(advert.zone).key("key").string(advert.key).end_object();
  return out;
}

std::string seal_of(std::string_view json, const std::string& token) {
  std::string text = "tokengrid-advert/1\n" + std::string(json);
  return to_hex(hmac_sha256(as_bytes(token), as_bytes(text)));
}

std::string load_json(const Advert& advert, const fleet::SupplierLoad& load, Clock& clock) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("name").string(advert.name);
  json.key("time").string(to_rfc3339(clock.now()));
  json.key("running").number(load.running).key("waiting").number(load.waiting);
  json.key("kv_pages_free").number(load.kv_pages_free);
  json.key("kv_pages_total").number(load.kv_pages_total);
  json.key("output_tokens").number_u64(load.output_tokens);
  json.key("ns_per_step").real(load.step.ns_per_step);
  json.key("ns_per_token").real(load.step.ns_per_token).end_object();
  return out;
}

Result<std::string> text_field(const Json& json, const char* name) {
  Json::const_iterator found = json.find(name);
  bool is_text = found != json.end() && found->is_string() &&
                 found->get_ref<const std::string&>().size() <= kFieldBytesMax;
  if (!is_text) return Error{Code::kInvalid, std::string("an advert's ") + name + " is no text"};
  return found->get<std::string>();
}

}  // namespace

std::string advert_text(const Advert& advert, const std::string& token) {
  std::string json = advert_json(advert);
  return json + "\n" + seal_of(json, token) + "\n";
}

Result<Advert> parse_advert(std::string_view text, const std::string& token) {
  if (text.size() > kAdvertBytesMax) return Error{Code::kInvalid, "an advert is too long"};
  std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return Error{Code::kInvalid, "an advert has no seal"};
  std::string_view json_text = text.substr(0, end);
  if (text.substr(end + 1) != seal_of(json_text, token) + "\n")
    return Error{Code::kDenied, "an advert is not sealed with our join token"};
  Json json = Json::parse(json_text, nullptr, false);
  if (!json.is_object()) return Error{Code::kInvalid, "an advert is no JSON object"};
  Advert advert;
  TG_ASSIGN(advert.name, text_field(json, "name"));
  TG_ASSIGN(advert.address, text_field(json, "address"));
  TG_ASSIGN(advert.model, text_field(json, "model"));
  TG_ASSIGN(advert.zone, text_field(json, "zone"));
  TG_ASSIGN(advert.key, text_field(json, "key"));
  TG_ASSIGN(std::string program, text_field(json, "program"));
  TG_ASSIGN(std::vector<u8> digest, from_hex(program));
  if (digest.size() != advert.program.size())
    return Error{Code::kInvalid, "an advert's program is no digest: " + program};
  std::copy(digest.begin(), digest.end(), advert.program.begin());
  return advert;
}

Result<std::unique_ptr<Membership>> Membership::announce(const std::string& nats_url,
                                                         const std::string& token, Advert advert,
                                                         const fleet::Supplier& supplier,
                                                         Clock& clock) {
  TG_ASSIGN(std::unique_ptr<Bus> bus, Bus::connect(nats_url, advert.name));
  return std::unique_ptr<Membership>(
      new Membership(std::move(bus), token, std::move(advert), supplier, clock));
}

Membership::Membership(std::unique_ptr<Bus> bus, std::string token, Advert advert,
                       const fleet::Supplier& supplier, Clock& clock)
    : bus_(std::move(bus)),
      token_(std::move(token)),
      advert_(std::move(advert)),
      supplier_(supplier),
      clock_(clock) {
  thread_ = std::thread([this] { run(); });
}

Membership::~Membership() {
  {
    std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Membership::drain() {
  std::lock_guard lock(mutex_);
  is_draining_ = true;
  changed_.notify_all();
}

void Membership::run() {
  std::string key = lease_key(advert_.name);
  std::string lease = advert_text(advert_, token_);
  std::string subject = "tokengrid.load." + key;
  i64 renewed_ns = 0;
  bool was_there = true;
  std::unique_lock lock(mutex_);
  while (!is_stopped_ && !is_draining_) {
    lock.unlock();
    i64 now_ns = clock_.monotonic_ns();
    if (renewed_ns == 0 || now_ns - renewed_ns >= kRenewMs * 1'000'000) {
      Status renewed = bus_->put_lease(key, lease);
      if (renewed.ok() != was_there)
        log_info("node", "the lease of {} {}", advert_.name,
                 renewed.ok() ? "is kept" : "cannot be renewed: " + renewed.error().message);
      was_there = renewed.ok();
      renewed_ns = now_ns;
    }
    // Whoever misses one gets the next.
    Status ignored = bus_->advertise(subject, load_json(advert_, supplier_.load(), clock_));
    static_cast<void>(ignored);
    lock.lock();
    changed_.wait_for(lock, std::chrono::milliseconds(kAdvertMs));
  }
  lock.unlock();
  Status gone = bus_->delete_lease(key);
  if (!gone.ok())
    log_info("node", "the lease of {} will expire: {}", advert_.name, gone.error().message);
}

MemberWatch::Change MemberWatch::look(Bus& bus, i64 now_ns) {
  Change change;
  Result<std::vector<Lease>> leases = bus.leases();
  if (!leases.ok()) {
    back_ns_ = 0;
    return change;
  }
  if (back_ns_ == 0) back_ns_ = now_ns;
  for (const Lease& lease : *leases) {
    Result<Advert> advert = parse_advert(lease.value, token_);
    if (!advert.ok()) {
      log_warn("node", "lease {}: {}", lease.key, advert.error().message);
      continue;
    }
    std::size_t i = 0;
    while (i < known_.size() && known_[i].name != advert->name) ++i;
    if (i == known_.size()) {
      known_.emplace_back();
      seen_ns_.push_back(0);
    }
    seen_ns_[i] = now_ns;
    if (known_[i] == *advert) continue;
    known_[i] = *advert;
    change.joined.push_back(*advert);
  }
  bool is_settled = now_ns - back_ns_ >= kSettleNs;
  for (std::size_t i = known_.size(); i-- > 0 && is_settled;) {
    if (now_ns - seen_ns_[i] < kLeaseMs * 1'000'000) continue;
    change.left.push_back(known_[i].name);
    known_.erase(known_.begin() + static_cast<i64>(i));
    seen_ns_.erase(seen_ns_.begin() + static_cast<i64>(i));
  }
  return change;
}

void UsageOutbox::add(std::string json) {
  if (waiting_.size() >= kOutboxMax) {
    waiting_.erase(waiting_.begin());
    ++next_;
    ++dropped_;
  }
  waiting_.push_back(std::move(json));
}

std::size_t UsageOutbox::flush(Bus& bus) {
  std::string subject = "tokengrid.usage." + lease_key(gateway_);
  std::size_t done = 0;
  for (; done < waiting_.size(); ++done) {
    std::string id = gateway_ + "/" + std::to_string(instance_) + "/" + std::to_string(next_);
    if (!bus.publish_durably(subject, waiting_[done], id).ok()) break;
    ++next_;
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<i64>(done));
  return waiting_.size();
}

}  // namespace tg::node
