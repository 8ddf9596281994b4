// The standard from the command line: every family's golden program is shown, verified, costed and carried as bytes; a
// price follows from a program, a header or a bare configuration alike; a port is judged by the conformance suite.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { json, root, run, scratch } from './harness.mjs';

const golden = join(root, 'src/model/architecture/testdata/golden');
const programs = readdirSync(golden).filter((name) => name.endsWith('.tga'));

test('every golden program is shown, verified and costed', async () => {
  assert.ok(programs.length >= 12, programs.join(' '));
  for (const name of programs) {
    const file = join(golden, name);
    const shown = await run('program', 'show', file);
    assert.equal(shown.status, 0, shown.stderr);
    assert.match(shown.stdout, /\.func main/, name);
    const verified = await json('program', 'verify', file, '--json');
    const cost = await json('program', 'cost', file, '--json', '--new', '3', '--cached', '5', '--rows', '1');
    assert.equal(cost.id, verified.id, name);
    assert.ok(BigInt(cost.step_atto_st) > 0n, name);
    for (const counter of Object.keys(cost.step)) assert.ok(cost.step_bound[counter] >= cost.step[counter], counter);
  }
});

test('a program survives as bytes, and no byte of it can change unseen', async () => {
  const binary = join(scratch(), 'p.tgp');
  assert.equal((await run('program', 'asm', join(golden, 'tiny-mixtral.tga'), '-o', binary)).status, 0);
  const { id } = await json('program', 'verify', binary, '--json');
  const bytes = readFileSync(binary);
  for (let at = 0; at < bytes.length; at += 97) {
    const altered = Buffer.from(bytes);
    altered[at] ^= 0x41;
    writeFileSync(binary, altered);
    const done = await run('program', 'verify', binary, '--json');
    assert.ok(done.status === 1 ? /p\.tgp: ./.test(done.stderr) : JSON.parse(done.stdout).id !== id,
      `byte ${at}: ${done.stdout}${done.stderr}`);
  }
});

test('a bare configuration prices its model', async () => {
  const file = join(scratch(), 'config.json');
  writeFileSync(file, JSON.stringify({
    architectures: ['LlamaForCausalLM'], model_type: 'llama', torch_dtype: 'bfloat16', hidden_size: 4096,
    intermediate_size: 14336, num_attention_heads: 32, num_key_value_heads: 8, num_hidden_layers: 32, vocab_size: 128256,
    max_position_embeddings: 131072, rms_norm_eps: 1e-5, rope_theta: 5e5, hidden_act: 'silu', tie_word_embeddings: false,
  }));
  const got = await json('estimate', '--model', file, '--prompt-tokens', '1000', '--output-tokens', '500');
  assert.ok(Math.abs(got.nominal_nst / 1e9 / 548.6751 - 1) < 1e-6, got.nominal_st);
});

test('conformance judges a backend, and says so in JSON', async () => {
  const report = await json('conformance', '--backend', 'cpu', '--op', 'rmsnorm', '--quick', '--json');
  assert.equal(Object.keys(report).at(-1), 'summary');
  assert.equal(report.summary.failed, 0);
  assert.ok(report.summary.cases > 10, JSON.stringify(report.summary));
  const missing = await run('conformance', '--backend', '/nowhere/libx.so', '--quick');
  assert.notEqual(missing.status, 0);
  assert.match(missing.stderr, /libx\.so/);
});

test('an encoder is priced, and refused where tokens are wanted', async () => {
  const file = join(scratch(), 'bert.gguf');
  assert.equal((await run('model', 'synth', '--shape', 'tiny-bert', '--codec', 'f32', '-o', file)).status, 0);
  const price = await json('estimate', '--model', file, '--embedding', '--prompt-tokens', '100');
  assert.ok(price.nominal_nst > 0 && price.output_nst === 0);
  const done = await run('run', '-m', file, '--max-tokens', '2', 'hello');
  assert.equal(done.status, 1);
  assert.match(done.stderr, /cannot generate/);
});
