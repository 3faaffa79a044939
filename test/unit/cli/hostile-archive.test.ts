import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { expect } from 'chai'
import fc from 'fast-check'

import { frameLine, segmentPayload, storyLines, writeFileIn } from '../../support/build-recording.ts'
import { steno } from '../../support/cli.ts'
import type { CliRun } from '../../support/cli.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'
import { hostileFiles } from '../../support/hostile-recording.ts'

// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069]/
/** Stands only in a file outside of every archive. */
const OUTSIDE = 'outside-of-the-archive'

const COMMANDS: readonly (readonly string[])[] = [
  ['list'],
  ['list', '-o', 'wide'],
  ['list', '-o', 'json', '--tool', 'echo'],
  ['show', 'ID'],
  ['show', 'ID', '--all', '-o', 'wide'],
  ['show', 'ID', '--paired', '--grep', 'kind:req -"x"'],
  ['show', 'ID', '-o', 'yaml'],
  ['show', 'ID', '-o', 'json', '--all'],
  ['frame', 'ID', '1'],
  ['frame', 'ID', '3', '-o', 'yaml'],
  ['frame', 'ID', '2', '-o', 'json'],
  ['play', 'ID'],
  ['play', 'ID', '--from', '1s', '--all'],
  ['stats', 'ID'],
  ['stats', 'ID', '-o', 'json'],
  ['export', 'ID'],
  ['export', 'ID', '--raw'],
  ['verify'],
  ['verify', '-o', 'json'],
  ['verify', 'ID'],
]

/** What no archive may make a command do, whatever is in it. */
function expectCalm(argv: readonly string[], { code, out, err }: CliRun): void {
  const what = `steno ${argv.join(' ')}: ${err}`
  expect(code, what).to.be.oneOf([0, 1, 2])
  expect(err, what).not.to.match(/not your fault|\n {4}at /)
  expect(err, what).not.to.match(UNSAFE)
  // The lines of an export are evidence, byte for byte; a terminal gets them escaped.
  if (argv[0] !== 'export') expect(out, what).not.to.match(UNSAFE)
  expect(out + err, what).not.to.include(OUTSIDE)
}

describe('steno before a hostile archive', () => {
  let folder: string
  let archive: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hostile-'))
    archive = join(folder, 'archive')
    await mkdir(archive)
    await writeFile(join(folder, 'outside.jsonl'), segmentPayload(OUTSIDE, storyLines(OUTSIDE, { session: OUTSIDE })))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const run = async (argv: readonly string[]): Promise<CliRun> => {
    const all = [...argv, '--archive', archive]
    const result = await steno(all)
    expectCalm(all, result)
    return result
  }
  /** Every session that it lists, and one that it does not. */
  const ids = async (): Promise<readonly string[]> => [...(await run(['list', '-o', 'name'])).out.split('\n').filter(id => id !== '' && !id.startsWith('-')), 'one']

  it('never crashes, hangs or says what a terminal obeys, whatever is in the archive', async function () {
    this.timeout(0)
    const commands = fc.subarray([...COMMANDS], { minLength: 1, maxLength: 2 })
    await fc.assert(
      fc.asyncProperty(hostileFiles, commands, fc.nat(), async (files, some, which) => {
        await rm(archive, { recursive: true, force: true })
        await mkdir(archive)
        // In the catalog's way, so that it is held in memory: writing thousands of them to disk would be most of the work.
        await writeFile(join(archive, '.catalog'), '')
        for (const { name, bytes } of files) await writeFile(join(archive, name), bytes)
        const all = await ids()
        const id = all[which % all.length] ?? ''
        for (const argv of some) await run(argv.map(word => (word === 'ID' ? id : word)))
      }),
      fuzzRuns,
    )
  })

  it('reads one file that is anything', async function () {
    this.timeout(0)
    const file = join(folder, 'one')
    const anything = fc.oneof(hostileFiles.map(files => Buffer.concat(files.map(each => each.bytes))), fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)), fc.uint8Array({ maxLength: 100 }).map(bytes => Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 4]), bytes])))
    await fc.assert(
      fc.asyncProperty(anything, fc.constantFrom(['list'], ['show'], ['play'], ['stats'], ['export'], ['verify'], ['frame', '1']), async (bytes, argv) => {
        await writeFile(file, bytes)
        const all = [...argv, '-f', file]
        expectCalm(all, await steno(all))
      }),
      fuzzRuns,
    )
  })

  it('stays in the archive, whatever its names and links say', async () => {
    await writeFileIn(archive, 'a/ok.jsonl', segmentPayload('writer-a', storyLines('writer-a')))
    await symlink(join(folder, 'outside.jsonl'), join(archive, 'link.jsonl'))
    await symlink(folder, join(archive, 'up'))
    await symlink(archive, join(archive, 'a/loop'))
    await symlink('/dev/zero', join(archive, 'zero.jsonl'))
    await mkdir(join(archive, 'folder.jsonl'))
    const odd = join(archive, 'a\n\u001b[31m\u202e', '-rf', '--help.jsonl')
    await mkdir(dirname(odd), { recursive: true })
    await writeFile(odd, '{"writer":"../../writer","seq":0}\n')
    await mkdir(join(archive, ...Array<string>(40).fill('d')), { recursive: true })
    await mkdir(join(archive, '.catalog'))
    await symlink(join(folder, 'outside.jsonl'), join(archive, '.catalog/catalog-4.sqlite'))
    for (const argv of COMMANDS) await run(argv.map(word => (word === 'ID' ? 'session-one' : word)))
    expect((await run(['list', '-o', 'name'])).out).to.equal('session-one\n')
  })

  it('never takes a writer or a session for a path', async () => {
    const lines = [frameLine('../../../tmp/evil', 0, { kind: 'session.start', session: '../../outside', basis: 'mcp', server: { name: '../x', url: 'file:///etc/passwd' } }), frameLine('../../../tmp/evil', 1, { kind: 'writer.stop', reason: 'x' })]
    await writeFileIn(archive, 'a.jsonl', segmentPayload('../../../tmp/evil', lines))
    for (const argv of COMMANDS) await run(argv.map(word => (word === 'ID' ? '../../outside' : word)))
    expect((await run(['verify'])).code).to.equal(0)
  })

  it('counts on when frames claim more bytes than a number holds', async () => {
    const lines = Array.from({ length: 4 }, (_, seq) => frameLine('writer-a', seq, { kind: 'http', from: 'client', session: 'session-one', exchange: 0, body: 'x', bytes: Number.MAX_SAFE_INTEGER }))
    await writeFileIn(archive, 'a.jsonl', segmentPayload('writer-a', lines))
    for (const argv of COMMANDS) await run(argv.map(word => (word === 'ID' ? 'session-one' : word)))
    expect((await run(['list', '-o', 'name'])).out).to.equal('session-one\n')
  })

  it('refuses a bomb with little memory, and shows what else is there', async function () {
    this.timeout(120_000)
    await writeFileIn(archive, 'a.jsonl', segmentPayload('writer-a', storyLines('writer-a')))
    const zeros = gzipSync(Buffer.alloc(280 * 1024 * 1024, '{"a":1}\n'), { level: 9 })
    await writeFile(join(archive, 'bomb.jsonl.gz'), zeros)
    await writeFile(join(archive, 'line.jsonl.gz'), gzipSync(`{"writer":"${'x'.repeat(40 * 1024 * 1024)}`, { level: 9 }))
    let most = 0
    const sample = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 20)
    const before = process.memoryUsage.rss()
    try {
      expect((await run(['list', '-o', 'name'])).out).to.equal('session-one\n')
      const verified = await run(['verify'])
      expect(verified.code).to.equal(1)
      expect(verified.out).to.include('oversize').and.include('line.jsonl.gz')
    } finally {
      clearInterval(sample)
    }
    expect(most - before).to.be.lessThan(400 * 1024 * 1024)
  })

  it('lays no trap with a body that is deep, long, or made to keep a pattern busy', async function () {
    this.timeout(60_000)
    const bodies = ['['.repeat(200_000) + ']'.repeat(200_000), JSON.stringify('x'.repeat(6_000_000)), 'eyJ-'.repeat(500_000), `"${'\\'.repeat(1_000_001)}"`, '"password":['.repeat(100_000), '{"a":'.repeat(300_000)]
    const lines = bodies.map((body, seq) => frameLine('writer-a', seq, { kind: 'mcp', session: 'one', exchange: seq, from: 'server', type: 'response', rpcId: seq, isError: true, body, bytes: body.length }))
    await writeFileIn(archive, 'a.jsonl', `${lines.join('\n')}\n`)
    for (const argv of [['show', 'one'], ['show', 'one', '--grep', '"needle"'], ['export', 'one'], ['play', 'one'], ...bodies.flatMap((_, seq) => [['frame', 'one', String(seq)], ['frame', 'one', String(seq), '-o', 'yaml']])]) await run(argv)
  })
})
