// Documents drawn from the masks of a thousand random schemas, against a validator nobody here wrote. The documents
// come from grammar_test (src/grammar/random_schema_test.cc), which draws them with the bundled model's vocabulary.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { root, scratch } from './harness.mjs';

const generator = process.env.TG_GRAMMAR_TEST ?? join(root, 'build', 'release', 'grammar_test');

test('every document of 1,000 random schemas validates', () => {
  assert.ok(existsSync(generator), `${generator} is not built: ./dev test builds it, or set TG_GRAMMAR_TEST`);
  const file = join(scratch(), 'samples.jsonl');
  execFileSync(generator, ['--gtest_filter=RandomSchemas.*', '--gtest_brief=1'],
    { env: { ...process.env, TG_SCHEMA_SAMPLES: file }, stdio: ['ignore', 'ignore', 'inherit'] });
  const ajv = addFormats(new Ajv.default({ strict: false, allErrors: true }));
  const validators = new Map();
  const failures = [];
  let documents = 0;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line === '') continue;
    const { schema, document } = JSON.parse(line);
    const key = JSON.stringify(schema);
    if (!validators.has(key)) validators.set(key, ajv.compile(schema));
    const validate = validators.get(key);
    documents += 1;
    if (!validate(JSON.parse(document))) failures.push(`${document}\n  ${JSON.stringify(validate.errors.slice(0, 2))}\n  ${key}`);
  }
  assert.equal(validators.size, 1000);
  assert.equal(documents, 3000);
  assert.equal(failures.length, 0, `${failures.length} of ${documents} are not valid, the first:\n${failures.slice(0, 3).join('\n')}`);
  // A validator that accepts all would pass, too: it must refuse what is broken on purpose.
  const [validate] = validators.values();
  assert.equal(validate(12.5) && validate('x') && validate([]) && validate({}), false);
});
