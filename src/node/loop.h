// The loop that carries this process's connections to other machines: engines, nodes, gateways. One
// is enough for hundreds of suppliers. Boost stays behind it, in net/.
#pragma once

#include <memory>

#include "base/types.h"
#include "env/shared_loop.h"

namespace tg::node {

class Loop final : public SharedLoop {
 public:
  // kLent: whoever shares it runs it; until then nothing moves on it.
  enum class Thread { kOwn, kLent };
  explicit Loop(Thread thread = Thread::kOwn);
  // Destroys what still waits on it, then joins. Suppliers and servers that use it must be gone.
  ~Loop() override;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  boost::asio::io_context& context() override;
  void end() override;
  // Lends a kLent loop the caller's thread for so long.
  void run_for_ms(i64 ms);

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace tg::node
