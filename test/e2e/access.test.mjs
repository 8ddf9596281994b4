// Organisations to keys, their limits and budgets, and the admin API, against the real binary: what a budget lets through
// when 64 clients race for it, how fast a revoked key ends, and every admin reply against the document that describes it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { eventually, json, run, Server } from './harness.mjs';

let server;
let admin;
let document;
let ajv;
before(async () => {
  server = await Server.start();
  const closed = await server.fetch('/admin/v1/keys');
  assert.equal(closed.status, 403);
  assert.match((await closed.json()).error.message, /not configured/);
  const made = await json('key', 'create', 'ops', '--account', 'ops', '--scope', 'admin', '--data', server.data);
  admin = made.key;
  await eventually('the admin key is known', async () => (await server.fetch('/admin/v1/health', { key: admin })).status === 200, 2);
  document = await (await server.fetch('/admin/v1/openapi.json', { key: '' })).json();
  ajv = new Ajv({ strict: false, allErrors: true });
  addFormats(ajv);
  ajv.addSchema(document, 'admin');
});
after(() => server?.stop());

const covered = new Set();

// The operation that a path belongs to, as the document has it.
function operationOf(method, path) {
  const parts = path.split('?')[0].split('/');
  for (const [pattern, methods] of Object.entries(document.paths)) {
    const wanted = pattern.split('/');
    if (wanted.length !== parts.length || !methods[method.toLowerCase()]) continue;
    if (wanted.every((part, i) => part.startsWith('{') || part === parts[i])) return methods[method.toLowerCase()];
  }
  throw new Error(`${method} ${path} is not in the document`);
}

function check(schema, value, what) {
  const validate = ajv.getSchema(`admin#/components/schemas/${schema.$ref.split('/').at(-1)}`);
  assert.ok(validate(value), `${what}: ${JSON.stringify(validate.errors?.slice(0, 5))} in ${JSON.stringify(value).slice(0, 500)}`);
}

// Asks the admin API; request and reply must be as documented.
async function ask(method, path, body, status) {
  const operation = operationOf(method, `/admin/v1${path}`);
  const response = await fetch(`${server.url}/admin/v1${path}`, { method, headers: { authorization: `Bearer ${admin}`,
    'content-type': 'application/json' }, body: body === undefined ? undefined : JSON.stringify(body) });
  const reply = await response.json();
  const documented = operation.responses[response.status] ?? operation.responses.default;
  check(documented.content['application/json'].schema, reply, `${method} ${path}`);
  const wanted = status ?? Number(Object.keys(operation.responses)[0]);
  assert.equal(response.status, wanted, JSON.stringify(reply));
  if (response.ok) {
    if (body !== undefined) check(operation.requestBody.content['application/json'].schema, body, `body of ${method} ${path}`);
    covered.add(operation.operationId);
  }
  return reply;
}

const chat = (more = {}) => ({ model: 'tokengrid-tiny', messages: [{ role: 'user', content: 'Tell me of a fox.' }],
  max_tokens: 24, temperature: 0, ...more });

async function complete(key, more) {
  const response = await server.fetch('/v1/chat/completions', { key, body: chat(more) });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test('every operation of the admin API, as its document says', async () => {
  const org = await ask('POST', '/organisations', { name: 'acme', weight: 2 });
  const team = await ask('POST', '/teams', { organisation: 'acme', name: 'lab', limits: { concurrent: 50 } });
  const project = await ask('POST', '/projects', { team: team.id, name: 'web', models: ['tokengrid-*'], class: 'standard' });
  const key = await ask('POST', '/keys', { name: 'ci', project: project.id, expires: '2099-01-31' });
  assert.equal((await complete(key.key)).status, 402, 'the organisation has no balance');
  await ask('POST', '/accounts', { name: 'acme' });
  await ask('POST', '/accounts/acme/top-ups', { amount_nst: 5_000_000_000_000 });
  const served = await complete(key.key);
  assert.equal(served.status, 200, JSON.stringify(served.body));
  const account = await ask('GET', '/accounts/acme');
  assert.equal(account.spent_nst, served.body.usage.tokengrid.nominal_nst);
  for (const [plural, id] of [['organisations', org.id], ['teams', team.id], ['projects', project.id], ['keys', key.id]]) {
    await ask('GET', `/${plural}`);
    await ask('GET', `/${plural}/${id}`);
    await ask('PATCH', `/${plural}/${id}`, { limits: { requests_per_minute: 1000 } });
    await ask('PUT', `/${plural}/${id}/budgets/month`, { amount_nst: 10_000_000_000_000 });
    await ask('GET', `/${plural}/${id}/budgets`);
  }
  const again = await complete(key.key);
  assert.equal(again.status, 200, JSON.stringify(again.body));
  assert.equal(again.headers.get('x-ratelimit-limit-requests'), '1000');
  for (const [plural, id] of [['organisations', org.id], ['teams', team.id], ['projects', project.id], ['keys', key.id]]) {
    const [budget] = (await ask('GET', `/${plural}/${id}/budgets`)).data;
    assert.equal(budget.spent_nst, again.body.usage.tokengrid.nominal_nst, plural);
    await ask('DELETE', `/${plural}/${id}/budgets/month`);
  }
  const rotated = await ask('POST', `/keys/${key.id}/rotate`, { grace_seconds: 3600 });
  assert.equal((await complete(key.key)).status, 200, 'the old secret has its grace time');
  assert.equal((await complete(rotated.key)).status, 200);
  await ask('PATCH', `/teams/${team.id}`, { suspended: true });
  assert.equal((await complete(rotated.key)).status, 403);
  await ask('PATCH', `/teams/${team.id}`, { suspended: false });
  await ask('DELETE', `/keys/${key.id}`);
  assert.equal((await complete(key.key)).status, 401);
  assert.equal((await complete(rotated.key)).status, 401);
  await ask('GET', '/accounts');
  const usage = await ask('GET', '/usage');
  assert.ok(usage.models.find((m) => m.model === 'tokengrid-tiny').requests >= 4);
  await ask('GET', '/models');
  await ask('GET', '/health');
  await ask('GET', '/autoscale', undefined, 404);
  covered.add('autoscale'); // what it says where something scales: autoscale_scene.mjs
  await ask('POST', '/organisations', { name: 'acme' }, 409);
  await ask('GET', '/projects/nobody', undefined, 404);
  await ask('POST', '/keys', { name: 'x', project: 'web', clas: 'batch' }, 400);
  const all = Object.values(document.paths).flatMap((methods) => Object.values(methods).map((o) => o.operationId));
  assert.deepEqual(all.filter((id) => !covered.has(id)), [], 'operations that no call covered');
});

test('64 clients race for one budget: never a nano-ST beyond it', async () => {
  const project = await ask('POST', '/projects', { team: 'default', name: 'race', account: 'demo' });
  const keys = await Promise.all([...Array(8).keys()].map((i) => ask('POST', '/keys', { name: `r${i}`, project: project.id })));
  const once = await complete(keys[0].key, { max_tokens: 8 });
  assert.equal(once.status, 200, JSON.stringify(once.body));
  // Room for about twenty requests as they turn out; what they might cost at most is reserved while they run.
  const amount = once.body.usage.tokengrid.nominal_nst * 20 + 12_345;
  await ask('PUT', `/projects/${project.id}/budgets/total`, { amount_nst: amount });
  let sum = 0;
  let served = 0;
  let refused = 0;
  let peak = 0;
  let racing = true;
  const watch = (async () => {
    while (racing) {
      const [budget] = (await ask('GET', `/projects/${project.id}/budgets`)).data;
      peak = Math.max(peak, budget.spent_nst + budget.held_nst);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  await Promise.all([...Array(64).keys()].map(async (i) => {
    for (let n = 0; n < 6; ++n) {
      const got = await complete(keys[i % 8].key, { max_tokens: 8, seed: i * 10 + n, temperature: 0.5 });
      if (got.status === 200) {
        served += 1;
        sum += got.body.usage.tokengrid.nominal_nst;
        continue;
      }
      assert.equal(got.status, 402, JSON.stringify(got.body));
      assert.equal(got.body.error.code, 'budget_exceeded');
      assert.equal(got.headers.get('x-should-retry'), 'false');
      refused += 1;
    }
  }));
  racing = false;
  await watch;
  const [budget] = (await ask('GET', `/projects/${project.id}/budgets`)).data;
  assert.equal(budget.spent_nst, sum, 'what was charged is what the budget counts');
  assert.ok(budget.spent_nst <= amount, `${budget.spent_nst} of ${amount}`);
  assert.ok(peak <= amount, `${peak} of ${amount} at some time`);
  assert.equal(budget.held_nst, 0);
  assert.equal(served + refused, 384);
  assert.ok(served >= 10 && refused > 0, `${served} served, ${refused} refused`);
  // Raised, it takes more; lowered below what was spent, nothing.
  await ask('PUT', `/projects/${project.id}/budgets/total`, { amount_nst: amount * 3 });
  assert.equal((await complete(keys[0].key, { max_tokens: 8 })).status, 200);
  await ask('PUT', `/projects/${project.id}/budgets/total`, { amount_nst: 5 });
  assert.equal((await complete(keys[0].key, { max_tokens: 8 })).status, 402);
  const audit = await json('account', 'audit', '--data', server.data);
  assert.equal(audit.holds_open, 0);
  assert.equal(audit.sum_nst, 0);
});

test('a key that is revoked while it is used ends within a second, also by another process', async () => {
  for (const by of ['admin', 'cli']) {
    const key = await ask('POST', '/keys', { name: by, account: 'demo' });
    let revokedAt = Infinity;
    let lastServed = 0;
    const workers = [...Array(8).keys()].map(async () => {
      for (;;) {
        const began = Date.now();
        const got = await complete(key.key, { max_tokens: 1 });
        if (got.status === 401) return;
        assert.equal(got.status, 200, JSON.stringify(got.body));
        // When it began counts: what is under way may end.
        lastServed = Math.max(lastServed, began);
        assert.ok(began < revokedAt + 1000, `served a request ${began - revokedAt} ms after`);
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (by === 'admin') await ask('DELETE', `/keys/${key.id}`);
    else {
      const done = await run('key', 'revoke', key.id, '--data', server.data);
      assert.equal(done.status, 0, done.stderr);
    }
    revokedAt = Date.now();
    await Promise.all(workers);
    assert.ok(lastServed > 0);
  }
});

test('rate limits: standard headers, 429 with Retry-After, and the level that is to blame', async () => {
  const key = await ask('POST', '/keys', { name: 'limited', account: 'demo', limits: { requests_per_minute: 3, tokens_per_minute: 100_000 } });
  const first = await complete(key.key);
  assert.equal(first.headers.get('x-ratelimit-limit-requests'), '3');
  assert.equal(first.headers.get('x-ratelimit-remaining-requests'), '2');
  assert.match(first.headers.get('x-ratelimit-reset-requests'), /^(\d+m)?\d+m?s$/);
  assert.equal(first.headers.get('x-ratelimit-limit-tokens'), '100000');
  const answers = await Promise.all([...Array(16).keys()].map(() => complete(key.key)));
  assert.equal(answers.filter((a) => a.status === 200).length, 2);
  for (const answer of answers.filter((a) => a.status !== 200)) {
    assert.equal(answer.status, 429);
    assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    assert.match(answer.body.error.message, /key 'limited' is limited to 3 requests per minute/);
  }
  await ask('PATCH', `/keys/${key.id}`, { limits: { requests_per_minute: 0, concurrent: 1 } });
  const both = await Promise.all([complete(key.key, { max_tokens: 60 }), complete(key.key, { max_tokens: 60 })]);
  assert.deepEqual(both.map((a) => a.status).sort(), [200, 429]);
});

test('the command line does the same', async () => {
  const at = ['--data', server.data];
  await json('org', 'create', 'beta', '--weight', '5', ...at);
  await json('team', 'create', 'core', '--organisation', 'beta', ...at);
  await json('project', 'create', 'api', '--team', 'beta/core', '--class', 'batch', '--tokens-per-minute', '5000', ...at);
  const key = await json('key', 'create', 'k', '--project', 'beta/core/api', '--models', 'other-*', '--expires', '2099-01-01', ...at);
  assert.equal(key.account, 'beta');
  assert.equal((await ask('GET', '/projects/api')).limits.tokens_per_minute, 5000);
  await eventually('the key is known', async () => (await complete(key.key)).status === 404, 2);
  const shown = await json('key', 'update', key.id, '--models', '*', '--concurrent', '3', ...at);
  assert.deepEqual(shown.models, ['*']);
  const budget = await json('org', 'budget', 'beta', 'month', '1.5', ...at);
  assert.equal(budget.amount_nst, 1_500_000_000);
  assert.equal((await json('org', 'budgets', 'beta', ...at)).data.length, 1);
  const rotated = await json('key', 'rotate', key.id, '--grace', '0', ...at);
  await eventually('only the new secret is good', async () =>
    (await complete(key.key)).status === 401 && (await complete(rotated.key)).status === 402, 2);
  assert.ok((await json('project', 'suspend', 'api', ...at)).suspended);
  for (const [args, says] of [[['key', 'create', 'x', '--project', 'none'], /no project/], [['org', 'create', 'beta'], /already/],
    [['key', 'create', 'x', '--scope', 'root'], /no scope/], [['org', 'budget', 'beta', 'year', '1'], /no period/]]) {
    const refused = await run(...args, ...at);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, says);
  }
});
