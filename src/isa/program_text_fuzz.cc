// assemble(), verify() and flatten() on arbitrary text: no crash, and whatever is accepted survives
// both round trips.
#include <cstdlib>

#include "base/bytes.h"
#include "isa/assemble.h"
#include "isa/disassemble.h"
#include "isa/program.h"

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  using namespace tg::isa;
  tg::Result<Program> program = assemble(tg::as_text({data, size}));
  if (!program.ok()) return 0;
  tg::Result<VerifiedProgram> verified = verify(std::move(program).value());
  if (!verified.ok()) return 0;
  if (!verified->flatten("main").ok()) std::abort();
  tg::Result<VerifiedProgram> loaded = load(verified->bytes());
  if (!loaded.ok() || loaded->id() != verified->id()) std::abort();
  tg::Result<Program> again = assemble(disassemble(verified->program()));
  if (!again.ok()) std::abort();
  tg::Result<VerifiedProgram> same = verify(std::move(again).value());
  if (!same.ok() || same->bytes() != verified->bytes()) std::abort();
  return 0;
}
