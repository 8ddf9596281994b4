// The verifier is the judge of the text; here its errors only get the architecture's name.
#include "model/import.h"

#include <fmt/format.h>

#include <algorithm>

#include "isa/assemble.h"
#include "model/architecture/architectures.h"
#include "model/architecture/decoder.h"
#include "model/architecture/encoder.h"
#include "model/architecture/shape.h"

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

struct Drawing {
  Blueprint blueprint;
  i64 vocabulary = 0;
  i64 context = 0;
};

Result<Drawing> draw(const gguf::File& file, const DecoderTraits& traits,
                     const ImportOptions& options) {
  if (traits.stack == Stack::kEncoder) {
    TG_ASSIGN(EncoderShape shape, read_encoder_shape(file, traits));
    TG_ASSIGN(Blueprint blueprint, draw_encoder(file, shape, options));
    return Drawing{std::move(blueprint), shape.vocabulary, shape.context};
  }
  TG_ASSIGN(DecoderShape shape, read_shape(file, traits, options));
  TG_ASSIGN(Blueprint blueprint, draw_decoder(file, traits, shape, options));
  return Drawing{std::move(blueprint), shape.vocabulary, shape.context};
}

}  // namespace

Result<Imported> import_program(const gguf::File& file, const ImportOptions& options) {
  TG_ASSIGN(std::optional<std::string_view> name, file.text("general.architecture"));
  if (!name.has_value())
    return Error{Code::kNotFound, "gguf: key 'general.architecture' is missing"};
  TG_ASSIGN(DecoderTraits traits, find_architecture(*name));
  TG_ASSIGN(Drawing drawing, draw(file, traits, options));
  Result<isa::VerifiedProgram> program = make_program(drawing.blueprint.text);
  if (!program.ok())
    return Error{program.error().code, fmt::format("{} program does not verify: {}", traits.name,
                                                   program.error().message)};
  std::vector<Binding> bindings =
      in_program_order(std::move(drawing.blueprint.bindings), program->program());
  return Imported{.program = std::move(*program),
                  .text = std::move(drawing.blueprint.text),
                  .bindings = std::move(bindings),
                  .derived = std::move(drawing.blueprint.derived),
                  .vocabulary = drawing.vocabulary,
                  .context = drawing.context};
}

}  // namespace tg::model
