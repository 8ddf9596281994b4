// OpenAI's own command-line programmer, unmodified and without a screen, mends a bug through the gateway: the scripted model
// says which commands to run, codex runs them and sends back what they printed. Skipped, visibly, where npm had no build of it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { haveScripted, root, row, say, scratch, ScriptedServer } from './harness.mjs';

const codex = join(root, 'test', 'e2e', 'node_modules', '.bin', 'codex');
const skip = !haveScripted ? 'scripted_gateway is not built' : existsSync(codex) ? false : '@openai/codex is not installed';

const command = (cmd) => `<tool_call>\n${JSON.stringify({ name: 'exec_command', arguments: { cmd } })}\n</tool_call>`;
const script = say(`<think>\nFirst I look.\n</think>\n\nI look at it.\n${command('cat add.mjs')}`, command("sed -i 's/a - b/a + b/' add.mjs"),
  command('node check.mjs'), 'The sum was a difference; it is mended and checked.');

// As it comes: what it offers beside functions, its model here does without.
const settings = (url) => ['-m', 'scripted', '-c', 'model_provider="tokengrid"', '-c',
  `model_providers.tokengrid={name="tokengrid",base_url="${url}/v1",env_key="TOKENGRID_KEY",wire_api="responses",request_max_retries=0,stream_max_retries=0}`];

// Resolves with its events, one JSON object a line.
function ask(server, folder, home, prompt) {
  const args = ['exec', '--json', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', '-C', folder, ...settings(server.url), prompt];
  const env = { PATH: process.env.PATH, HOME: home, CODEX_HOME: home, TOKENGRID_KEY: server.key };
  return new Promise((resolve, reject) => {
    const child = execFile(codex, args, { env, timeout: 60_000 }, (error, stdout, stderr) => {
      if (error) return reject(new Error(`codex: ${error.message}\n${stdout}\n${stderr}`));
      resolve(stdout.trim().split('\n').map((line) => JSON.parse(line)));
    });
    child.stdin.end();
  });
}

row('codex', '/v1/responses', 'a scripted task, from reading the bug to the passing check', async () => {
  const server = await ScriptedServer.start();
  const folder = scratch();
  const home = join(scratch(), 'home');
  mkdirSync(home);
  writeFileSync(join(folder, 'add.mjs'), 'export const add = (a, b) => a - b;\n');
  writeFileSync(join(folder, 'check.mjs'), "import { add } from './add.mjs';\nif (add(2, 3) !== 5) throw new Error('wrong');\nconsole.log('all is well');\n");
  const events = await ask(server, folder, home, `Mend add.mjs. ${script}`);
  assert.equal(readFileSync(join(folder, 'add.mjs'), 'utf8'), 'export const add = (a, b) => a + b;\n');
  const done = events.filter((event) => event.type === 'item.completed').map((event) => event.item);
  const commands = done.filter((item) => item.type === 'command_execution');
  assert.deepEqual(commands.map((item) => item.exit_code), [0, 0, 0]);
  assert.match(commands[0].aggregated_output, /a - b/);
  assert.equal(commands[2].aggregated_output, 'all is well\n');
  assert.equal(done.filter((item) => item.type === 'agent_message').at(-1).text, 'The sum was a difference; it is mended and checked.');
  const { usage } = events.find((event) => event.type === 'turn.completed');
  assert.ok(usage.input_tokens > 4 * 1000 && usage.output_tokens > 100, JSON.stringify(usage));
  assert.equal(await server.stop(), 0, 'every hold closed exactly once');
}, { skip });
