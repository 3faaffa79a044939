import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { HOSTILE, OTHER_SESSION, SESSION, writeCliRecording } from '../../support/cli-recording.ts'
import { steno } from '../../support/cli.ts'
import type { CliRun, CliSetting } from '../../support/cli.ts'
import { expectGolden } from '../../support/golden.ts'

// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069]/

describe('steno', () => {
  let folder: string
  let archive: string

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'steno-cli-'))
    archive = join(folder, 'recordings')
    await writeCliRecording(archive)
  })

  after(() => rm(folder, { recursive: true, force: true }))

  const run = (argv: readonly string[], setting: CliSetting = {}): Promise<CliRun> => steno(argv, { ...setting, env: { STENO_ARCHIVE: archive, ...setting.env } })

  const goldens: readonly (readonly [name: string, argv: readonly string[]])[] = [
    ['list', ['list']],
    ['list-wide', ['list', '-o', 'wide']],
    ['list-json', ['list', '-o', 'json']],
    ['list-yaml', ['list', '-o', 'yaml']],
    ['list-jsonl', ['list', '-o', 'jsonl', '--tool', 'echo']],
    ['list-name', ['list', '-o', 'name', '--errors']],
    ['show', ['show', SESSION]],
    ['show-all-wide', ['show', SESSION, '--all', '-o', 'wide']],
    ['show-paired', ['show', SESSION, '--paired']],
    ['show-query', ['show', SESSION, '--grep', 'tool:long -kind:ntf']],
    ['show-json', ['show', SESSION, '--kind', 'err', '-o', 'json']],
    ['frame', ['frame', SESSION, '8']],
    ['frame-parts', ['frame', SESSION, 'writer-a.34']],
    ['play', ['play', SESSION]],
    ['play-from', ['play', SESSION, '--from', '30s', '--max-idle', '0s', '--no-headers']],
    ['stats', ['stats', SESSION]],
    ['verify', ['verify', '-o', 'wide']],
    ['help', ['--help']],
    ['help-list', ['list', '--help']],
    ['help-up', ['up', '--help']],
    ['help-doctor', ['doctor', '--help']],
  ]

  for (const [name, argv] of goldens) {
    it(`${argv[0]} prints ${name} as it is kept`, async () => {
      const { out, err, code } = await run(argv)
      expectGolden(`cli/${name}.txt`, `${out}--- stderr, exit ${code}\n${err}`)
      expect(out).not.to.match(UNSAFE)
      expect(err).not.to.match(UNSAFE)
    })
  }

  it('list calls itself kubectl steno when it is called so', async () => {
    const { out } = await run(['--help'], { env: { STENO_INVOKED_AS: 'kubectl-steno' } })
    expect(out).to.match(/^Usage: kubectl steno /)
  })

  it('list pages with --limit and --after', async () => {
    const first = await run(['list', '-o', 'name', '--limit', '1'])
    expect(first.out).to.equal(`${OTHER_SESSION}\n`)
    expect(first.err).to.equal(`more sessions: steno list --after ${OTHER_SESSION}\n`)
    const second = await run(['list', '-o', 'name', '--limit', '1', '--after', OTHER_SESSION])
    expect(second).to.deep.equal({ code: 0, out: `${SESSION}\n`, err: '' })
  })

  it('list --since takes spans and times', async () => {
    expect((await run(['list', '-o', 'name', '--since', '29m'])).out).to.equal(`${OTHER_SESSION}\n${SESSION}\n`)
    expect((await run(['list', '-o', 'name', '--since', '2026-01-02T03:06:00Z'])).out).to.equal(`${SESSION}\n`)
    expect((await run(['list', '--since', 'yesterday'])).code).to.equal(2)
  })

  it('list says what to do when nothing is found', async () => {
    expect(await run(['list', '--tool', 'nothing', '-o', 'json'])).to.deep.equal({ code: 1, out: '[]\n', err: `no sessions match in ${archive}; 'steno list' without a filter shows all\n` })
  })

  it('list -w prints a line per change when piped and ends with 0 on the signal', async () => {
    const watched = join(folder, 'watched')
    await writeCliRecording(watched)
    const stop = new AbortController()
    const { code, out } = await run(['list', '-w', '--archive', watched], { signal: stop.signal, onOutput: text => text.split('\n').length > 3 && stop.abort() })
    expect(code).to.equal(0)
    expect(out.split('\n').map(line => line.split(' ')[0])).to.deep.equal(['NAME', SESSION.slice(0, 13), OTHER_SESSION.slice(0, 13), ''])
  })

  it('list -w redraws on a terminal, without what the recording would have it obey', async () => {
    const stop = new AbortController()
    const { code, out } = await run(['list', '-w', '--color', 'never'], { terminal: true, signal: stop.signal, onOutput: () => stop.abort() })
    expect(code).to.equal(0)
    expect(out.startsWith('\u001b[H')).to.equal(true)
    expect(out).not.to.contain(HOSTILE)
  })

  it('frame --raw writes the exact bytes to a pipe and escapes them on a terminal', async () => {
    const piped = await run(['frame', SESSION, '34', '--raw'])
    expect(piped.out).to.equal('{"jsonrpc":"2.0","id":4,"result":{"n":12345678901234567890,"text":"needle and hay"}}')
    const shown = await run(['frame', SESSION, '34', '--raw'], { terminal: true })
    expect(shown.err).to.contain('redirect the output')
  })

  it('show finds text that stands across two parts of a body', async () => {
    const { out, code } = await run(['show', SESSION, '--grep', 'needle', '-o', 'name'])
    expect({ out, code }).to.deep.equal({ out: 'writer-a.34\n', code: 0 })
  })

  it('show says that a short prefix fits several sessions', async () => {
    expect(await run(['show', 's'])).to.include({ code: 2, err: "error: more than one session begins with 's'; give more of its name (usage.invalid)\n" })
    expect((await run(['show', OTHER_SESSION.slice(0, 6)])).code).to.equal(0)
  })

  it('show --kind offers in its help what its refusal offers', async () => {
    const { code, err } = await run(['show', SESSION, '--kind', 'nope'])
    expect(code).to.equal(2)
    const offered = /use (.*) \(usage/.exec(err)?.[1]
    expect((await run(['show', '--help'])).out.replace(/\s+/g, ' ')).to.include(`only this kind: ${offered}`)
  })

  it('show exits 1 when no frame matches', async () => {
    const { code, err } = await run(['show', SESSION, '--tool', 'nothing'])
    expect(code).to.equal(1)
    expect(err).to.contain('no frame of session')
  })

  it('colours a terminal, not a pipe, and obeys --color and NO_COLOR', async () => {
    const coloured = async (argv: readonly string[], setting: CliSetting = {}): Promise<boolean> => (await run(['show', SESSION, ...argv], setting)).out.includes('\u001b[31m')
    expect(await coloured([])).to.equal(false)
    expect(await coloured([], { terminal: true })).to.equal(true)
    expect(await coloured([], { terminal: true, env: { NO_COLOR: '1' } })).to.equal(false)
    expect(await coloured(['--color', 'always'])).to.equal(true)
    expect(await coloured(['--color', 'never'], { terminal: true })).to.equal(false)
  })

  it('export says what it cleaned, and the file can be listed, shown without an id and verified', async () => {
    const file = join(folder, 'session.jsonl')
    const exported = await run(['export', SESSION, '--output-file', file])
    expect(exported.code).to.equal(0)
    expect(exported.out).to.equal('')
    expect(exported.err).to.match(/^exported \d+ frames of session s0123456789abcdef01234567, cleaned: \d+ values taken out of \d+ frames; --raw leaves all in\n$/)
    expect((await steno(['list', '-f', file, '-o', 'name'])).out).to.equal(`${SESSION}\n`)
    expect((await steno(['show', '-f', file, '-o', 'name'])).code).to.equal(0)
    expect((await steno(['stats', '-f', '-', '-o', 'name'], { stdin: await readFile(file, 'utf8') })).out).to.contain('echo\n')
    expect((await steno(['verify', '-f', file])).out).to.contain('Cleaned for export')
    expect((await run(['export', SESSION, '--output-file', file])).code).to.equal(1)
  })

  it('export --raw to a pipe is what was recorded', async () => {
    const { out, err, code } = await run(['export', SESSION, '--raw'])
    expect(code).to.equal(0)
    expect(err).to.contain('it may hold secrets')
    expect(out).to.contain('"peer":"10.0.0.7:40000"')
  })

  it('verify proves against an anchor that it saved, and fails without one when asked to', async () => {
    const anchor = join(folder, 'anchor.json')
    const whole = join(folder, 'whole')
    const { storyLines, writeArchive } = await import('../../support/build-recording.ts')
    await writeArchive(whole, 'writer-w', storyLines('writer-w'))
    const on = ['--archive', whole]
    expect((await steno(['verify', ...on, '--save-anchor', anchor])).code).to.equal(0)
    expect((await steno(['verify', ...on, '--save-anchor', anchor])).code).to.equal(1)
    const proved = await steno(['verify', ...on, '--anchor', anchor, '--require-anchor'])
    expect(proved.code).to.equal(0)
    expect(proved.out).to.match(/^verified: All 16 frames match the anchor of /)
    expect((await steno(['verify', ...on, '--require-anchor'])).code).to.equal(2)
    await writeFile(join(folder, 'other.json'), '{"format":1,"time":"2026-01-01T00:00:00Z","writers":[]}')
    const unproved = await steno(['verify', ...on, '--anchor', join(folder, 'other.json'), '--require-anchor'])
    expect(unproved.code).to.equal(1)
    expect(unproved.err).to.contain('not verified')
  })

  const refusals: readonly (readonly [what: string, argv: readonly string[], code: number, says: RegExp])[] = [
    ['no command', [], 2, /Usage: steno/],
    ['an unknown command', ['lst'], 2, /^error: unknown command 'lst'\n?.*list/s],
    ['an unknown flag', ['list', '--bogus'], 2, /unknown option '--bogus'.*steno list --help/s],
    ['a format that is none', ['list', '-o', 'xml'], 2, /argument 'xml' is invalid. Allowed choices are/],
    ['a limit that is none', ['list', '--limit', '0'], 2, /--limit '0' is no whole number above 0/],
    ['an unknown session', ['show', 'sffff'], 1, /^error: no session 'sffff' in .*; 'steno list' shows what there is \(recording.not-found\)\n$/],
    ['an ambiguous prefix', ['show', 's0123'], 2, /\(usage.invalid\)/],
    ['no session named', ['show'], 2, /name a session; 'steno list'/],
    ['a missing archive', ['list', '--archive', 'no/such/folder'], 1, /no recordings at 'no\/such\/folder'.*\(archive.missing\)/],
    ['two sources', ['list', '--archive', 'a', '-f', 'b'], 2, /--archive and -f name two sources/],
    ['a bad query', ['show', SESSION, '--grep', 'tol:x'], 2, /--grep: unknown key 'tol'; use tool, method/],
    ['a bad speed', ['play', SESSION, '--speed', '99'], 2, /--speed '99' is not between 0.25 and 16/],
    ['a bad idle time', ['play', SESSION, '--max-idle', 'never'], 2, /--max-idle 'never' is no time span/],
    ['a frame that is none', ['frame', SESSION, 'x'], 2, /'x' is no frame; write it as WRITER.SEQ/],
    ['an unknown frame', ['frame', SESSION, '999'], 1, /no frame writer-a.999/],
    ['an unknown writer', ['frame', SESSION, 'zzz.1'], 1, /has no writer 'zzz'/],
    ['a frame of another session', ['frame', OTHER_SESSION, 'writer-b.0', '--raw'], 2, /has no body/],
    ['a missing anchor', ['verify', '--anchor', 'no/such/file'], 1, /\(anchor.invalid\)/],
    ['up without an upstream', ['up'], 2, /required option '--upstream <url>'/],
  ]

  for (const [what, argv, code, says] of refusals) {
    it(`refuses ${what} with exit ${code}`, async () => {
      const result = await run(argv)
      expect(result.err).to.match(says)
      expect(result.code).to.equal(code)
      expect(result.out).to.equal('')
    })
  }

  it('refuses a file that is no recording, and an empty standard input', async () => {
    const file = join(folder, 'picture.jsonl')
    await writeFile(file, 'not a recording\n')
    const refused = await steno(['show', '-f', file])
    expect(refused.code).to.equal(1)
    expect(refused.err).to.match(/\(recording.invalid\)\n$/)
    expect((await steno(['list', '-f', '-'], { stdin: '' })).code).to.equal(1)
  })

  it('stops reading when the signal comes', async () => {
    const result = await run(['show', SESSION], { signal: AbortSignal.abort() })
    expect(result).to.deep.equal({ code: 1, out: '', err: '' })
  })
})
