// Embeddings through the real server and ledger: a text pays its prefill and nothing else, as estimated, and its receipt says
// so to both verifiers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { json, root, run, scratch, Server } from './harness.mjs';

const python = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

test('vectors are paid by their prefill, with receipts', async () => {
  const folder = scratch();
  const model = join(folder, 'encoder.gguf');
  const made = await run('model', 'synth', '--shape', 'tiny-bert', '--codec', 'q8_0', '-o', model);
  assert.equal(made.status, 0, made.stderr);
  const server = await Server.start({ model });
  try {
    const { data: models } = await (await server.fetch('/v1/models')).json();
    const ask = { model: models[0].id, input: ['hello', 'a longer text of more tokens'] };
    const estimate = await (await server.fetch('/v1/estimate', { body: ask })).json();
    const response = await server.fetch('/v1/embeddings', { body: ask });
    const reply = await response.json();
    assert.equal(response.status, 200, JSON.stringify(reply));
    assert.deepEqual(reply.data.map(({ embedding }) => embedding.length), [64, 64]);
    const { nominal_nst, receipt_ids } = reply.usage.tokengrid;
    assert.ok(nominal_nst > 0);
    assert.equal(nominal_nst, estimate.maximum.total_nst);
    assert.equal(reply.usage.prompt_tokens, estimate.input_tokens);
    assert.equal(receipt_ids.length, 2);
    let billed = 0;
    for (const id of receipt_ids) {
      const file = join(folder, `${id}.txt`);
      writeFileSync(file, await (await server.fetch(`/v1/receipts/${id}`)).text());
      const text = readFileSync(file, 'utf8');
      assert.match(text, / kind=embedding\n/);
      const checked = await json('receipt', 'verify', file, '--data', server.data);
      for (const level of ['signature', 'inclusion', 'arithmetic', 'ledger']) assert.equal(checked[level], 'ok', level);
      billed += checked.billed;
      const program = join(server.data, 'programs', `${/program=sha256:([0-9a-f]{64})/.exec(text)[1]}.tgp`);
      const independent = JSON.parse(execFileSync(python, [join(root, 'tools', 'verify_receipt.py'), file, '--key',
        join(server.data, 'meter.pub'), '--program', program, '--json'], { encoding: 'utf8' }));
      for (const level of ['signature', 'inclusion', 'arithmetic']) assert.equal(independent[level], 'ok', level);
    }
    assert.ok(billed > 0);
    const account = await json('account', 'show', 'demo', '--data', server.data);
    assert.equal(account.spent_nst, billed);
    const poor = await server.fetch('/v1/embeddings', { body: { ...ask, tokengrid: { max_cost: '0.000000001 ST' } } });
    assert.equal(poor.status, 402);
  } finally {
    await server.stop();
  }
});
