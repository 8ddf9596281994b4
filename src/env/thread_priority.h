// How much of a busy core a thread asks for.
#pragma once

namespace tg {

// For a thread whose work nobody waits for: from now on whoever else wants its core goes before it
// (nice 10, of this thread alone). It must hold no lock that others need.
void step_back();

}  // namespace tg
