// An encoder as a supplier: prompts in, one vector each out. One thread packs whole prompts into
// steps, in the order in which they came; there is no cache, so a prompt is never split.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>

#include "backend/executor.h"
#include "engine/run/attribution.h"
#include "fleet/energy_book.h"
#include "fleet/supplier.h"
#include "isa/program.h"
#include "isa/weights.h"
#include "node/embedded.h"

namespace tg::node {

// Whether the program's first result is one row of floats for each sequence, and it keeps nothing
// between steps.
bool makes_embeddings(const isa::Program& program);
// Floats of its vectors. REQUIRES: makes_embeddings().
i64 embedding_width(const isa::Program& program);

class EncoderSupplier final : public LocalEngine {
 public:
  // Packs the weights and starts the thread. Of the options, those of KV and sampling are ignored.
  // Program, weights and clock must outlive the supplier. kUnsupported if the program makes none.
  static Result<std::unique_ptr<EncoderSupplier>> start(const isa::VerifiedProgram& program,
                                                        const isa::WeightTable& weights,
                                                        const EmbeddedOptions& options,
                                                        Clock& clock);
  // Cancels what waits, delivers the last events and joins the thread.
  ~EncoderSupplier() override;
  EncoderSupplier(const EncoderSupplier&) = delete;
  EncoderSupplier& operator=(const EncoderSupplier&) = delete;

  // kUnsupported unless is_embedding.
  Status submit(fleet::SupplyRequest request) override;
  void cancel(u64 id) override;
  fleet::SupplierLoad load() const override;

  const std::string& device_name() const override { return device_name_; }
  i64 context_max() const override { return context_max_; }
  i64 open() const override { return open_; }
  // Floats of a vector.
  i64 width() const { return executor_->vocabulary(); }

 private:
  struct Waiting {
    fleet::SupplyRequest request;
    i64 submitted_ns = 0;
  };
  struct Cancel {
    u64 id;
  };
  using Command = std::variant<Waiting, Cancel>;
  // The arrays of one step; reserved for the executor's limits.
  struct Packed {
    std::vector<i32> ids;
    std::vector<i32> positions;
    std::vector<i32> cu;
    std::vector<i32> zeros;  // past, and page_begin with one more
    std::vector<i32> slots;
    std::vector<engine::BatchPart> parts;
  };

  EncoderSupplier(std::unique_ptr<backend::Executor> executor, const isa::VerifiedProgram& program,
                  const EmbeddedOptions& options, Clock& clock);
  void run();
  void obey(Command& command);
  i64 pack();
  void step();
  void finish(Waiting& done, fleet::SupplierEvent event);
  void take_snapshot();

  // Set at construction.
  std::unique_ptr<backend::Executor> executor_;
  const std::string device_name_;
  const i64 context_max_;
  const i64 open_max_;
  Clock& clock_;

  // The thread's only.
  engine::Attribution attribution_;
  fleet::EnergyBook energy_;
  std::deque<Waiting> waiting_;
  Packed packed_;
  fleet::SupplierLoad totals_;

  Mailbox<Command> inbox_;
  std::atomic<i64> open_ = 0;
  mutable std::mutex snapshot_mutex_;
  fleet::SupplierLoad snapshot_;
  std::thread thread_;
};

}  // namespace tg::node
