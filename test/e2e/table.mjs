// The rows of dialects.test.mjs as docs/clients.md: `node test/e2e/table.mjs` writes it, `--check` says whether it is
// as the tests are.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const file = join(here, '..', '..', 'docs', 'clients.md');
const source = readFileSync(join(here, 'dialects.test.mjs'), 'utf8');
const rows = [...source.matchAll(/^ {2}\['([^']+)', '([^']+)', '([^']+)', async/gm)];
const { dependencies } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
const helpers = /^(ajv|ajv-formats|js-yaml|zod)$/;
const versions = Object.entries(dependencies).filter(([name]) => !helpers.test(name)).map(([name, version]) => `${name} ${version}`).join(', ');
const text = `# Clients

What unmodified clients are shown to do by \`test/e2e/dialects.test.mjs\`, which this page is made from
(\`node test/e2e/table.mjs\`). Versions: ${versions}.

| client | path | shown |
|---|---|---|
${rows.map(([, client, path, feature]) => `| ${client} | \`${path}\` | ${feature} |`).join('\n')}
`;
if (process.argv[2] === '--check') {
  if (readFileSync(file, 'utf8') !== text) {
    console.error('docs/clients.md is not as the tests are: run node test/e2e/table.mjs');
    process.exit(1);
  }
} else {
  writeFileSync(file, text);
}
