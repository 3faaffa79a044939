import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { createSink } from '../../src/sink/create-sink.ts'
import { BUCKET, startAwsDouble, STATIC_KEYS, STREAM } from '../support/aws/double.ts'
import type { AwsDouble } from '../support/aws/double.ts'
import { setAwsEnvironment } from '../support/aws/environment.ts'
import { SERVICES } from '../support/aws/services.ts'
import type { AwsService } from '../support/aws/services.ts'
import { segmentMember, storyLines } from '../support/build-recording.ts'
import { steno } from '../support/cli.ts'
import type { CliRun } from '../support/cli.ts'

const STATIC = { AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }
const LINES = storyLines('w1')
const HALF = 6
const FIRST = segmentMember('w1', LINES, { from: 0, to: HALF })
const SECOND = segmentMember('w1', LINES, { from: HALF })
const KEY = 'team-a/2026/01/02/03/steno-test-1-2026-01-02-03-04-05-00000000-0000-0000-0000-000000000001.jsonl.gz'
const LATER = 'team-a/2026/01/02/03/steno-test-1-2026-01-02-03-05-05-00000000-0000-0000-0000-000000000002.jsonl.gz'

/** Runs commands on the archive in the bucket, with a folder for the catalog. */
function reader(endpoint: string, cache: string): (...argv: string[]) => Promise<CliRun> {
  const place = `s3://${BUCKET}/team-a?endpoint=${endpoint}`
  return (...argv) => steno([...argv, '--archive', place], { env: { XDG_CACHE_HOME: cache }, now: Date.now })
}

for (const { name, start } of SERVICES) {
  describe(`archive in S3, on ${name}`, () => {
    let service: AwsService
    let cache: string
    let run: (...argv: string[]) => Promise<CliRun>
    let restore: () => void

    before(async function () {
      restore = setAwsEnvironment(STATIC)
      this.timeout(60_000)
    })
    beforeEach(async function () {
      service = await start(this)
      cache = await mkdtemp(join(tmpdir(), 'steno-cache-'))
      run = reader(service.endpoint, cache)
    })
    afterEach(async () => {
      await service?.close()
      await rm(cache, { recursive: true, force: true })
    })
    after(() => restore())

    it('is listed, shown, exported and verified as from a folder when Firehose has written it, with a segment sent twice', async () => {
      const sink = await createSink({ type: 'firehose', stream: STREAM, region: 'us-east-1', endpoint: service.endpoint }, Date.now)
      const index = { writer: 'w1', firstSeq: 0, lastSeq: 0, frames: 1, sessions: [] }
      for (const bytes of [FIRST, FIRST, SECOND]) expect(await sink.put([{ index, bytes }], new AbortController().signal)).to.deep.equal(['accepted'])
      await sink.close()
      await service.delivered()

      expect((await run('list', '-o', 'name')).out).to.equal('session-one\n')
      expect(JSON.parse((await run('list', '-o', 'json')).out)).to.have.nested.property('[0].calls', 3)
      expect((await run('show', 'session-one', '--all', '-o', 'jsonl')).out.trim().split('\n').length).to.be.greaterThan(10)
      expect((await run('play', 'session-one')).code).to.equal(0)
      expect((await run('frame', 'session-one', '2', '--raw')).out).to.include('grüße')
      const exported = await run('export', 'session-one', '--raw')
      expect(exported.out.split('\n').filter(line => LINES.includes(line))).to.deep.equal(LINES.filter(line => !line.includes('writer.st')))
      const verified = await run('verify')
      expect(verified.out).to.match(/^consistent/)
      expect(verified.code).to.equal(0)
    })

    it('reads versions oldest first: what shadows a recording is told, and does not replace it', async () => {
      await service.put(KEY, FIRST)
      await service.put(LATER, SECOND)
      const forged = LINES.map((line, at) => (at === 2 ? line.replace('grüße', 'forged') : line))
      await service.put(KEY, segmentMember('w1', forged, { from: 0, to: HALF }))
      expect((await run('frame', 'session-one', '2', '--raw')).out).to.include('grüße').and.not.include('forged')
      const verified = await run('verify')
      expect(verified.out).to.match(/^consistent/).and.to.match(/shadowed: 2026\/01\/02\/03\/.*other bytes for frames 0 to 5/)
      expect(verified.code).to.equal(0)
    })

    it('takes a later version where the oldest was written by halves', async () => {
      await service.put(KEY, FIRST.subarray(0, FIRST.length - 20))
      await service.put(KEY, FIRST)
      await service.put(LATER, SECOND)
      expect((await run('frame', 'session-one', '2', '--raw')).out).to.include('grüße')
      expect((await run('verify', '-o', 'json')).out).to.include(`"frames": ${LINES.length}`)
    })

    it('reads what was deleted, as far as the bucket keeps it, and says so', async () => {
      await service.put(KEY, Buffer.concat([FIRST, SECOND]))
      await service.remove(KEY)
      expect((await run('list', '-o', 'name')).out).to.equal('session-one\n')
      const verified = await run('verify')
      expect(verified.out).to.match(/^consistent/).and.to.include('hidden: 2026/01/02/03/')
    })

    it('reads on past what is foreign, empty or damaged', async () => {
      await service.put(KEY, Buffer.concat([FIRST, SECOND]))
      await service.put('team-a/2026/01/02/03/empty.jsonl.gz', Buffer.alloc(0))
      await service.put('team-a/2026/01/02/03/noise.jsonl.gz', Buffer.from('nothing of ours'))
      await service.put('team-a/2026/01/02/04/readme.txt', Buffer.from('not asked for'))
      await service.put('team-b/2026/01/02/03/other.jsonl.gz', segmentMember('w2', storyLines('w2', { session: 'session-two' })))
      expect((await run('list', '-o', 'name')).out).to.equal('session-one\n')
      expect((await run('verify')).out).to.match(/^incomplete/).and.to.include('noise.jsonl.gz')
    })

    it('says what is missing when there is no such bucket', async () => {
      const { code, err } = await steno(['list', '--archive', `s3://none-of-ours/x?endpoint=${service.endpoint}`], { now: Date.now })
      expect(code).to.equal(1)
      expect(err).to.include('archive.missing').and.include('none-of-ours')
    })
  })
}

describe('place of an archive in S3', () => {
  for (const [place, env, says] of [
    ['s3:/bucket/x', {}, 'it is no s3 place'],
    ['S3://bucket/x', {}, 'it is no s3 place'],
    ['s3://', {}, 'it is no s3 place'],
    ['s3://bucket/x?region=', {}, "'' is no region"],
    ['s3://bucket/x?region=eu%20west', {}, "'eu west' is no region"],
    ['s3://bucket/x?endpoint=http://', {}, 'endpoint must be an http or https URL'],
    ['s3://bucket/x', { AWS_REGION: 'eu_west' }, 'AWS_REGION "eu_west" is no region'],
    ['s3://bucket/x', { AWS_ENDPOINT_URL_S3: 'minio:9000' }, 'AWS_ENDPOINT_URL_S3 must be'],
  ] as const) {
    it(`is refused when it is ${place} with ${JSON.stringify(env)}`, async () => {
      const { code, err } = await steno(['list', '--archive', place], { env })
      expect(code).to.equal(2)
      expect(err).to.include(says).and.include('usage.invalid')
    })
  }

  it('has the usual region and endpoint where the variables are empty', async () => {
    const restore = setAwsEnvironment({ ...STATIC, AWS_REGION: '' })
    const { code, err } = await steno(['list', '--archive', 's3://bucket/x'], { env: { AWS_REGION: '', AWS_ENDPOINT_URL: '' } })
    restore()
    expect(code).to.equal(1)
    expect(err).to.include('no region is set').and.include('archive.io')
  })
})

describe('catalog of an archive in S3', () => {
  let aws: AwsDouble
  let cache: string
  let nowMs: number
  let restore: () => void
  const key = (hour: string, id: number): string => `team-a/${hour}/steno-test-1-${hour.replaceAll('/', '-')}-00-00-00000000-0000-0000-0000-${String(id).padStart(12, '0')}.jsonl.gz`
  const list = async (): Promise<CliRun> => await steno(['list', '-o', 'name', '--archive', `s3://${BUCKET}/team-a?endpoint=${aws.endpoint}`], { env: { XDG_CACHE_HOME: cache }, now: () => nowMs })
  const put = (hour: string, id: number): void => aws.bucket.put(key(hour, id), segmentMember(`w${id}`, storyLines(`w${id}`, { session: `session-${id}` })), nowMs)
  const counted = async (): Promise<{ requests: number; sessions: number }> => {
    const before = aws.requests.s3
    const { out } = await list()
    return { requests: aws.requests.s3 - before, sessions: out.trim().split('\n').length }
  }

  beforeEach(async () => {
    restore = setAwsEnvironment(STATIC)
    aws = await startAwsDouble()
    cache = await mkdtemp(join(tmpdir(), 'steno-cache-'))
    nowMs = Date.parse('2026-03-20T12:00:00Z')
    for (let day = 1; day <= 20; day++) put(`2026/03/${String(day).padStart(2, '0')}/08`, day)
  })
  afterEach(async () => {
    await aws.close()
    await rm(cache, { recursive: true, force: true })
    restore()
  })

  it('reads only what is new when it has read the rest before', async () => {
    expect(await counted()).to.deep.equal({ requests: 21, sessions: 20 })
    expect(await counted()).to.deep.equal({ requests: 1, sessions: 20 })
    put('2026/03/20/09', 21)
    expect(await counted()).to.deep.equal({ requests: 2, sessions: 21 })
  })

  it('finds what was written late, up to a day before the newest, without listing all', async () => {
    await list()
    const listed: string[] = []
    aws.onS3 = url => void listed.push(url)
    put('2026/03/19/09', 22)
    expect((await list()).out).to.include('session-22')
    expect(listed[0]).to.include(`key-marker=${encodeURIComponent('team-a/2026/03/19/07/')}`)
  })

  it('finds what was put among old objects when a day has passed', async () => {
    await list()
    put('2026/03/02/09', 23)
    expect((await list()).out).to.not.include('session-23')
    nowMs += 25 * 3_600_000
    expect((await list()).out).to.include('session-23')
  })

  it('reads what could not be read before, however old it is', async () => {
    let asked = 0
    aws.refuse = operation => (operation === 's3:GET' && asked++ === 0 ? { status: 403, code: 'AccessDenied' } : undefined)
    const { out, err } = await list()
    expect(out).to.not.match(/session-1$/m)
    expect(err).to.include('not everything could be read')
    expect((await list()).out).to.match(/session-1$/m)
  })

  it('reads an object again when the answer breaks off', async () => {
    let asked = 0
    aws.refuse = operation => (operation === 's3:GET' && ++asked <= 2 ? 'cut' : undefined)
    const { out, err } = await list()
    expect(out).to.match(/session-1$/m)
    expect(err).to.equal('')
  })

  it('says what could not be read when answers go on breaking off', async () => {
    aws.refuse = operation => (operation === 's3:GET' ? 'cut' : undefined)
    const { code, err } = await list()
    expect(code).to.equal(1)
    expect(err).to.match(/cannot read '2026\/03\/01.*(ECONNRESET|Error)/)
  })

  it('takes versions in the order in which they were stored: an upload that was begun before and ended later shadows nothing', async () => {
    aws.bucket.put(KEY, Buffer.concat([FIRST, SECOND]), nowMs)
    const forged = LINES.map((line, at) => (at === 2 ? line.replace('grüße', 'forged') : line))
    aws.bucket.put(KEY, Buffer.concat([segmentMember('w1', forged, { from: 0, to: HALF }), SECOND]), nowMs - 3_600_000)
    const { out } = await steno(['frame', 'session-one', '2', '--raw', '--archive', `s3://${BUCKET}/team-a?endpoint=${aws.endpoint}`], { env: { XDG_CACHE_HOME: cache }, now: () => nowMs })
    expect(out).to.include('grüße').and.not.include('forged')
  })

  it('ends when a store says that there is more, and not where', async () => {
    const server = createServer((_req, res) => res.end('<?xml version="1.0"?><ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { code, err } = await steno(['list', '--archive', `s3://${BUCKET}/team-a?endpoint=http://127.0.0.1:${(server.address() as AddressInfo).port}`], { now: () => nowMs })
    server.close()
    expect(code).to.equal(1)
    expect(err).to.include('archive.io').and.include('not where to go on')
  })

  it('says that credentials are wrong when they are', async () => {
    process.env['AWS_SECRET_ACCESS_KEY'] = 'wrong'
    const { code, err } = await list()
    expect(code).to.equal(1)
    expect(err).to.include('archive.io').and.include('credentials').and.not.include('wrong')
  })
})
