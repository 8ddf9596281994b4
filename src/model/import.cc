// The verifier is the judge of the text; here its errors only get the architecture's name.
#include "model/import.h"

#include <fmt/format.h>

#include <algorithm>

#include "isa/assemble.h"
#include "model/architecture/architectures.h"

namespace tg::model {
namespace {

Result<isa::VerifiedProgram> make_program(const std::string& text) {
  TG_ASSIGN(isa::Program program, isa::assemble(text));
  return isa::verify(std::move(program));
}

// Puts the bindings in the order of the program's weights, whatever order it keeps.
std::vector<Binding> in_program_order(std::vector<Binding> bindings, const isa::Program& program) {
  std::vector<Binding> out;
  for (const isa::WeightDecl& weight : program.weights) {
    std::vector<Binding>::iterator found =
        std::find_if(bindings.begin(), bindings.end(),
                     [&](const Binding& binding) { return binding.symbol == weight.name; });
    TG_ASSERT(found != bindings.end());
    TG_ASSERT(found->tensors.size() == std::max<u32>(weight.layers, 1));
    out.push_back(std::move(*found));
  }
  return out;
}

}  // namespace

Result<Imported> import_program(const gguf::File& file, const ImportOptions& options) {
  TG_ASSIGN(std::optional<std::string_view> name, file.text("general.architecture"));
  if (!name.has_value())
    return Error{Code::kNotFound, "gguf: key 'general.architecture' is missing"};
  TG_ASSIGN(DecoderTraits traits, find_architecture(*name));
  TG_ASSIGN(DecoderShape shape, read_shape(file, traits));
  TG_ASSIGN(Blueprint blueprint, draw_llama(file, traits, shape, options));
  Result<isa::VerifiedProgram> program = make_program(blueprint.text);
  if (!program.ok())
    return Error{program.error().code, fmt::format("{} program does not verify: {}", traits.name,
                                                   program.error().message)};
  std::vector<Binding> bindings =
      in_program_order(std::move(blueprint.bindings), program->program());
  return Imported{std::move(*program), std::move(bindings), shape.vocabulary, shape.context};
}

}  // namespace tg::model
