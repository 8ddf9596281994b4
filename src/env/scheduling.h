// What a thread may ask of the system's scheduler.
#pragma once

namespace tg {

// For a thread that answers others and mostly waits: the calling thread gets its turn soon after it
// has something to do, in place of others that have not had theirs to the end, and for it takes
// shorter turns itself. Where the system knows no such thing (Linux before 6.12), nothing changes.
void ask_for_short_turns();

}  // namespace tg
