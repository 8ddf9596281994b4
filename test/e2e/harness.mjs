// Starts the real binary on a free loopback port with a data directory of its own, and asks it things.
import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, '..', '..');
export const binary = process.env.TOKENGRID ?? join(root, 'build', 'tokengrid');
export const bundled = join(root, 'models', 'tokengrid-tiny.gguf');

export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), 'tokengrid-e2e-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

// Runs one command to its end; never throws.
export function run(...args) {
  return new Promise((resolve) => {
    execFile(binary, args, { maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      resolve({ status: error ? (error.code ?? -1) : 0, stdout, stderr });
    });
  });
}

export async function json(...args) {
  const done = await run(...args, '--json');
  if (done.status !== 0) throw new Error(`${args.join(' ')}: ${done.stderr}`);
  return JSON.parse(done.stdout);
}

// The gateway over a model that says what the user's message tells it to (scripted_gateway.cc).
export const scripted = process.env.SCRIPTED_GATEWAY ?? join(root, 'build', 'release', 'test', 'scripted_gateway');
export const haveScripted = existsSync(scripted);
export const say = (...turns) => `<<say>>${turns.join('<<next>>')}<<end>>`;

export class ScriptedServer {
  static async start() {
    const server = new ScriptedServer();
    server.process = spawn(scripted, [scratch()]);
    server.exited = new Promise((resolve) => server.process.on('exit', (code) => resolve(code)));
    process.on('exit', () => server.process.kill('SIGKILL'));
    let output = '';
    await new Promise((resolve, reject) => {
      server.process.stdout.on('data', (chunk) => {
        output += chunk;
        const found = /key (\S+)\nlistening on (\S+)\n/.exec(output);
        if (found) resolve(([, server.key, server.url] = found));
      });
      server.exited.then(() => reject(new Error(`scripted gateway ended: ${output}`)));
    });
    return server;
  }

  // 0 if every hold was closed exactly once.
  async stop() {
    this.process.kill('SIGTERM');
    return this.exited;
  }
}

export class Server {
  // Resolves when the server says where it listens.
  static async start({ data = scratch(), model = bundled, args = [] } = {}) {
    const server = new Server();
    server.data = data;
    server.output = '';
    server.process = spawn(binary, ['serve', '--port', '0', '--data', data, '--model', model, ...args]);
    server.exited = new Promise((resolve) => server.process.on('exit', (code, signal) => resolve({ code, signal })));
    process.on('exit', () => server.process.kill('SIGKILL'));
    await new Promise((resolve, reject) => {
      const look = (chunk) => {
        server.output += chunk;
        const found = /listening on (https?:\/\/[0-9.]+:\d+)/.exec(server.output);
        if (found) resolve((server.url = found[1]));
      };
      server.process.stdout.on('data', look);
      server.process.stderr.on('data', look);
      server.exited.then(() => reject(new Error(`server ended: ${server.output}`)));
    });
    server.key = readFileSync(join(data, 'first-key'), 'utf8').trim();
    return server;
  }

  fetch(path, { method = 'GET', body, key = this.key, headers = {} } = {}) {
    return fetch(this.url + path, {
      method: body !== undefined && method === 'GET' ? 'POST' : method,
      headers: { ...(key ? { authorization: `Bearer ${key}` } : {}), 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' || body instanceof Uint8Array || body === undefined ? body : JSON.stringify(body),
    });
  }

  // The value of a metric summed over its labels; an unknown name fails.
  async metric(name) {
    const text = await (await this.fetch('/metrics')).text();
    if (!text.includes(`\n${name}`)) throw new Error(`no metric ${name}`);
    let sum = 0;
    for (const line of text.split('\n')) {
      if (line.startsWith(name) && [' ', '{'].includes(line[name.length])) sum += Number(line.split(' ').at(-1));
    }
    return sum;
  }

  async stop() {
    this.process.kill('SIGTERM');
    return this.exited;
  }

  async kill() {
    this.process.kill('SIGKILL');
    return this.exited;
  }
}

// A test that shows one thing that one client does on one path; table.mjs makes docs/clients.md of these calls, so the first
// three arguments are literals.
export const row = (client, path, shown, run, options = {}) => test(`${client} ${path}: ${shown}`, options, run);

// Polls until `condition` holds; fails after `seconds`.
export async function eventually(what, condition, seconds = 10) {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    if (await condition()) return;
    if (Date.now() > until) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const haveBinary = existsSync(binary);
