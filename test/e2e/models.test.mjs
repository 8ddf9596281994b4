// Several models from one server: each under its own name, with its own program on its receipts, its own quota, and unloaded
// while nobody asks for it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundled, eventually, json, root, run, scratch, Server } from './harness.mjs';

const draft = join(root, 'models', 'tokengrid-tiny-draft.gguf');
const ask = (model, content) => ({ model, temperature: 0, max_tokens: 12, messages: [{ role: 'user', content }] });

async function said(server, model, content) {
  const response = await server.fetch('/v1/chat/completions', { body: ask(model, content) });
  const reply = await response.json();
  assert.equal(response.status, 200, JSON.stringify(reply));
  return { text: reply.choices[0].message.content, receipt: reply.usage.tokengrid.receipt_id };
}

test('two models and an encoder answer side by side, each by its own program', async () => {
  const folder = scratch();
  const encoder = join(folder, 'encoder.gguf');
  assert.equal((await run('model', 'synth', '--shape', 'tiny-bert', '--codec', 'q8_0', '-o', encoder)).status, 0);
  const server = await Server.start({ args: ['--model', draft, '--model', encoder] });
  try {
    const { data } = await (await server.fetch('/v1/models')).json();
    assert.deepEqual(data.map(({ id }) => id), ['tokengrid-tiny', 'tokengrid-tiny-draft', 'encoder']);
    const [one, other] = await Promise.all(data.slice(0, 2).map(({ id }) => said(server, id, 'Tell me a story.')));
    assert.notEqual(one.text, other.text);
    const programs = [];
    for (const { receipt } of [one, other]) {
      const file = join(folder, receipt);
      writeFileSync(file, await (await server.fetch(`/v1/receipts/${receipt}`)).text());
      const checked = await json('receipt', 'verify', file, '--data', server.data);
      for (const level of ['signature', 'inclusion', 'arithmetic', 'ledger']) assert.equal(checked[level], 'ok', level);
      programs.push(/program=(\S+)/.exec(await (await server.fetch(`/v1/receipts/${receipt}`)).text())[1]);
    }
    assert.notEqual(programs[0], programs[1]);
    const vectors = await server.fetch('/v1/embeddings', { body: { model: 'encoder', input: 'hello' } });
    assert.equal(vectors.status, 200);
    const wrong = await server.fetch('/v1/embeddings', { body: { model: 'tokengrid-tiny', input: 'hello' } });
    assert.equal(wrong.status, 400);
  } finally {
    await server.stop();
  }
});

test('a model that nobody asks for is unloaded, and says the same when it is back', async () => {
  const config = join(scratch(), 'serve.toml');
  writeFileSync(config, `[[models]]\nfile = "${draft}"\nid = "second"\nidle_unload_s = 1\nkv_tokens = 2048\n`);
  const server = await Server.start({ model: bundled, args: ['--config', config] });
  const resting = async (model) => {
    const text = await (await server.fetch('/metrics')).text();
    return Number(new RegExp(`tokengrid:engine_resting\\{model_name="${model}"\\} (\\d)`).exec(text)[1]);
  };
  try {
    const before = await said(server, 'second', 'Tell me about a fox.');
    await eventually('the second model rests', async () => (await resting('second')) === 1);
    assert.equal(await resting('tokengrid-tiny'), 0);
    assert.equal((await said(server, 'second', 'Tell me about a fox.')).text, before.text);
    assert.equal(await resting('second'), 0);
  } finally {
    await server.stop();
  }
});

test('models that do not fit together make room for one another', async () => {
  const config = join(scratch(), 'serve.toml');
  const models = ['one', 'two', 'three'].map((id) => `[[models]]\nfile = "${draft}"\nid = "${id}"\nidle_unload_s = 600\nkv_tokens = 2048\n`);
  writeFileSync(config, `[engine]\nmemory_mib_total = 26\nkv_tokens = 2048\n[model]\nidle_unload_s = 600\n${models.join('')}`);
  const server = await Server.start({ model: bundled, args: ['--config', config] });
  const awake = async () => {
    const text = await (await server.fetch('/metrics')).text();
    return [...text.matchAll(/tokengrid:engine_resting\{model_name="([^"]*)"\} 0/g)].map(([, name]) => name);
  };
  try {
    const first = await said(server, 'one', 'Tell me about a fox.');
    assert.ok((await awake()).length < 4, 'all four at once');
    for (const id of ['two', 'three', 'tokengrid-tiny']) await said(server, id, 'Tell me about a fox.');
    assert.equal((await said(server, 'one', 'Tell me about a fox.')).text, first.text);
    assert.ok((await awake()).includes('one'));
  } finally {
    await server.stop();
  }
});

test('a quota is kept, and mistakes in tables of models are named', async () => {
  const folder = scratch();
  const config = join(folder, 'serve.toml');
  const started = async (text) => {
    writeFileSync(config, text);
    const done = await run('serve', '--port', '0', '--data', join(folder, 'data'), '--config', config);
    assert.notEqual(done.status, 0);
    return done.stderr;
  };
  assert.match(await started(`[[models]]\nfile = "${draft}"\nid = "x"\nmemory_mib_max = 1\n`), /exceed the model's quota of 1048576/);
  assert.match(await started(`[engine]\nmemory_mib_total = 1\n`), /exceed their common quota of 1048576/);
  assert.match(await started(`[[models]]\nid = "x"\n`), /serve\.toml, line 1: a model lacks 'file'/);
  assert.match(await started(`[[models]]\nfile = "${draft}"\nkv_tokens = "many"\n`), /line 3: models\.kv_tokens must be a whole number/);
  assert.match(await started(`[[models]]\nfle = "${draft}"\n`), /line 2: unknown setting 'models\.fle'; is 'models\.file' meant\?/);
  assert.match(await started(`models = 3\n`), /line 1: models are written as \[\[models\]\] tables/);
  assert.match(await started(`[[models]]\nfile = "${bundled}"\n`), /two served models are named 'tokengrid-tiny'/);
});
