// What every client is to do on every path that makes tokens (clients.mjs), each shown by one test for each of them in
// features.test.mjs. `needs` is what a client may lack.
import assert from 'node:assert/strict';
import { eventually, say } from './harness.mjs';

const model = 'scripted';
const schema = { type: 'object', properties: { kind: { type: 'string', enum: ['child', 'adult'] }, ok: { type: 'boolean' } },
  required: ['kind', 'ok'], additionalProperties: false };
const thought = '<think>\nwhy\n</think>\n\nSure.';
const call = `Sure.\n<tool_call>\n${JSON.stringify({ name: 'weather', arguments: { city: 'Paris' } })}\n</tool_call>`;

async function whole(client, at, ask) {
  return client.whole(at, { model, ...ask });
}

async function streamed(client, at, ask, onText = () => {}) {
  const pieces = [];
  const done = await client.streamed(at, { model, ...ask }, (text) => { pieces.push(text); onText(text); });
  return { ...done, pieces };
}

function isDocument(text) {
  const { kind, ok, ...rest } = JSON.parse(text);
  assert.ok(['child', 'adult'].includes(kind) && typeof ok === 'boolean' && Object.keys(rest).length === 0, text);
}

const isCall = ({ calls }) => assert.deepEqual(calls, [{ name: 'weather', input: { city: 'Paris' } }]);

async function metric(at, line) {
  const page = await (await fetch(`${at.url}/metrics`)).text();
  const found = page.split('\n').find((each) => each.startsWith(`${line} `));
  return found ? Number(found.split(' ').at(-1)) : 0;
}

const kAborts = `tokengrid:outcomes_total{model_name="${model}",outcome="BUYER_ABORT"}`;
const kTokens = `vllm:generation_tokens_total{model_name="${model}"}`;

// Whoever leaves pays for what it was shown, once, and nothing goes on running.
async function leave(at, tokens, ask) {
  const aborts = await metric(at, kAborts);
  const before = await metric(at, kTokens);
  const controller = new AbortController();
  await assert.rejects(ask(controller));
  await eventually('the request is over', async () => (await metric(at, kAborts)) === aborts + 1);
  assert.equal(await metric(at, 'tokengrid:holds_open'), 0);
  assert.equal(await metric(at, kTokens) - before, tokens);
}

const refused = (client, at, ask, status) => async (statusOf) => {
  for (const way of [whole, streamed]) {
    await assert.rejects(way(client, at, ask), (error) => { assert.equal(statusOf(error), status, `${way.name}: ${error}`); return true; });
  }
};

export const features = [
  { name: 'a whole reply', run: async (client, at) => {
    const done = await whole(client, at, { prompt: say('Hello there.') });
    assert.equal(done.text, 'Hello there.');
    assert.equal(done.finish, 'stop');
    assert.ok(done.input > 0 && done.output >= 12);
  } },
  { name: 'a stream, in pieces', run: async (client, at) => {
    const done = await streamed(client, at, { prompt: say('Hello there.') });
    assert.equal(done.text, 'Hello there.');
    assert.equal(done.pieces.join(''), 'Hello there.');
    assert.ok(done.pieces.length > 1);
    assert.equal(done.finish, 'stop');
  } },
  { name: 'the same usage, streamed and whole', run: async (client, at) => {
    for (const ask of [{ prompt: say('na\u00efve \u{1F98A}') }, { prompt: say('a longer reply'), max: 5 }]) {
      const one = await whole(client, at, ask);
      const other = await streamed(client, at, ask);
      assert.deepEqual([other.input, other.output, other.text], [one.input, one.output, one.text]);
    }
  } },
  { name: 'reasoning apart from text', needs: 'reasoning', run: async (client, at) => {
    for (const way of [whole, streamed]) {
      const done = await way(client, at, { prompt: say(thought) });
      assert.deepEqual([done.reasoning, done.text], ['why', 'Sure.']);
    }
  } },
  { name: 'a tool call', needs: 'tools', run: async (client, at) => isCall(await whole(client, at, { prompt: say(call), tools: true })) },
  { name: 'a tool call, streamed', needs: 'tools', run: async (client, at) => isCall(await streamed(client, at, { prompt: say(call), tools: true })) },
  { name: 'a document of a JSON schema', needs: 'schema', run: async (client, at) =>
    isDocument((await whole(client, at, { model: 'random', prompt: 'x', schema })).text) },
  { name: 'a document of a JSON schema, streamed', needs: 'schema', run: async (client, at) =>
    isDocument((await streamed(client, at, { model: 'random', prompt: 'x', schema })).text) },
  { name: 'stop strings', needs: 'stop', run: async (client, at) => {
    for (const way of [whole, streamed]) {
      const done = await way(client, at, { prompt: say('one two'), stop: [' two'] });
      assert.deepEqual([done.text, done.finish], ['one', 'stop']);
    }
  } },
  { name: 'a seed repeats', needs: 'seed', run: async (client, at) => {
    const ask = (seed) => whole(client, at, { model: 'random', prompt: 'x', seed, temperature: 1, max: 12 });
    const [one, same, other] = [await ask(7), await ask(7), await ask(8)];
    assert.equal(one.text, same.text);
    assert.notEqual(one.text, other.text);
  } },
  { name: 'the output limit, and that it was met', run: async (client, at) => {
    for (const way of [whole, streamed]) {
      const done = await way(client, at, { prompt: say('a longer reply'), max: 5 });
      assert.deepEqual([done.output, done.finish, done.text], [5, 'length', 'a lon']);
    }
  } },
  { name: 'leaving a stream', run: async (client, at) => {
    let text = '';
    await leave(at, 'hang'.length, (controller) => streamed(client, at, { prompt: say('hang'), signal: controller.signal }, (piece) => {
      text += piece;
      if (text === 'hang') setTimeout(() => controller.abort(), 20);
    }));
    assert.equal(text, 'hang');
  } },
  { name: 'leaving before a whole reply', run: async (client, at) => {
    await leave(at, 0, (controller) => {
      eventually('it runs', async () => (await metric(at, 'tokengrid:holds_open')) === 1).finally(() => controller.abort());
      return whole(client, at, { prompt: say('hang'), signal: controller.signal });
    });
  } },
  { name: 'errors: unknown model', run: (client, at, statusOf) => refused(client, at, { model: 'none', prompt: 'x' }, 404)(statusOf) },
  { name: 'errors: value out of range', needs: 'range', run: (client, at, statusOf) => refused(client, at, { prompt: 'x', temperature: 9 }, 400)(statusOf) },
  { name: 'errors: prompt beyond the context', run: (client, at, statusOf) => refused(client, at, { prompt: 'x'.repeat(120_000) }, 400)(statusOf) },
  { name: 'errors: wrong key', run: (client, at, statusOf) => refused(client, { ...at, key: 'tg-wrong' }, { prompt: 'x' }, 401)(statusOf) },
  { name: 'errors: the model fails before its first token', run: (client, at, statusOf) =>
    refused(client, at, { prompt: say('fail at once') }, 502)(statusOf) },
  { name: 'errors: the model fails within a stream', run: async (client, at) => {
    let text = '';
    await assert.rejects(streamed(client, at, { prompt: say('fail') }, (piece) => { text += piece; }));
    assert.equal(text, 'fail');
  } },
];
