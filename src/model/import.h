// From a parsed model file to a verified program and the tensors behind its weight symbols. The
// same way in for every format: whatever reads the file ends in text assembly and the one verifier.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "isa/program.h"
#include "model/architecture/blueprint.h"
#include "model/gguf/reader.h"

namespace tg::model {

struct Imported {
  isa::VerifiedProgram program;
  std::string text;               // of the program, as its template wrote it
  std::vector<Binding> bindings;  // bindings[i] belongs to program().weights[i]; borrows the file
  DerivedTensors derived;         // what bindings borrow besides
  i64 vocabulary = 0;             // token ids
  i64 context = 0;                // tokens, as the file states it
};

// kUnsupported for an architecture that is not known; otherwise as the readers and templates of
// architecture/. The file's data is only read for tables that the program itself carries.
Result<Imported> import_program(const gguf::File& file, const ImportOptions& options);

}  // namespace tg::model
