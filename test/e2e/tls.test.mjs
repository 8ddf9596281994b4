// The same API over TLS, with a certificate from the configuration file; a bad pair is one clear line.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import https from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundled, run, scratch, Server } from './harness.mjs';

function get(url, key) {
  return new Promise((resolve, reject) => {
    const request = https.get(url, { rejectUnauthorized: false, headers: { authorization: `Bearer ${key}` } },
      (response) => {
        let body = '';
        response.on('data', (chunk) => { body += chunk; });
        response.on('end', () => resolve({ status: response.statusCode, body }));
      });
    request.on('error', reject);
  });
}

test('serves over TLS and refuses a key that does not fit', async () => {
  const folder = scratch();
  for (const name of ['a', 'b']) {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-days', '2', '-subj', '/CN=localhost',
      '-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`)], { stdio: 'ignore' });
  }
  const config = (key) => {
    const file = join(folder, 'c.toml');
    writeFileSync(file, `[server]\ntls_certificate = "${folder}/a.crt"\ntls_key = "${folder}/${key}.key"\n`);
    return ['--config', file];
  };
  const refused = await run('serve', '--port', '0', '--data', scratch(), '--model', bundled, ...config('b'));
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /tokengrid: .*key/);
  const server = await Server.start({ args: config('a') });
  assert.match(server.url, /^https:/);
  const models = await get(`${server.url}/v1/models`, server.key);
  assert.equal(models.status, 200);
  assert.equal(JSON.parse(models.body).data[0].id, 'tokengrid-tiny');
  assert.equal((await server.stop()).code, 0);
});
