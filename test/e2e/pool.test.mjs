// One door, five unequal suppliers, one killed and one lying while requests run: no client sees more than a retried first
// token, bills are right, routes are explained.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, json, Server } from './harness.mjs';
import { chat, PoolScene } from './pool_scene.mjs';

const suppliers = ['local', 'node-near', 'node-far', 'llama', 'vllm'];
const engines = 'local,node-near,node-far';

const request = (i) => ({
  model: 'tokengrid-tiny',
  messages: [{ role: 'user', content: `Tell me a short story about a ${['fox', 'lamp', 'river', 'bird'][i % 4]} and ${i}.` }],
  max_tokens: 24 + (i * 7) % 40,
  temperature: i % 2 === 0 ? 0 : 0.8,
  seed: i,
});

const supplierOf = (route) => /supplier=([^;]+)/.exec(route)?.[1];

// `count` requests, `width` at a time, each other one only for Tokengrid's own engines.
async function load(scene, count, width, onDone = () => {}) {
  const replies = [];
  let next = 0;
  await Promise.all(Array.from({ length: width }, async () => {
    while (next < count) {
      const i = next++;
      const headers = i % 2 === 0 ? { 'x-tokengrid-allow': engines } : {};
      replies[i] = await chat(scene.server, request(i), headers);
      await onDone(i);
    }
  }));
  return replies;
}

test('a supplier is killed, one lies, and every request is whole and billed once', async () => {
  // What our own engines say, alone and undisturbed.
  const alone = await Server.start();
  const expected = [];
  for (let i = 0; i < 40; i += 2) expected[i] = (await chat(alone, request(i))).text;
  await alone.stop();

  const scene = await PoolScene.start();
  for (const name of suppliers) {
    await eventually(`${name} is up`, async () => await scene.supplierMetric('up', name) === 1, 20);
  }
  // Each once, so that every one of them has served something before the trouble begins.
  for (const name of suppliers) {
    const reply = await chat(scene.server, request(100), { 'x-tokengrid-allow': name });
    assert.equal(reply.status, 200, reply.error);
    assert.equal(supplierOf(reply.route), name);
    assert.ok(reply.done && reply.text.length > 0);
  }

  let isKilled = false;
  const replies = await load(scene, 40, 10, async (i) => {
    if (i >= 8 && !isKilled) {
      isKilled = true;
      await scene.near.kill();
      await fetch(`${scene.vllm.address}/mock/lie`, { method: 'POST' });
    }
  });
  let spent = 0;
  const served = {};
  for (const [i, reply] of replies.entries()) {
    assert.equal(reply.status, 200, `${i}: ${reply.error}`);
    assert.equal(reply.error, undefined, `${i}`);
    assert.ok(reply.done, `${i} ended whole`);
    assert.ok(['stop', 'length'].includes(reply.finish), `${i}: ${reply.finish}`);
    // A continuation on another engine of ours is the same text to the letter, sampled ones too.
    if (i % 2 === 0) assert.equal(reply.text, expected[i], `${i} by ${reply.route}`);
    assert.ok(suppliers.includes(supplierOf(reply.route)), reply.route);
    assert.match(reply.route, /ttft_ms=.*tpot_ms=/);
    assert.ok(reply.usage.completion_tokens <= request(i).max_tokens);
    served[supplierOf(reply.route)] = (served[supplierOf(reply.route)] ?? 0) + 1;
  }
  assert.ok(Object.keys(served).length >= 3, `the load was spread: ${JSON.stringify(served)}`);

  // The liar is known for one as soon as it has served a request.
  await chat(scene.server, request(101), { 'x-tokengrid-allow': 'vllm' });
  assert.ok(await scene.supplierMetric('disputes_total', 'vllm') >= 1);
  assert.equal(await scene.supplierMetric('suspect', 'vllm'), 1);
  assert.equal(await scene.supplierMetric('up', 'node-near'), 0);

  // Bills: the account's loss is the sum of the receipts', each request once, for tokens that came.
  const audit = await json('receipt', 'audit', '--data', scene.server.data);
  const account = await json('account', 'show', 'demo', '--data', scene.server.data);
  assert.equal(account.held_nst, 0);
  assert.equal(account.spent_nst, audit.billed);
  assert.equal(audit.pages, suppliers.length + 40 + 1);
  spent = account.spent_nst;
  assert.ok(spent > 0);

  // A node that comes back is used again.
  await scene.restartNear();
  await eventually('node-near is back', async () => await scene.supplierMetric('up', 'node-near') === 1, 20);
  const back = await chat(scene.server, request(2), { 'x-tokengrid-allow': 'node-near' });
  assert.equal(back.text, expected[2]);

  // What a dry run says.
  const dry = await scene.server.fetch('/v1/route', { body: request(0), headers: { 'x-tokengrid-deny': 'llama' } });
  const plan = await dry.json();
  assert.equal(plan.verdict, 'send');
  assert.equal(plan.candidates.length, 5);
  assert.equal(plan.candidates.find((c) => c.supplier === 'llama').excluded, 'denied');
  assert.ok(plan.candidates.find((c) => c.supplier === 'local').forecast.ttft_ms > 0);

  // Wishes nobody meets are told at once, wrong ones too.
  const mars = await scene.server.fetch('/v1/chat/completions', { body: request(0), headers: { 'x-tokengrid-zone': 'mars' } });
  assert.equal(mars.status, 400);
  const far = await chat(scene.server, request(0), { 'x-tokengrid-zone': 'far' });
  assert.equal(supplierOf(far.route), 'node-far');
  const body = await scene.server.fetch('/v1/chat/completions', { body: { ...request(0), tokengrid: { ttft_ms: 'soon' } } });
  assert.equal(body.status, 400);
  assert.match((await body.json()).error.message, /tokengrid\.ttft_ms/);
  assert.equal((await scene.stop()).code, 0);
});
