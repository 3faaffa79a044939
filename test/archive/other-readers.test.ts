/** Archives before programs that know nothing of Steno: each finds the same frames. */

import { execFile } from 'node:child_process'
import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { createSink } from '../../src/sink/create-sink.ts'
import { startAwsDouble, STATIC_KEYS, STREAM } from '../support/aws/double.ts'
import { setAwsEnvironment } from '../support/aws/environment.ts'
import { segmentMember, storyLines } from '../support/build-recording.ts'
import { steno } from '../support/cli.ts'

const run = promisify(execFile)
const KEPT = join(import.meta.dirname, '../recordings/current')
const HOW_TO_INSTALL = 'DuckDB is not installed: python3 -m venv ~/.cache/steno-duckdb && ~/.cache/steno-duckdb/bin/pip install duckdb==2.0.0, and set STENO_DUCKDB=~/.cache/steno-duckdb/bin/python'
const PYTHON = `
import glob, gzip, sys
for name in sorted(glob.glob(sys.argv[1] + "/**/*.jsonl.gz", recursive=True)):
    sys.stdout.buffer.write(gzip.open(name).read())
`
/** One line a row, as the table for Athena in docs/aws.md has it. */
const DUCKDB = `
import duckdb, sys
rows = duckdb.sql(f"""
    SELECT line, json_extract_string(line, '$.kind') = 'mcp' AND json_extract_string(line, '$.method') = 'tools/call' AS call
    FROM read_csv('{sys.argv[1]}/**/*.jsonl.gz', columns = {{'line': 'VARCHAR'}}, auto_detect = false, header = false, delim = '\\x01', quote = '', escape = '', max_line_size = 16777216)
""").fetchall()
for line, call in rows:
    print('call' if call else 'line', line)
`

/** Frames among lines, sorted: readers go through files in orders of their own. */
function frames(text: string): readonly string[] {
  return text.split('\n').filter(line => line.startsWith('{"writer":')).sort()
}

async function zcat(folder: string): Promise<string> {
  let text = ''
  for await (const name of glob('**/*.jsonl.gz', { cwd: folder })) text += (await run('zcat', [join(folder, name)])).stdout
  return text
}

async function nodeZlib(folder: string): Promise<string> {
  let text = ''
  for await (const name of glob('**/*.jsonl.gz', { cwd: folder })) text += gunzipSync(await readFile(join(folder, name))).toString()
  return text
}

/** Each line after `line` or `call`. Skips the test where DuckDB is missing. */
async function duckdb(test: Mocha.Context, folder: string): Promise<readonly string[]> {
  const python = process.env['STENO_DUCKDB']
  if (python === undefined) {
    if (process.env['CI'] === 'true') throw new Error(HOW_TO_INSTALL)
    console.error(`      skipped: ${HOW_TO_INSTALL}`)
    return test.skip()
  }
  return (await run(python, ['-c', DUCKDB, folder])).stdout.split('\n')
}

describe('an archive before other readers', () => {
  let folder: string
  let archives: Readonly<Record<string, string>>

  before(async () => {
    const restore = setAwsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret })
    const aws = await startAwsDouble({ bufferMs: 60_000, bufferBytes: 1e9 })
    folder = await mkdtemp(join(tmpdir(), 'steno-readers-'))
    const lines = storyLines('w1')
    const sink = await createSink({ type: 'firehose', stream: STREAM, region: 'us-east-1', endpoint: aws.endpoint }, Date.now)
    const index = { writer: 'w1', firstSeq: 0, lastSeq: 0, frames: 1, sessions: [] }
    for (const bytes of [segmentMember('w1', lines, { from: 0, to: 6 }), segmentMember('w1', lines, { from: 6 })]) await sink.put([{ index, bytes }], new AbortController().signal)
    await sink.close()
    aws.stream.flush()
    // One object with all members, joined by the stream.
    expect(aws.bucket.keys.size).to.equal(1)
    for (const [key, versions] of aws.bucket.keys) await writeFile(join(folder, key.split('/').at(-1) ?? ''), versions[0]?.bytes ?? '')
    await aws.close()
    restore()
    archives = { 'what Firehose wrote': folder, 'a folder of many files': KEPT }
  })
  after(async () => await rm(folder, { recursive: true, force: true }))

  for (const name of ['what Firehose wrote', 'a folder of many files']) {
    const own = async (): Promise<readonly string[]> => frames(await nodeZlib(archives[name] ?? ''))

    it(`has as many frames for Node's zlib as verify counts: ${name}`, async () => {
      const { writers } = JSON.parse((await steno(['verify', '--archive', archives[name] ?? '', '-o', 'json'])).out) as { readonly writers: readonly { readonly frames: number }[] }
      expect((await own()).length).to.equal(writers.reduce((sum, each) => sum + each.frames, 0)).and.be.greaterThan(5)
    })

    it(`holds the same lines for zcat and for Python: ${name}`, async () => {
      const place = archives[name] ?? ''
      expect(frames(await zcat(place))).to.deep.equal(await own())
      expect(frames((await run('python3', ['-c', PYTHON, place])).stdout)).to.deep.equal(await own())
    })

    it(`holds the same lines, and the same calls of tools, for DuckDB: ${name}`, async function () {
      this.timeout(60_000)
      const rows = await duckdb(this, archives[name] ?? '')
      expect(frames(rows.map(row => row.slice('line '.length)).join('\n'))).to.deep.equal(await own())
      const calls = (await own()).filter(line => /"kind":"mcp".*"method":"tools\/call"/.test(line))
      expect(rows.filter(row => row.startsWith('call '))).to.have.length(calls.length)
      expect(calls).to.not.be.empty
    })
  }
})
