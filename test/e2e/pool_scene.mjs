// A pool of five unequal suppliers behind one door: the gateway's own engine, two nodes (in network namespaces behind links
// with delay, where we may make them), a llama.cpp and a vLLM that are mocks. For the test and for the demonstration.
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binary, bundled, scratch, Server } from './harness.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A child process that says where it listens.
export class Child {
  static async start(command, args, pattern) {
    const child = new Child();
    child.output = '';
    child.process = spawn(command, args);
    child.exited = new Promise((resolve) => child.process.on('exit', (code, signal) => resolve({ code, signal })));
    process.setMaxListeners(64);
    process.on('exit', () => child.process.kill('SIGKILL'));
    await new Promise((resolve, reject) => {
      const look = (chunk) => {
        child.output += chunk;
        const found = pattern.exec(child.output);
        if (found) resolve((child.address = found[1]));
      };
      child.process.stdout.on('data', look);
      child.process.stderr.on('data', look);
      child.exited.then(() => reject(new Error(`${command} ${args.join(' ')} ended: ${child.output}`)));
    });
    return child;
  }

  // A slower device: it stands still for the rest of every 20 ms. Until the returned function is called.
  throttle(share) {
    let isOn = true;
    (async () => {
      while (isOn) {
        await sleep(20 * share);
        this.process.kill('SIGSTOP');
        await sleep(20 * (1 - share));
        this.process.kill('SIGCONT');
      }
    })();
    return (this.unthrottle = () => { isOn = false; this.process.kill('SIGCONT'); });
  }

  async kill() {
    this.unthrottle?.();
    this.process.kill('SIGKILL');
    return this.exited;
  }

  async stop() {
    this.unthrottle?.();
    this.process.kill('SIGTERM');
    return this.exited;
  }
}

export const mockEngine = (kind, ...args) =>
  Child.start(process.execPath, [join(here, 'mock_engine.mjs'), '--kind', kind, ...args], /listening on (http:\S+)/);

// TCP with a delay each way, where the kernel has no netem.
export async function delayProxy(host, port, ms) {
  const server = createServer((client) => {
    const upstream = connect(port, host);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      from.setNoDelay(true);
      from.on('data', (bytes) => setTimeout(() => to.destroyed || to.write(bytes), ms));
      from.on('close', () => setTimeout(() => to.destroy(), ms));
      from.on('error', () => to.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { address: `127.0.0.1:${server.address().port}`, close: () => server.close() };
}

const ip = (...args) => execFileSync('ip', args, { stdio: 'pipe' });

// A network namespace of its own behind a veth pair; undefined where we may not.
export function makeNamespace(number, delayMs) {
  const name = `tg${process.pid % 10_000}n${number}`;
  const [outer, inner] = [`${name}o`, `${name}i`];
  const subnet = `10.${100 + (process.pid >> 6) % 100}.${(process.pid % 64) * 4 + number}`;
  try {
    ip('netns', 'add', name);
    ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner);
    ip('link', 'set', inner, 'netns', name);
    ip('addr', 'add', `${subnet}.1/24`, 'dev', outer);
    ip('link', 'set', outer, 'up');
    ip('-n', name, 'addr', 'add', `${subnet}.2/24`, 'dev', inner);
    ip('-n', name, 'link', 'set', inner, 'up');
    ip('-n', name, 'link', 'set', 'lo', 'up');
  } catch {
    try { ip('netns', 'del', name); } catch { /* it was not made */ }
    return undefined;
  }
  process.on('exit', () => { try { ip('netns', 'del', name); } catch { /* gone */ } });
  let hasNetem = true;
  try {
    execFileSync('tc', ['qdisc', 'add', 'dev', outer, 'root', 'netem', 'delay', `${delayMs}ms`], { stdio: 'pipe' });
  } catch {
    hasNetem = false;
  }
  return { name, host: `${subnet}.2`, hasNetem };
}

// A node; `port` 0 is any. Its address for gateways is `via`.
export async function startNode({ name, data, tokenFile, port = 0, namespace, delayMs = 0, args = [] }) {
  const host = namespace?.host ?? '127.0.0.1';
  const command = ['node', '--model', bundled, '--name', name, '--data', data, '--token-file', tokenFile, '--host', host,
    '--port', String(port), '--threads', '1', ...args];
  const child = namespace
    ? await Child.start('ip', ['netns', 'exec', namespace.name, binary, ...command], /listening on (\S+:\d+)/)
    : await Child.start(binary, command, /listening on (\S+:\d+)/);
  child.port = Number(child.address.split(':').at(-1));
  child.via = child.address;
  if (delayMs > 0 && !namespace?.hasNetem) {
    child.proxy = await delayProxy(host, child.port, delayMs);
    child.via = child.proxy.address;
  }
  return child;
}

// Reads an SSE stream of chat chunks to its end.
// `heard` is called with each piece of its text.
export async function chat(server, body, headers = {}, heard = () => {}) {
  const started = performance.now();
  const response = await server.fetch('/v1/chat/completions',
    { body: { ...body, stream: true, stream_options: { include_usage: true } }, headers });
  const out = { status: response.status, route: response.headers.get('x-tokengrid-route'), text: '', done: false };
  if (response.status !== 200) return { ...out, retryAfter: response.headers.get('retry-after'), error: await response.text() };
  let buffer = '';
  for await (const chunk of response.body) {
    buffer += Buffer.from(chunk).toString('utf8');
    const events = buffer.split('\n\n');
    buffer = events.pop();
    for (const event of events) {
      if (!event.startsWith('data: ')) continue;
      if (event === 'data: [DONE]') { out.done = true; continue; }
      const data = JSON.parse(event.slice(6));
      if (data.error) out.error = data.error.message;
      const piece = data.choices?.[0]?.delta?.content ?? '';
      if (piece && out.ttftMs === undefined) out.ttftMs = performance.now() - started;
      out.text += piece;
      if (piece) heard(piece);
      out.finish = data.choices?.[0]?.finish_reason ?? out.finish;
      out.usage = data.usage ?? out.usage;
    }
  }
  out.totalMs = performance.now() - started;
  return out;
}

export class PoolScene {
  static async start({ namespaces = true, args = [], data = scratch() } = {}) {
    const scene = new PoolScene();
    scene.folder = scratch();
    scene.tokenFile = join(scene.folder, 'join-token');
    writeFileSync(scene.tokenFile, 'a secret of this fleet\n');
    scene.namespaces = namespaces ? [makeNamespace(1, 2), makeNamespace(2, 10)] : [];
    scene.nodeOptions = [
      { name: 'node-near', data: scratch(), tokenFile: scene.tokenFile, namespace: scene.namespaces[0], delayMs: 2 },
      { name: 'node-far', data: scratch(), tokenFile: scene.tokenFile, namespace: scene.namespaces[1], delayMs: 10 }];
    [scene.near, scene.far] = await Promise.all(scene.nodeOptions.map(startNode));
    [scene.llama, scene.vllm] = await Promise.all([
      mockEngine('llama.cpp', '--model', 'tiny', '--tpot-ms', '6', '--slots', '4'),
      mockEngine('vllm', '--model', 'tiny', '--tpot-ms', '4', '--slots', '8')]);
    scene.far.throttle(0.4);
    const config = join(scene.folder, 'config.toml');
    writeFileSync(config, `
[pool]
local_zone = "here"
stall_s_max = 5
breaker_s = 1
[[supplier]]
name = "node-near"
kind = "node"
address = "${scene.near.via}"
token_file = "${scene.tokenFile}"
zone = "near"
[[supplier]]
name = "node-far"
kind = "node"
address = "${scene.far.via}"
token_file = "${scene.tokenFile}"
zone = "far"
[[supplier]]
name = "llama"
kind = "llama.cpp"
url = "${scene.llama.address}"
zone = "here"
[[supplier]]
name = "vllm"
kind = "vllm"
url = "${scene.vllm.address}"
model = "tiny"
zone = "here"
`);
    scene.server = await Server.start({ data, args: ['--config', config, '--threads', '1', ...args] });
    return scene;
  }

  // The value of a supplier's metric.
  async supplierMetric(name, supplier) {
    const text = await (await this.server.fetch('/metrics')).text();
    const line = text.split('\n').find((l) => l.startsWith(`tokengrid:supplier_${name}{supplier="${supplier}"`));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  }

  async restartNear() {
    const { port, proxy, via } = this.near;
    this.near = Object.assign(await startNode({ ...this.nodeOptions[0], port, delayMs: 0 }), { proxy, via });
  }

  async stop() {
    const ended = await this.server.stop();
    for (const child of [this.near, this.far, this.llama, this.vllm]) {
      child.proxy?.close();
      await child.kill();
    }
    return ended;
  }
}
