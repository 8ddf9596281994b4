// Structured output through HTTP: random schemas asked of the bundled model at temperature 1, every reply that is not cut
// held against a validator nobody here wrote. TG_HTTP_SCHEMAS says how many (bench/results has a run of 1,000).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { haveBinary, root, scratch, Server } from './harness.mjs';

const generator = process.env.TG_GRAMMAR_TEST ?? join(root, 'build', 'test', 'grammar_test');
const skip = !haveBinary ? 'the binary is not built' : !existsSync(generator) ? `${generator} is not built` : false;
const count = Number(process.env.TG_HTTP_SCHEMAS ?? 60);
const together = 8;

let server;
before(async () => { if (!skip) server = await Server.start(); });
after(() => server?.stop());

function randomSchemas() {
  const file = join(scratch(), 'samples.jsonl');
  execFileSync(generator, ['--gtest_filter=RandomSchemas.*', '--gtest_brief=1'],
    { env: { ...process.env, TG_SCHEMA_SAMPLES: file, TG_SCHEMA_COUNT: String(count) }, stdio: ['ignore', 'ignore', 'inherit'] });
  const lines = readFileSync(file, 'utf8').split('\n').filter((line) => line !== '');
  return [...new Set(lines.map((line) => JSON.stringify(JSON.parse(line).schema)))].map((text) => JSON.parse(text));
}

// The bundled model has not learnt to end what it never saw: what closes is made likely.
async function closingBias(model) {
  const bias = {};
  for (const prompt of ['"', '}', ']', '0']) {
    const { tokens } = await (await server.fetch('/tokenize', { body: { model, prompt, add_special_tokens: false } })).json();
    bias[tokens.at(-1)] = 6;
  }
  return bias;
}

// The reply's text and why it ended, whole or put together from a stream.
async function ask(body) {
  const response = await server.fetch('/v1/chat/completions', { body });
  if (response.status !== 200) assert.fail(`${await response.text()} for ${JSON.stringify(body.response_format)}`);
  if (!body.stream) {
    const { choices: [choice] } = await response.json();
    return { text: choice.message.content, reason: choice.finish_reason };
  }
  const events = (await response.text()).split('\n').filter((line) => line.startsWith('data: {')).map((line) => JSON.parse(line.slice(6)));
  const choices = events.flatMap((event) => event.choices);
  return { text: choices.map((c) => c.delta.content ?? '').join(''), reason: choices.at(-1).finish_reason };
}

test(`every reply under ${count} random schemas validates`, { skip, timeout: 3_600_000 }, async () => {
  const model = (await (await server.fetch('/v1/models')).json()).data[0].id;
  const schemas = randomSchemas();
  assert.equal(schemas.length, count);
  const ajv = addFormats(new Ajv.default({ strict: false, allErrors: true }));
  const logit_bias = await closingBias(model);
  let whole = 0;
  let cut = 0;
  const failures = [];
  let next = 0;
  const work = async () => {
    while (next < count) {
      const i = next++;
      const schema = schemas[i];
      const { text, reason } = await ask({ model, messages: [{ role: 'user', content: 'Tell me.' }], max_tokens: 400, seed: i, logit_bias,
        stream: i % 2 === 0, response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema } } });
      if (reason === 'length') {
        cut += 1;
        continue;
      }
      assert.equal(reason, 'stop');
      whole += 1;
      const validate = ajv.compile(schema);
      if (!validate(JSON.parse(text))) failures.push(`${text}\n  ${JSON.stringify(validate.errors.slice(0, 2))}\n  ${JSON.stringify(schema)}`);
    }
  };
  await Promise.all(Array.from({ length: together }, work));
  console.log(`${whole} whole, ${cut} cut at the limit, ${failures.length} not valid`);
  assert.equal(failures.length, 0, failures.slice(0, 3).join('\n'));
  assert.ok(whole > count * 0.6, `${whole} of ${count} came to their end`);
});

test('sampling parameters do what they say', { skip }, async () => {
  const model = (await (await server.fetch('/v1/models')).json()).data[0].id;
  const complete = async (more) => (await (await server.fetch('/v1/completions', { body: { model, prompt: 'Once upon a time', max_tokens: 16, seed: 1, ...more } })).json()).choices;
  const [{ text: greedy }] = await complete({ temperature: 0 });
  for (const more of [{ top_k: 1 }, { min_p: 1 }, { top_p: 0 }]) assert.equal((await complete(more))[0].text, greedy, JSON.stringify(more));
  const [token] = (await (await server.fetch('/tokenize', { body: { model, prompt: ' the', add_special_tokens: false } })).json()).tokens;
  const piece = (await (await server.fetch('/detokenize', { body: { model, tokens: [token] } })).json()).prompt;
  assert.equal((await complete({ logit_bias: { [token]: 100 }, max_tokens: 3 }))[0].text, piece.repeat(3));
  const banned = await complete({ logit_bias: { [token]: -100 }, max_tokens: 60 });
  assert.ok(!banned[0].text.includes(piece + ' '));
  for (const more of [{ repetition_penalty: 2 }, { presence_penalty: 2 }, { frequency_penalty: 2 }]) {
    const [{ text }] = await complete({ temperature: 0, max_tokens: 60, ...more });
    const [{ text: without }] = await complete({ temperature: 0, max_tokens: 60 });
    assert.notEqual(text, without, JSON.stringify(more));
  }
});
