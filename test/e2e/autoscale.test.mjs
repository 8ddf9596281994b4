// Real nodes launched by the gateway: from none for the first request, more as load rises, another for one that is killed,
// none when nobody asks; nothing is dropped on the way and no process stays behind.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isAlive, ScalingScene } from './autoscale_scene.mjs';
import { eventually, haveBinary, json, run, scratch, Server } from './harness.mjs';
import { chat } from './pool_scene.mjs';

const options = { skip: haveBinary ? false : 'no binary', timeout: 240_000 };
const question = { model: 'tokengrid-tiny', messages: [{ role: 'user', content: 'What is 2 + 2?' }], max_tokens: 8 };

test('load comes and goes, and so do nodes', options, async (t) => {
  const scene = await ScalingScene.start({ settings: { replicas_max: 1 } });
  t.after(() => scene.server.kill());
  let isGood = false;
  t.after(() => isGood || console.log(scene.server.output.slice(-6_000)));
  assert.deepEqual(await scene.processes(), [], 'nobody has asked');
  assert.equal((await scene.status()).desired_replicas, 0);

  const first = await chat(scene.server, question);
  assert.equal(first.status, 200, first.error);
  assert.match(first.route, /supplier=auto-1/);
  const started = await scene.status();
  assert.equal(started.ready_replicas, 1, JSON.stringify(started));
  assert.ok(started.cold_start_is_measured && started.cold_start_seconds > 0);

  scene.load(10);
  const one = await scene.rate(4);
  scene.write({ replicas_max: 4 });
  await eventually('four are ready', async () => (await scene.status()).ready_replicas === 4, 30);
  await scene.rate(1);
  const four = await scene.rate(4);
  console.log(`${one.toFixed(0)} tokens/s of one node, ${four.toFixed(0)} of four`);
  assert.ok(four > 2 * one, `${four} tokens/s of four nodes, ${one} of one`);
  assert.equal(await scene.server.metric('tokengrid:autoscale_ready_replicas'), 4);

  const { replicas } = await scene.status();
  const victim = replicas.find((r) => r.name === 'auto-2');
  process.kill(victim.process, 'SIGKILL');
  await eventually('auto-2 is replaced', async () => {
    const now = (await scene.status()).replicas.find((r) => r.name === 'auto-2');
    return now.state === 'ready' && now.process !== victim.process;
  }, 30);
  assert.match((await scene.status()).replicas.find((r) => r.name === 'auto-2').last_error, /signal 9/);

  await scene.load(0);
  for (const reply of scene.replies) {
    assert.ok(reply.status === 200 && reply.done && !reply.error, JSON.stringify(reply));
  }
  const before = await scene.processes();
  assert.equal(before.length, 4);
  await eventually('all have ended', async () => (await scene.processes()).length === 0, 40);
  assert.deepEqual(before.filter(isAlive), [], 'none is left, not as a zombie either');
  const idle = await scene.status();
  assert.equal(idle.desired_replicas, 0, JSON.stringify(idle));

  const again = await chat(scene.server, question);
  assert.equal(again.status, 200, again.error);
  assert.ok(again.done && !again.error);
  const account = await json('account', 'show', 'demo', '--data', scene.data);
  const audit = await json('receipt', 'audit', '--data', scene.data);
  assert.equal(account.spent_nst, audit.billed);
  assert.equal(account.held_nst, 0);
  assert.equal(audit.pages, scene.replies.length + 2, 'a receipt for every reply');
  const last = await scene.processes();
  assert.equal(last.length, 1);
  assert.equal((await scene.stop()).code, 0);
  assert.deepEqual(last.filter(isAlive), [], 'SIGTERM ends them with the gateway');
  isGood = true;
});

test('warm ones are there before they are needed, and nodes die with a gateway that is killed', options, async (t) => {
  const scene = await ScalingScene.start({ settings: { replicas_max: 2, warm: 1 } });
  t.after(() => scene.server.kill());
  await eventually('one is warm', async () => (await scene.status()).warm_replicas === 1, 20);
  assert.equal((await scene.status()).ready_replicas, 0);
  const reply = await chat(scene.server, question);
  assert.equal(reply.status, 200, reply.error);
  await eventually('another is warm', async () => {
    const now = await scene.status();
    return now.warm_replicas === 1 && now.ready_replicas === 1;
  }, 20);
  const processes = await scene.processes();
  assert.equal(processes.length, 2);
  await scene.server.kill();
  await eventually('they notice', () => !processes.some(isAlive), 10);
});

test('nodes that do not start: requests wait as long as they may, and it is said why', options, async (t) => {
  const scene = await ScalingScene.start({ settings: { wrapper: ['false'], wait_s_max: 2, retry_s: 0.5 } });
  t.after(() => scene.server.kill());
  const began = performance.now();
  const reply = await chat(scene.server, question);
  const waited = performance.now() - began;
  assert.equal(reply.status, 503, JSON.stringify(reply));
  assert.ok(waited > 1_500 && waited < 20_000, `${waited} ms`);
  const { failures, replicas } = await scene.status();
  assert.ok(failures >= 2 && failures <= 8, `${failures} failures`);
  assert.match(replicas[0].last_error, /exit 1/);
  assert.equal((await scene.stop()).code, 0);
});

test('mistakes in [autoscale] are told with their line', options, async () => {
  const config = join(scratch(), 'config.toml');
  for (const [lines, says] of [
    ['[autoscale]\nreplicas = 3', /config\.toml, line 2: unknown setting 'autoscale\.replicas'/],
    ['[autoscale]\nwarm = -1', /config\.toml, line 2: autoscale\.warm is -1, not within 0\.\.1000/],
    ['[autoscale]\nreplicas_min = 3\nreplicas_max = 2', /config\.toml, line 1: autoscale\.replicas_min is 3, above replicas_max of 2/],
    ['[autoscale]\nwindow_s = 4\npanic_window_s = 3', /panic_window_s is 3, more than half of window_s of 4/],
    ['[autoscale]\nwrapper = "nice"', /config\.toml, line 2: autoscale\.wrapper must be an array of strings/],
    ['[autoscale]\nlaunch = false', /config\.toml, line 1: autoscale\.launch = false needs pool\.nats/],
    ['autoscale = 3', /config\.toml, line 1: autoscale must be a table/],
  ]) {
    writeFileSync(config, `${lines}\n`);
    const done = await run('serve', '--port', '0', '--data', scratch(), '--config', config);
    assert.equal(done.status, 1, done.stdout);
    assert.match(done.stderr, says);
  }
});

test('a mistake while it runs changes nothing', options, async (t) => {
  const scene = await ScalingScene.start();
  t.after(() => scene.server.kill());
  scene.write({ warm: -1 });
  await eventually('it is told', () => /the configuration stays as it was: .*autoscale\.warm is -1/.test(scene.server.output), 10);
  scene.write({ warm: 0, replicas_min: 1 });
  await eventually('one is ready', async () => (await scene.status()).ready_replicas === 1, 20);
  assert.equal((await scene.stop()).code, 0);
});

test('without [autoscale] there is nothing to say', options, async (t) => {
  const server = await Server.start();
  t.after(() => server.kill());
  assert.ok(!(await (await server.fetch('/metrics')).text()).includes('autoscale'));
  assert.equal((await server.stop()).code, 0);
});
