// load() on arbitrary bytes: no crash, and whatever it accepts is canonical, prints and reads back.
#include <cstdlib>

#include "isa/assemble.h"
#include "isa/disassemble.h"
#include "isa/program.h"

extern "C" int LLVMFuzzerTestOneInput(const tg::u8* data, std::size_t size) {
  using namespace tg::isa;
  std::span<const tg::u8> bytes(data, size);
  tg::Result<VerifiedProgram> program = load(bytes);
  if (!program.ok()) return 0;
  if (!std::equal(bytes.begin(), bytes.end(), program->bytes().begin(), program->bytes().end()))
    std::abort();
  if (!program->flatten("main").ok()) std::abort();
  tg::Result<Program> again = assemble(disassemble(program->program()));
  if (!again.ok()) std::abort();
  tg::Result<VerifiedProgram> verified = verify(std::move(again).value());
  if (!verified.ok() || verified->bytes() != program->bytes()) std::abort();
  return 0;
}
