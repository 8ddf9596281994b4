// The world under a virtual clock: a trace arrives at a gateway, whose router is the one we ship,
// devices take their steps, messages take their time, things go wrong. One thread, one seed: the
// same scenario, trace and seed give the same result to the last digit.
#pragma once

#include <memory>
#include <vector>

#include "dispatch/replica_set.h"
#include "dispatch/router.h"
#include "env/random.h"
#include "sim/result.h"
#include "sim/scenario.h"
#include "sim/standard_work.h"
#include "sim/trace.h"

namespace tg::sim {

class World {
 public:
  // Both are borrowed and must outlive the world. REQUIRES: suppliers, and faults that name them.
  World(const Scenario& scenario, const Trace& trace);
  ~World();

  RunResult run();

 private:
  enum class Kind : u8 {
    kHeld,      // its first hold is answered
    kSubmit,    // reaches the device
    kCancel,    // reaches the device
    kFund,      // reaches the device
    kStep,      // ends
    kFirst,     // reaches the gateway
    kEnd,       // reaches the gateway
    kLost,      // reaches the gateway
    kReport,    // is made
    kReported,  // reaches the gateway
    kFaultBegin,
    kFaultEnd,
    kScale,
    kStarted,  // a replica is loaded
    kReady,    // ... and taken in
    kMoney,    // the market hears how far requests are
  };
  struct Event {
    i64 at_ns = 0;
    u64 serial = 0;
    Kind kind = Kind::kSubmit;
    u32 supplier = 0;  // or the fault's number
    u64 id = 0;        // request and attempt; the epoch of a step
    i64 value = 0;
    friend bool operator<(const Event& a, const Event& b) {
      return a.at_ns != b.at_ns ? a.at_ns > b.at_ns : a.serial > b.serial;
    }
  };
  struct Live {
    u32 supplier = dispatch::kNobody;
    u32 attempt = 0;
    u64 sent = 0;       // the router's name for it
    i64 delivered = 0;  // output tokens of earlier attempts
    i64 finished = 0;   // ... of this one, once its device has said that it is over
    Money::Edge edge;   // of what is paid for, as its device was told
    bool is_open = false;
    bool is_streaming = false;  // its first token came
  };
  struct Supplier {
    std::unique_ptr<Device> device;
    u64 epoch = 0;  // of the device's life: steps of an earlier one never end
    bool is_down = false;
    bool is_cut = false;  // partitioned
    bool is_off = false;  // not started, or not taken in
    i64 heard_ns = 0;
    SupplierResult result;
  };

  // Of an attempt, as devices know it.
  static constexpr u64 kAttemptShift = 40;
  static constexpr u64 kRequestMask = (u64{1} << kAttemptShift) - 1;
  static u32 request_of(u64 id) { return static_cast<u32>(id & kRequestMask); }
  static u32 attempt_of(u64 id) { return static_cast<u32>(id >> kAttemptShift); }
  static u64 id_of(u32 request, u32 attempt) { return request | u64{attempt} << kAttemptShift; }

  void post(i64 at_ns, Kind kind, u32 supplier, u64 id, i64 value = 0);
  void arrive(u32 request);
  void admit(u32 request);
  void handle(const Event& e);
  void submit_at_device(const Event& e);
  void step_of(u32 supplier);
  void end_step(const Event& e);
  void first_at_gateway(const Event& e);
  void end_at_gateway(const Event& e);
  void finish(u32 request, i64 cached);
  void refuse(u32 request);
  void lose(u32 request, i64 produced, dispatch::Outcome outcome);
  void make_report(const Event& e);
  void take_report(const Event& e);
  void begin_fault(const Fault& fault);
  void end_fault(const Fault& fault);
  void pump();
  void note_energy(u32 supplier);
  // The money of requests, if there is any (spend.cc).
  void begin_money();
  bool has_funds(u32 request);
  i64 funded_tokens(u32 request, i64 output_tokens) const;
  void tell_market();
  void renew_holds();
  void hear_delivered(u32 request, i64 output_tokens);
  void fund(const Event& e);
  void close_money(u32 request, i64 cached);
  void begin_elastic();
  void scale();
  void carry_out(i64 loaded);
  i64 start_ns(i64 loaded, i64 before) const;
  void end_replica(u32 supplier);
  void replica_started(u32 supplier);
  void make_ready(u32 supplier);
  dispatch::SupplierView facts_of(const SupplierSpec& spec, SeededRandom& random) const;
  Summary summarise_requests() const;
  SupplierResult summarise_supplier(u32 supplier) const;
  void sum_suppliers(const std::vector<SupplierResult>& suppliers, Summary& s) const;
  RunResult collect();

  const Scenario& scenario_;
  const Trace& trace_;
  i64 now_ns_ = 0;
  u64 serial_ = 0;
  std::vector<Event> events_;  // heap, the earliest first
  std::vector<Supplier> suppliers_;
  std::vector<Live> live_;
  dispatch::Router router_;
  StandardWork standard_;
  std::unique_ptr<Money> money_;  // none: it is not simulated
  std::vector<u32> streaming_;
  i64 renewed_ns_ = 0;
  std::vector<RequestResult> results_;
  i64 open_ = 0;
  u32 next_ = 0;  // request to arrive
  f64 price_ = 0;
  f64 st_ = 0;
  i64 decision_ns_ = 0;
  dispatch::ReplicaSet replicas_;
  i64 ready_most_ = 0;
  i64 ready_most_ns_ = 0;
  i64 scaled_ns_ = 0;
  f64 replica_ns_ = 0;
  // scratch
  std::vector<dispatch::Sent> sent_;
  std::vector<dispatch::Refused> refused_;
  std::vector<dispatch::ReplicaOrder> orders_;
  std::vector<u64> firsts_;
  std::vector<DeviceFinish> finished_;
  std::vector<Drawn> drawn_;
};

RunResult run(const Scenario& scenario, const Trace& trace);

}  // namespace tg::sim
