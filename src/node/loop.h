// The thread that carries this process's connections to other machines: engines, nodes, gateways.
// One is enough for hundreds of suppliers. Boost stays behind it, in net/.
#pragma once

#include <memory>

namespace tg::node {

class Loop {
 public:
  Loop();
  // Destroys what still waits on it, then joins. Suppliers and servers that use it must be gone.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace tg::node
