#include "node/bus/bus.h"

#include <nats/nats.h>

#include <algorithm>

namespace tg::node {
namespace {

constexpr i64 kNsPerMs = 1'000'000;
constexpr i64 kWaitMs = 1'000;
constexpr i64 kReconnectMs = 200;
constexpr i64 kKeepDays = 30;
constexpr i64 kKeysMax = 10'000;

template <typename T, void (*kDestroy)(T*)>
struct Destroy {
  void operator()(T* p) const { kDestroy(p); }
};
template <typename T, void (*kDestroy)(T*)>
using Owned = std::unique_ptr<T, Destroy<T, kDestroy>>;

Error failed(const char* what, natsStatus status) {
  return Error{Code::kUnavailable,
               std::string("NATS: ") + what + ": " + natsStatus_GetText(status)};
}

}  // namespace

struct Bus::State {
  Owned<natsOptions, natsOptions_Destroy> options;
  Owned<natsConnection, natsConnection_Destroy> connection;
  Owned<jsCtx, jsCtx_Destroy> stream;
  // Made when first needed, and again after a server that lost them.
  Owned<kvStore, kvStore_Destroy> bucket;
  bool has_usage = false;

  Status open_stream();
  Status open_bucket();
  Status open_usage();
};

Status Bus::State::open_stream() {
  if (natsConnection_Status(connection.get()) != NATS_CONN_STATUS_CONNECTED)
    return Error{Code::kUnavailable, "NATS is not reached"};
  if (stream != nullptr) return {};
  jsOptions waits;
  jsOptions_Init(&waits);
  waits.Wait = kWaitMs;
  jsCtx* made = nullptr;
  natsStatus status = natsConnection_JetStream(&made, connection.get(), &waits);
  if (status != NATS_OK) return failed("JetStream", status);
  stream.reset(made);
  return {};
}

Status Bus::State::open_bucket() {
  TG_TRY(open_stream());
  if (bucket != nullptr) return {};
  kvConfig config;
  kvConfig_Init(&config);
  config.Bucket = kLeaseBucket;
  config.History = 1;
  config.TTL = kLeaseMs * kNsPerMs;
  // Leases are renewed every second: nothing is lost with them.
  config.StorageType = js_MemoryStorage;
  kvStore* made = nullptr;
  natsStatus status = js_CreateKeyValue(&made, stream.get(), &config);
  if (status != NATS_OK) status = js_KeyValue(&made, stream.get(), kLeaseBucket);
  if (status != NATS_OK) return failed("the bucket of leases", status);
  bucket.reset(made);
  return {};
}

Status Bus::State::open_usage() {
  TG_TRY(open_stream());
  if (has_usage) return {};
  const char* subjects[] = {kUsageSubjects};
  jsStreamConfig config;
  jsStreamConfig_Init(&config);
  config.Name = kUsageStream;
  config.Subjects = subjects;
  config.SubjectsLen = 1;
  config.Storage = js_FileStorage;
  config.MaxAge = kKeepDays * 24 * 3'600 * 1'000 * kNsPerMs;
  jsErrCode code = static_cast<jsErrCode>(0);
  natsStatus status = js_AddStream(nullptr, stream.get(), &config, nullptr, &code);
  bool is_there = status == NATS_OK || code == JSStreamNameExistErr;
  if (!is_there) return failed("the stream of usage", status);
  has_usage = true;
  return {};
}

Bus::Bus(std::unique_ptr<State> state) : state_(std::move(state)) {}
Bus::~Bus() = default;

Result<std::unique_ptr<Bus>> Bus::connect(const std::string& url, const std::string& name) {
  std::unique_ptr<State> state = std::make_unique<State>();
  natsOptions* options = nullptr;
  natsStatus status = natsOptions_Create(&options);
  if (status != NATS_OK) return failed("options", status);
  state->options.reset(options);
  status = natsOptions_SetURL(options, url.c_str());
  if (status != NATS_OK)
    return Error{Code::kInvalid, "'" + url + "' is no URL of a NATS server (nats://host:port)"};
  natsOptions_SetName(options, name.c_str());
  natsOptions_SetMaxReconnect(options, -1);
  natsOptions_SetReconnectWait(options, kReconnectMs);
  natsOptions_SetTimeout(options, kWaitMs);
  natsOptions_SetPingInterval(options, 2 * kWaitMs);
  natsOptions_SetMaxPingsOut(options, 2);
  // Without a handler the library would wait for the first connection.
  natsOptions_SetRetryOnFailedConnect(
      options, true, [](natsConnection*, void*) {}, nullptr);
  natsConnection* connection = nullptr;
  status = natsConnection_Connect(&connection, options);
  if (status != NATS_OK && status != NATS_NOT_YET_CONNECTED) return failed(url.c_str(), status);
  state->connection.reset(connection);
  return std::unique_ptr<Bus>(new Bus(std::move(state)));
}

bool Bus::is_connected() const {
  return natsConnection_Status(state_->connection.get()) == NATS_CONN_STATUS_CONNECTED;
}

Status Bus::put_lease(const std::string& key, const std::string& value) {
  TG_TRY(state_->open_bucket());
  natsStatus status = kvStore_PutString(nullptr, state_->bucket.get(), key.c_str(), value.c_str());
  if (status == NATS_OK) return {};
  state_->bucket.reset();
  return failed("a lease", status);
}

Status Bus::delete_lease(const std::string& key) {
  TG_TRY(state_->open_bucket());
  natsStatus status = kvStore_Delete(state_->bucket.get(), key.c_str());
  if (status == NATS_OK) return {};
  state_->bucket.reset();
  return failed("a lease", status);
}

Result<std::vector<Lease>> Bus::leases() {
  TG_TRY(state_->open_bucket());
  kvKeysList keys{};
  kvWatchOptions options;
  kvWatchOptions_Init(&options);
  options.Timeout = kWaitMs;
  natsStatus status = kvStore_Keys(&keys, state_->bucket.get(), &options);
  std::vector<Lease> leases;
  if (status != NATS_OK) {
    state_->bucket.reset();
    return failed("the leases", status);
  }
  for (i64 i = 0; i < std::min<i64>(keys.Count, kKeysMax); ++i) {
    kvEntry* entry = nullptr;
    status = kvStore_Get(&entry, state_->bucket.get(), keys.Keys[i]);
    // It may have expired meanwhile.
    if (status != NATS_OK) continue;
    Owned<kvEntry, kvEntry_Destroy> owned(entry);
    const char* bytes = static_cast<const char*>(kvEntry_Value(entry));
    i64 size = kvEntry_ValueLen(entry);
    leases.push_back({keys.Keys[i], std::string(bytes, static_cast<std::size_t>(size))});
  }
  kvKeysList_Destroy(&keys);
  return leases;
}

Status Bus::advertise(const std::string& subject, const std::string& text) {
  if (!is_connected()) return Error{Code::kUnavailable, "NATS is not reached"};
  natsStatus status =
      natsConnection_PublishString(state_->connection.get(), subject.c_str(), text.c_str());
  if (status == NATS_OK) return {};
  return failed("an advert", status);
}

Status Bus::publish_durably(const std::string& subject, const std::string& text,
                            const std::string& id) {
  TG_TRY(state_->open_usage());
  jsPubOptions options;
  jsPubOptions_Init(&options);
  options.MaxWait = kWaitMs;
  options.MsgId = id.c_str();
  natsStatus status = js_Publish(nullptr, state_->stream.get(), subject.c_str(), text.data(),
                                 static_cast<i32>(text.size()), &options, nullptr);
  if (status == NATS_OK) return {};
  // A server that started anew may have no stream.
  state_->has_usage = false;
  return failed("a record", status);
}

std::string lease_key(const std::string& name) {
  std::string key = name;
  for (char& c : key) {
    bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_';
    if (!is_plain) c = '_';
  }
  return key.empty() ? "_" : key;
}

}  // namespace tg::node
