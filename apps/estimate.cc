// `tokengrid estimate`: what a request is worth before it is sent, from the model's program alone.
#include <fmt/format.h>

#include <memory>
#include <vector>

#include "apps/any_program.h"
#include "apps/commands.h"
#include "apps/import_flags.h"
#include "base/hash.h"
#include "base/json_out.h"
#include "market/tariff.h"
#include "unit/nominal.h"

namespace tg::apps {

namespace {

struct EstimateOptions {
  std::string model;
  i64 prompt = 0;
  i64 cached = 0;
  i64 output = 0;
  i64 choices = 1;
  bool embedding = false;
  bool json = false;
  ImportFlags import;
};

void print_json(const EstimateOptions& o, const isa::VerifiedProgram& program,
                const unit::NominalWork& work, i64 value) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("nominal_nst").number(work.total.value);
  json.key("input_nst").number(work.input.value).key("output_nst").number(work.output.value);
  json.key("nominal_st").string(unit::to_decimal(work.total));
  json.key("prompt_tokens").number(o.prompt).key("cached_tokens").number(o.cached);
  json.key("output_tokens").number(o.output).key("choices").number(o.choices);
  json.key("embedding").boolean(o.embedding);
  json.key("list_value_ucredit")
      .number(value)
      .key("program")
      .string(to_hex(program.id()))
      .end_object();
  fmt::print("{}\n", out);
}

Status estimate(const EstimateOptions& o) {
  if (o.embedding && o.output != 0)
    return Error{Code::kInvalid, "--embedding has no output tokens"};
  TG_ASSIGN(isa::VerifiedProgram program, load_any_program(o.model, o.import.over()));
  std::vector<i64> outputs(o.embedding ? 0 : static_cast<std::size_t>(o.choices), o.output);
  TG_ASSIGN(unit::NominalWork work, unit::nominal_work(program.cost(), {.prompt = o.prompt,
                                                                        .cached = o.cached,
                                                                        .outputs = outputs,
                                                                        .embedding = o.embedding}));
  market::Tariff tariff;
  i64 value = market::list_value_ucredit(tariff, work.total.value);
  if (o.json) {
    print_json(o, program, work, value);
  } else {
    fmt::print("{} prompt tokens ({} cached), {} x {} output tokens of {}\n", o.prompt, o.cached,
               o.choices, o.output, o.model);
    fmt::print(
        "  input   {:>20} ST\n  output  {:>20} ST\n  total   {:>20} ST   ({}.{:06} credit at list "
        "price)\n",
        unit::to_decimal(work.input), unit::to_decimal(work.output), unit::to_decimal(work.total),
        value / 1'000'000, value % 1'000'000);
  }
  return {};
}

}  // namespace

void add_estimate(CLI::App& root, int& exit_status) {
  std::shared_ptr<EstimateOptions> o = std::make_shared<EstimateOptions>();
  CLI::App* command =
      root.add_subcommand("estimate", "Standard tokens of a request before it is sent");
  command
      ->add_option("-m,--model", o->model,
                   "program, model file or model directory (weights are not needed)")
      ->required();
  command->add_option("--prompt-tokens", o->prompt, "prompt tokens")->required();
  command->add_option("--cached-tokens", o->cached, "of them, served from a prefix cache");
  command->add_option("--output-tokens", o->output, "output tokens of each choice");
  command->add_option("--choices", o->choices, "choices sharing the prompt")
      ->check(CLI::Range(1, 128));
  command->add_flag("--embedding", o->embedding, "an embedding: no logits, no output");
  add_import_flags(*command, o->import);
  command->add_flag("--json", o->json, "machine-readable output");
  command->callback([o, &exit_status] { exit_status = report(estimate(*o)); });
}

}  // namespace tg::apps
