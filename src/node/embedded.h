// The embedded engine as a supplier: one thread drives schedule -> run -> commit; requests and
// cancellations come in through a mailbox, tokens and usage go out through each request's own.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>

#include "backend/executor.h"
#include "engine/engine.h"
#include "fleet/energy_book.h"
#include "grammar/cache.h"
#include "isa/program.h"
#include "isa/weights.h"
#include "node/grammar_mask.h"
#include "node/local_engine.h"

namespace tg::node {

struct EmbeddedOptions {
  std::string backend = "cpu";
  i32 threads = 0;      // 0: one per core
  i64 context_max = 0;  // 0: the program's bound
  i64 kv_tokens = 0;    // KV pool in tokens; 0: room for eight full contexts
  i64 swap_tokens = 0;  // of the host's memory, for keys of requests that gave way
  u64 memory_max = 0;   // bytes on the device, in all; 0: as much as there is
  backend::MemoryBudget* budget = nullptr;  // shared with other engines, outlives them; none: any
  engine::EngineLimits engine;
  backend::PackedFile packed;  // where packed weights are kept between starts
  // For replies with a shape; none: they are refused. Shared with whoever checks shapes before.
  std::shared_ptr<grammar::ModelGrammars> grammars = {};
  // The folder of Linux' powercap, for an engine that has the machine to itself; a GPU has a meter
  // of its own. "": no meter.
  std::string powercap;
  f64 watts = 0;  // drawn while it computes, where there is no meter; 0: not known
  i64 step_ns_min =
      0;  // a step takes at least so long, as on a slower device; 0: as long as it does
};

// Null if there is none.
std::unique_ptr<fleet::EnergyMeter> open_meter(const EmbeddedOptions& options);

class EmbeddedSupplier final : public LocalEngine {
 public:
  // Packs the weights, allocates the KV pool and starts the engine's thread. Program, weights and
  // clock must outlive the supplier.
  static Result<std::unique_ptr<EmbeddedSupplier>> start(const isa::VerifiedProgram& program,
                                                         const isa::WeightTable& weights,
                                                         const EmbeddedOptions& options,
                                                         Clock& clock);
  // Cancels what runs, delivers the last events and joins the thread.
  ~EmbeddedSupplier() override;
  EmbeddedSupplier(const EmbeddedSupplier&) = delete;
  EmbeddedSupplier& operator=(const EmbeddedSupplier&) = delete;

  // Compiles the reply's shape if `grammars` does not have it yet.
  Status submit(fleet::SupplyRequest request) override;
  void cancel(u64 id) override;
  Status extend(u64 id, i64 funded_tokens, bool is_final) override;
  fleet::SupplierLoad load() const override;

  const std::string& device_name() const override { return device_name_; }
  i64 context_max() const override { return context_max_; }
  i64 open() const override { return open_; }
  // Since the start, in steps and in what lies between them while there is work.
  i64 busy_ns() const { return busy_ns_; }
  const MaskWorker& mask_worker() const { return mask_worker_; }

 private:
  struct Cancel {
    u64 id;
  };
  struct Extend {
    u64 id;
    i64 funded_tokens;
    bool is_final;
  };
  struct Begin {
    fleet::SupplyRequest request;
    std::unique_ptr<GrammarMask> mask;  // none: the reply has no shape
  };
  using Command = std::variant<Begin, Cancel, Extend>;
  using Events = std::shared_ptr<Mailbox<fleet::SupplierEvent>>;

  EmbeddedSupplier(std::unique_ptr<backend::Executor> executor, const isa::VerifiedProgram& program,
                   const EmbeddedOptions& options, Clock& clock);
  void run();
  void shut_down();
  void obey(Command& command);
  void begin(Begin& command);
  Result<std::unique_ptr<GrammarMask>> mask_of(const grammar::ReplyShape& shape);
  void note_turn(const engine::StepSize& size, i64 turn_ns, i64 step_ns);
  void take_energy();
  void note_energy(const engine::StepResult& result);
  void deliver(engine::StepResult& result);
  void send(fleet::SupplierEvent event);
  void take_snapshot();

  // Set at construction.
  std::unique_ptr<backend::Executor> executor_;
  const std::string device_name_;
  const i64 context_max_;
  const i64 open_max_;
  const std::shared_ptr<grammar::ModelGrammars> grammars_;
  MaskWorker mask_worker_;

  // The engine's thread only.
  engine::Engine engine_;
  engine::StepModel between_;  // of a turn of the loop, what the engine does not know of
  std::unordered_map<u64, Events> events_;
  fleet::EnergyBook energy_;
  Clock& clock_;

  Mailbox<Command> inbox_;
  std::atomic<i64> open_ = 0;
  std::atomic<i64> busy_ns_ = 0;
  mutable std::mutex snapshot_mutex_;
  fleet::SupplierLoad snapshot_;
  std::thread thread_;
};

}  // namespace tg::node
