// A loop of sockets that several folders share, so that what one reads another writes without a
// switch of threads in between. One of them lends it a thread, and ends it.
#pragma once

namespace boost::asio {
class io_context;
}  // namespace boost::asio

namespace tg {

class SharedLoop {
 public:
  virtual ~SharedLoop() = default;
  // For whoever knows it; the others hand it on.
  virtual boost::asio::io_context& context() = 0;
  // Destroys what waits on it; what is handed to it from now on is never done. REQUIRES: nobody
  // runs it any more.
  virtual void end() = 0;
};

}  // namespace tg
