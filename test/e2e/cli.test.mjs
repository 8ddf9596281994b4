// The command line: estimates against the standard's checks, synthetic models, run, keys and accounts.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundled, json, run, scratch } from './harness.mjs';

const folder = scratch();

async function synth(shape, ...more) {
  const file = join(folder, `${shape}-${more.join('')}.gguf`);
  const done = await run('model', 'synth', '--shape', shape, '-o', file, ...more);
  assert.equal(done.status, 0, done.stderr);
  return file;
}

test('estimates equal the checks of the standard', async () => {
  const file = await synth('llama-3.1-8b', '--codec', 'f16', '--no-data');
  assert.ok(statSync(file).size < 20e6);
  for (const [cached, want] of [[0, 548.6751], [512, 498.4683]]) {
    const got = await json('estimate', '--model', file, '--prompt-tokens', '1000', '--cached-tokens', String(cached),
      '--output-tokens', '500');
    assert.ok(Math.abs(got.nominal_nst / 1e9 / want - 1) < 1e-6, `${got.nominal_nst} vs ${want}`);
  }
});

test('every published shape can be priced from its header', async () => {
  for (const shape of ['llama-3.1-8b', 'llama-3.1-70b', 'llama-2-7b', 'qwen3-0.6b', 'mistral-7b', 'llama-1b', 'tiny']) {
    const file = await synth(shape, '--codec', 'q4_k', '--no-data');
    const got = await json('estimate', '--model', file, '--prompt-tokens', '100', '--output-tokens', '10');
    assert.ok(got.nominal_nst > 0);
    const shown = await json('model', 'inspect', file);
    assert.ok(shown.parameters > 1000);
  }
});

test('a synthetic model runs; one without data says why not', async () => {
  const file = await synth('tiny', '--codec', 'q8_0');
  const done = await run('run', '-m', file, '--raw', '--max-tokens', '5', '--temperature', '0', 'hi');
  assert.equal(done.status, 0, done.stderr);
  assert.match(done.stderr, /\+ 5 tokens.*tok\/s.*ST.*yield/);
  const header = await synth('tiny', '--codec', 'q8_0', '--no-data');
  const refused = await run('run', '-m', header, '--raw', '--max-tokens', '5', 'hi');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /^tokengrid: .*data/);
});

test('run streams text to standard output and one line to standard error', async () => {
  const args = ['run', '-m', bundled, '--max-tokens', '40', '--temperature', '0', 'Tell me a short story about a fox.'];
  const first = await run(...args);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, /[a-z]+ [a-z]+/);
  assert.equal(first.stderr.trim().split('\n').length, 1);
  const second = await run(...args, '--threads', '1');
  assert.equal(second.stdout, first.stdout);
  const machine = await json(...args);
  assert.equal(machine.text.trim(), first.stdout.trim());
  assert.ok(machine.nominal_nst > 0);
});

test('bench serve measures a server of its own', async () => {
  const got = await json('bench', 'serve', '--clients', '2', '--requests', '4', '--prompt-bytes', '60',
    '--output-tokens', '4');
  assert.equal(got.rows.length, 1);
  assert.equal(got.rows[0]['output tokens'], 16);
});

test('programs: show, verify, cost, and a round trip through text', async () => {
  const text = join(folder, 'p.tga');
  const binaryFile = join(folder, 'p.tgp');
  assert.equal((await run('program', 'disasm', bundled, '-o', text)).status, 0);
  assert.equal((await run('program', 'asm', text, '-o', binaryFile)).status, 0);
  const a = await json('program', 'verify', bundled);
  const b = await json('program', 'verify', binaryFile);
  assert.equal(a.id, b.id);
  assert.ok(statSync(binaryFile).size < 2048);
  const cost = await json('program', 'cost', binaryFile, '--new', '1', '--cached', '10');
  assert.ok(cost.step['mm_flops.int8'] > 0 && !cost.step['mm_flops.f16']);
  const exact = await json('program', 'cost', bundled, '--exact', '--new', '1', '--cached', '10');
  assert.equal(exact.step['mm_flops.f16'], cost.step['mm_flops.int8']);
  assert.match((await run('program', 'show', binaryFile)).stdout, /attn/);
});

test('help and wrong usage', async () => {
  assert.equal((await run('--help')).status, 0);
  for (const words of [['serve'], ['run'], ['estimate'], ['model', 'inspect'], ['model', 'synth'], ['program', 'cost'],
    ['receipt', 'verify'], ['key', 'create'], ['account', 'topup']]) {
    const help = await run(...words, '--help');
    assert.equal(help.status, 0);
    assert.match(help.stdout, /Usage/);
  }
  assert.equal((await run('frobnicate')).status, 2);
  assert.equal((await run('estimate')).status, 2);
});

test('bench says what a step takes and which part of the limits that is', async () => {
  const got = await json('bench', 'decode', '--batch', '1,4', '--context', '0,32', '--repeats', '3');
  assert.deepEqual(got.rows.map((r) => [r.batch, r.context, r.new_tokens]), [[1, 0, 1], [1, 32, 1], [4, 0, 1], [4, 32, 1]]);
  for (const row of got.rows) {
    assert.equal(row.step_ns.length, 3);
    assert.ok(row.median_ms > 0 && row.of_read > 0 && row.of_peak > 0);
    const seconds = row.median_ms / 1e3;
    assert.ok(Math.abs(row.tokens_per_second * seconds / row.batch - 1) < 1e-9);
  }
  assert.ok(got.limits.read_bytes_per_second > 1e8);
  const overhead = await json('bench', 'overhead', '--batch', '1,4', '--repeats', '3');
  assert.deepEqual(overhead.rows.map((r) => [r.batch, r.context]), [[1, 0], [4, 0]]);
  for (const row of overhead.rows) {
    assert.ok(row['kernels us'] > 0 && row['program us'] > 0 && row['metering us'] > 0);
    assert.ok(Math.abs((row['program us'] + row['metering us']) / row['kernels us'] * 100 - row['percent of the kernels']) < 1e-6);
  }
  const refused = await run('bench', 'decode', '--context', '5000000');
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /^--context: Value 5000000 not in range 0 to 1048576\n/);
});
