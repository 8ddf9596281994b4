// Receipts as a buyer and an auditor use them: pages without gaps through a kill -9, verified offline by the command line and
// by the independent verifier, in both suites.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundled, json, root, run, scratch, Server } from './harness.mjs';

// Debian's own Python first: it is the one that has the cryptography package.
const python = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';
const verifier = join(root, 'tools', 'verify_receipt.py');

const question = (i) => JSON.stringify({
  model: 'tokengrid-tiny', messages: [{ role: 'user', content: `What is ${i} + 1?` }], max_tokens: 5 + i, temperature: 0 });

const answers = new Map();

async function buy(server, i) {
  const response = await server.fetch('/v1/chat/completions', { body: question(i) });
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  answers.set(body.usage.tokengrid.receipt_id, body.choices[0].message.content);
  return body.usage.tokengrid.receipt_id;
}

async function fetchReceipt(server, id, folder) {
  const response = await server.fetch(`/v1/receipts/${id}`);
  assert.equal(response.status, 200);
  const file = join(folder, `${id}.txt`);
  writeFileSync(file, await response.text());
  return file;
}

function verifyInPython(server, file, ...more) {
  const text = readFileSync(file, 'utf8');
  const program = join(server.data, 'programs', `${/program=sha256:([0-9a-f]{64})/.exec(text)[1]}.tgp`);
  return JSON.parse(execFileSync(python, [verifier, file, '--key', join(server.data, 'meter.pub'), '--program', program, '--json',
    ...more], { encoding: 'utf8' }));
}

async function checkEverywhere(server, file, earlier) {
  const more = earlier ? ['--earlier', earlier] : [];
  const checked = await json('receipt', 'verify', file, '--data', server.data, ...more);
  for (const level of ['signature', 'inclusion', 'continuity', 'arithmetic', 'ledger']) assert.equal(checked[level], 'ok', level);
  const independent = verifyInPython(server, file, ...more);
  for (const level of ['signature', 'inclusion', 'continuity', 'arithmetic']) assert.equal(independent[level], 'ok', level);
  return checked;
}

for (const suite of ['ed25519-sha256', 'sm2-sm3']) {
  test(`${suite}: pages are gapless through kill -9 and verify offline`, async () => {
    const folder = scratch();
    const config = join(folder, 'config.toml');
    writeFileSync(config, `[receipts]\nsuite = "${suite}"\n`);
    let server = await Server.start({ args: ['--config', config] });
    const { data } = server;
    const ids = [];
    for (let i = 0; i < 3; ++i) ids.push(await buy(server, i));
    await server.kill();
    server = await Server.start({ data, args: ['--config', config] });
    for (let i = 3; i < 5; ++i) ids.push(await buy(server, i));
    let billed = 0;
    let earlier;
    for (const [i, id] of ids.entries()) {
      const file = await fetchReceipt(server, id, folder);
      const receipt = await checkEverywhere(server, file, earlier);
      assert.equal(receipt.page, i + 1);
      billed += receipt.billed;
      earlier = file;
      assert.ok(readFileSync(file, 'utf8').includes(`suite=${suite}`));
    }
    const account = await json('account', 'show', 'demo', '--data', data);
    assert.equal(account.spent_nst, billed, 'I-20');

    const audit = await json('receipt', 'audit', '--data', data);
    assert.equal(audit.pages, ids.length);
    assert.equal(audit.billed, billed);
    const tile = await run('receipt', 'log', `tile/0/000.p/${ids.length}`, '--data', data);
    assert.equal(tile.status, 0, tile.stderr);
    assert.equal((await run('receipt', 'log', 'checkpoint', '--data', data)).stdout, audit.checkpoint);
    assert.notEqual((await run('receipt', 'log', 'tile/0/001', '--data', data)).status, 0);

    // L3: the buyer counts what was sent.
    const recount = async (i) => {
      const sent = join(folder, 'sent.json');
      writeFileSync(sent, question(i));
      const done = await run('receipt', 'verify', earlier, '--data', data, '--sent', sent, '--model', bundled, '--json');
      return JSON.parse(done.stdout).recount;
    };
    assert.equal(await recount(4), 'ok');
    assert.match(await recount(400), /tokens, the receipt says/);

    // L3: the receipt is of the bytes that the buyer sent and got, and of no others.
    const sent = join(folder, 'sent.json');
    const received = join(folder, 'received.txt');
    writeFileSync(sent, question(4));
    writeFileSync(received, answers.get(ids[4]));
    const bytes = ['--sent', sent, '--received', received];
    assert.equal((await json('receipt', 'verify', earlier, '--data', data, ...bytes)).binding, 'ok');
    assert.equal(verifyInPython(server, earlier, ...bytes).binding, 'ok');
    for (const [file, text] of [[sent, question(4)], [received, answers.get(ids[4])]]) {
      writeFileSync(file, `${text} `);
      const other = await run('receipt', 'verify', earlier, '--data', data, '--json', ...bytes);
      assert.notEqual(other.status, 0);
      assert.match(JSON.parse(other.stdout).binding, /bytes/);
      assert.throws(() => verifyInPython(server, earlier, ...bytes));
      writeFileSync(file, text);
    }

    // A figure changed in a receipt fails in both, and says where.
    const changed = join(folder, 'changed.txt');
    writeFileSync(changed, readFileSync(earlier, 'utf8').replace(/\nbilled (\d+)/, (_, n) => `\nbilled ${Number(n) + 1}`));
    const refused = await run('receipt', 'verify', changed, '--data', data, '--json');
    assert.notEqual(refused.status, 0);
    assert.notEqual(JSON.parse(refused.stdout).inclusion, 'ok');
    assert.throws(() => verifyInPython(server, changed));

    assert.equal((await server.stop()).code, 0);
    // Without a server, from the directory alone.
    assert.equal((await json('receipt', 'audit', '--data', data)).pages, ids.length);
    assert.equal((await run('receipt', 'show', ids[0], '--data', data)).status, 0);
  });
}
