// For tests: a program with pseudo-random weights, and sequences that step through it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <sstream>

#include "isa/assemble.h"
#include "isa/codec.h"
#include "isa/reference/interpreter.h"

namespace tg::isa {

inline std::string read_testdata(const std::string& name) {
  std::string path = TG_SOURCE_DIR "/src/isa/testdata/";
  std::ifstream file(path.append(name));
  EXPECT_TRUE(file.good()) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline VerifiedProgram verified_text(const std::string& text) {
  Result<Program> program = assemble(text);
  EXPECT_TRUE(program.ok()) << program.error().message;
  Result<VerifiedProgram> result = verify(std::move(program).value());
  EXPECT_TRUE(result.ok()) << result.error().message;
  return std::move(result).value();
}

// Small Gaussian weights around 0 (around 1 for rank 1), quantised by each symbol's codec.
struct TestModel {
  explicit TestModel(const std::string& text, u32 seed = 1)
      : program(std::make_unique<VerifiedProgram>(verified_text(text))) {
    std::mt19937 random(seed);
    for (const WeightDecl& w : program->program().weights) {
      std::size_t layers = w.layers > 0 ? w.layers : 1;
      std::vector<std::span<const u8>> spans;
      for (std::size_t l = 0; l < layers; ++l) {
        storage.push_back(fill(w, random));
        spans.push_back(storage.back());
      }
      weights.by_symbol.push_back(std::move(spans));
    }
  }

  static std::vector<u8> fill(const WeightDecl& w, std::mt19937& random) {
    std::size_t columns = static_cast<std::size_t>(w.dims.back());
    std::size_t rows = 1;
    for (std::size_t i = 0; i + 1 < w.dims.size(); ++i) rows *= static_cast<std::size_t>(w.dims[i]);
    std::size_t bytes = static_cast<std::size_t>(row_bytes(w.codec, w.dims.back()));
    std::normal_distribution<f32> spread(w.dims.size() == 1 ? 1.0f : 0.0f,
                                         w.dims.size() == 1 ? 0.1f : 0.2f);
    std::vector<u8> out(rows * bytes);
    std::vector<f32> row(columns);
    for (std::size_t r = 0; r < rows; ++r) {
      for (f32& v : row) v = spread(random);
      quantize_row(w.codec, row, std::span<u8>(out).subspan(r * bytes, bytes));
    }
    return out;
  }

  Interpreter interpreter(Precision precision, i64 pages = 64,
                          const InterpreterOptions& options = {}) const {
    Result<Interpreter> made = Interpreter::make(*program, weights, precision, pages, options);
    EXPECT_TRUE(made.ok()) << made.error().message;
    return std::move(made).value();
  }

  // The elements of a symbol without layers, or of its layer 0, as stored.
  std::vector<f64> values(const std::string& name) const {
    std::span<const WeightDecl> decls = program->program().weights;
    std::size_t i = 0;
    while (decls[i].name != name) ++i;
    std::span<const u8> bytes = weights.by_symbol[i][0];
    std::size_t row = static_cast<std::size_t>(row_bytes(decls[i].codec, decls[i].dims.back()));
    std::vector<f32> elements(static_cast<std::size_t>(decls[i].dims.back()));
    std::vector<f64> out;
    for (std::size_t at = 0; at < bytes.size(); at += row) {
      dequantize_row(decls[i].codec, bytes.subspan(at, row), elements);
      out.insert(out.end(), elements.begin(), elements.end());
    }
    return out;
  }

  std::unique_ptr<VerifiedProgram> program;
  std::vector<std::vector<u8>> storage;
  WeightTable weights;
};

inline std::vector<i32> random_ids(std::mt19937& random, std::size_t n, i32 vocabulary) {
  std::vector<i32> ids(n);
  for (i32& id : ids) id = static_cast<i32>(random() % static_cast<u32>(vocabulary));
  return ids;
}

// A sequence with its pages; `tokens` grow as they are fed.
struct TestSequence {
  std::vector<i32> pages;
  i32 past = 0;
};

// Builds the arrays of one step.
struct TestBatch {
  std::vector<i32> ids, positions, cu{0}, past, page_begin{0}, pages, slots, rows;
  std::vector<SampleRow> params;
  std::vector<i32> tree, states;
  std::vector<Tensor> extra;

  // Feeds `fresh` to the sequence; logits for its last token if `wants_row`.
  void add(TestSequence& sequence, std::span<const i32> fresh, i32 page_tokens, bool wants_row) {
    past.push_back(sequence.past);
    for (i32 id : fresh) {
      ids.push_back(id);
      positions.push_back(sequence.past);
      i32 page = sequence.pages[static_cast<std::size_t>(sequence.past / page_tokens)];
      slots.push_back(page * page_tokens + sequence.past % page_tokens);
      ++sequence.past;
    }
    pages.insert(pages.end(), sequence.pages.begin(), sequence.pages.end());
    page_begin.push_back(static_cast<i32>(pages.size()));
    cu.push_back(static_cast<i32>(ids.size()));
    if (wants_row) rows.push_back(static_cast<i32>(ids.size()) - 1);
  }

  ReferenceBatch view() const {
    return {ids, positions, cu, past, page_begin, pages, slots, rows, params, tree, states, extra};
  }
};

}  // namespace tg::isa
