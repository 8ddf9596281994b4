// A flag that a poll loop can watch: an eventfd raised by one thread and cleared by another.
#pragma once

namespace tg {

class Wakeup {
 public:
  Wakeup();
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  int fd() const { return fd_; }
  void raise();
  void clear();

 private:
  int fd_;
};

}  // namespace tg
