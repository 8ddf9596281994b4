// 64 streams at once equal the same requests alone; kill -9 in the middle loses nothing.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { json, run, scratch, Server } from './harness.mjs';

const subjects = ['fox', 'lamp', 'river', 'bird', 'boat', 'girl', 'stone', 'garden'];

// Mixed prompts, lengths and samplers, the same for the same i.
function request(i) {
  const prompts = [`Tell me a short story about a ${subjects[i % subjects.length]}.`, `Count from ${i} to ${i + 9}.`,
    `What is ${i} + ${i * 3 % 50}?`, 'What is a Standard Token?'];
  return {
    model: 'tokengrid-tiny',
    messages: [{ role: 'user', content: prompts[i % prompts.length] }],
    max_tokens: 5 + (i * 37) % 90,
    temperature: i % 3 === 0 ? 0 : 0.8,
    top_p: i % 2 === 0 ? 1 : 0.9,
    seed: i,
  };
}

async function complete(server, i) {
  const response = await server.fetch('/v1/chat/completions', { body: request(i) });
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  return body;
}

// Reads an SSE stream to its end; undefined if the connection broke.
async function stream(server, i, onText = () => {}) {
  try {
    const response = await server.fetch('/v1/chat/completions',
      { body: { ...request(i), stream: true, stream_options: { include_usage: true } } });
    if (response.status !== 200) return { error: await response.json() };
    let buffer = '';
    const out = { text: '', done: false };
    for await (const chunk of response.body) {
      buffer += Buffer.from(chunk).toString('utf8');
      const events = buffer.split('\n\n');
      buffer = events.pop();
      for (const event of events) {
        if (event === 'data: [DONE]') { out.done = true; continue; }
        const data = JSON.parse(event.slice(6));
        out.text += data.choices[0]?.delta?.content ?? '';
        out.usage = data.usage ?? out.usage;
        onText(i);
      }
    }
    return out;
  } catch {
    return undefined;
  }
}

async function verifyReceipt(server, folder, id) {
  const text = await (await server.fetch(`/v1/receipts/${id}`)).text();
  const file = join(folder, `${id}.txt`);
  writeFileSync(file, text);
  const checked = await run('receipt', 'verify', file, '--data', server.data, '--json');
  assert.equal(checked.status, 0, checked.stderr);
  return JSON.parse(checked.stdout);
}

test('64 concurrent streams equal the same requests alone, and add up', async () => {
  const server = await Server.start();
  const folder = scratch();
  const indices = [...Array(64).keys()];
  const together = await Promise.all(indices.map((i) => stream(server, i)));
  let charged = 0;
  for (const i of indices) {
    const alone = await complete(server, i);
    assert.ok(together[i].done);
    assert.equal(together[i].text, alone.choices[0].message.content, `request ${i}`);
    assert.equal(together[i].usage.completion_tokens, alone.usage.completion_tokens);
    for (const usage of [together[i].usage, alone.usage]) {
      const receipt = await verifyReceipt(server, folder, usage.tokengrid.receipt_id);
      assert.equal(receipt.signature, 'ok');
      assert.equal(receipt.arithmetic, 'ok');
      assert.equal(receipt.ledger, 'ok');
      assert.equal(receipt.nominal_nst, usage.tokengrid.nominal_nst);
      charged += receipt.billed;
    }
  }
  const account = await json('account', 'show', 'demo', '--data', server.data);
  assert.equal(account.spent_nst, charged);
  assert.equal(account.held_nst, 0);
  assert.equal((await server.stop()).code, 0);
  const audit = await json('account', 'audit', '--data', server.data);
  assert.equal(audit.sum_nst, 0);
  assert.equal(audit.holds_open, 0);
});

test('kill -9 in the middle: nothing lost, holds released, no charge beyond delivery', async () => {
  const server = await Server.start();
  const data = server.data;
  const seen = new Map();
  const finished = new Map();
  const streams = [...Array(64).keys()].map(async (i) => {
    const out = await stream(server, i, () => seen.set(i, (seen.get(i) ?? 0) + 1));
    if (out?.done) finished.set(i, out.usage);
  });
  while (finished.size < 8) await new Promise((resolve) => setTimeout(resolve, 2));
  await server.kill();
  await Promise.all(streams);
  assert.ok(finished.size < 64, 'some were cut off');
  const acknowledged = [...finished.values()];
  const again = await Server.start({ data });
  const account = await json('account', 'show', 'demo', '--data', data);
  assert.equal(account.held_nst, 0, 'open holds were released');
  const folder = scratch();
  let charged = 0;
  for (const usage of acknowledged) {
    const receipt = await verifyReceipt(again, folder, usage.tokengrid.receipt_id);
    assert.equal(receipt.nominal_nst, usage.tokengrid.nominal_nst);
    charged += receipt.billed;
  }
  // Requests whose capture was durable but whose last bytes were still on their way are charged for what was sent.
  const receipts = await json('receipt', 'list', '--data', data);
  const total = receipts.receipts.reduce((sum, r) => sum + r.billed, 0);
  assert.ok(total >= charged);
  assert.equal(account.spent_nst, total, 'every charge has its receipt');
  assert.ok(receipts.receipts.length >= acknowledged.length);
  assert.equal((await again.stop()).code, 0);
  const audit = await json('account', 'audit', '--data', data);
  assert.equal(audit.sum_nst, 0);
});
