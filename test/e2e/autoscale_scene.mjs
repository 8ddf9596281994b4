// A gateway that launches its nodes itself, and clients that come and go. For the test and for the demonstration.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv/dist/2020.js';
import { eventually, run, scratch, Server } from './harness.mjs';
import { chat } from './pool_scene.mjs';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const isAlive = (id) => {
  try { return process.kill(id, 0); } catch { return false; }
};

export class ScalingScene {
  // `paceMs`: a step of a node takes at least so long. Two cores cannot show four nodes computing at full speed, but they can
  // show four slower devices.
  static async start({ paceMs = 10, settings = {} } = {}) {
    const scene = new ScalingScene();
    scene.data = scratch();
    scene.config = join(scene.data, 'config.toml');
    scene.settings = {
      replicas_min: 0, replicas_max: 4, threads: 1, running_max: 2, window_s: 6, panic_window_s: 1, idle_s: 2, drain_s: 2,
      retry_s: 0.2, kv_tokens: 4096, arguments: ['--pace-ms', String(paceMs)], ...settings };
    scene.write({});
    scene.server = await Server.start({ data: scene.data, args: ['--config', scene.config, '--threads', '1'] });
    const made = await run('key', 'create', 'ops', '--account', 'ops', '--scope', 'admin', '--data', scene.data, '--json');
    scene.admin = JSON.parse(made.stdout).key;
    await eventually('the admin key is known', async () => (await scene.ask()).status === 200, 5);
    scene.clients = [];
    scene.replies = [];
    return scene;
  }

  // Changes settings of [autoscale]; the server sees it within a second.
  write(changes) {
    Object.assign(this.settings, changes);
    const lines = Object.entries(this.settings).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    writeFileSync(this.config, `[pool]\nlocal = false\n[autoscale]\n${lines.join('\n')}\n`);
  }

  ask() { return this.server.fetch('/admin/v1/autoscale', { key: this.admin }); }
  async status() {
    const status = await (await this.ask()).json();
    this.validate ??= await this.documented();
    assert.ok(this.validate(status), JSON.stringify(this.validate.errors));
    return status;
  }
  // The admin API's own description of it.
  async documented() {
    const document = await (await this.server.fetch('/admin/v1/openapi.json', { key: '' })).json();
    return new Ajv({ strict: false }).addSchema(document, 'admin').getSchema('admin#/components/schemas/Autoscale');
  }
  async processes() { return (await this.status()).replicas.map((r) => r.process).filter((id) => id !== null); }

  // So many clients that ask, one request after the other, until there are to be fewer.
  load(count) {
    this.wanted = count;
    while (this.clients.length < count) this.clients.push(this.client(this.clients.length));
    const gone = this.clients.splice(count);
    return Promise.all(gone);
  }
  async client(number) {
    for (let i = 0; number < this.wanted; ++i) {
      const began = performance.now();
      const reply = await chat(this.server, {
        model: 'tokengrid-tiny', messages: [{ role: 'user', content: `Tell me a story about ${number} foxes and ${i}.` }],
        max_tokens: 48, seed: i });
      this.replies.push({ began, ended: performance.now(), tokens: reply.usage?.completion_tokens ?? 0, ...reply });
    }
  }
  // Output tokens per second of replies that ended within the next `seconds`.
  async rate(seconds) {
    const from = this.replies.length;
    await sleep(1000 * seconds);
    return this.replies.slice(from).reduce((sum, r) => sum + r.tokens, 0) / seconds;
  }

  stop() { return this.server.stop(); }
}
