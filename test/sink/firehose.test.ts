import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer as createTlsServer } from 'node:https'
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { FirehoseClient, PutRecordBatchCommand } from '@aws-sdk/client-firehose'
import { expect } from 'chai'

import { StenoError } from '../../src/errors.ts'
import { createSink } from '../../src/sink/create-sink.ts'
import type { Receipt, Segment, Sink } from '../../src/sink/sink.ts'
import { ROLE_ARN, startAwsDouble, STATIC_KEYS, STREAM, webIdentityToken } from '../support/aws/double.ts'
import type { AwsDouble } from '../support/aws/double.ts'
import { setAwsEnvironment } from '../support/aws/environment.ts'
import { SERVICES } from '../support/aws/services.ts'
import type { AwsService } from '../support/aws/services.ts'
import { createAuthority } from '../support/certificate.ts'

const STATIC = { AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }
const signal = new AbortController().signal

function segment(seq: number, bytes: string | Uint8Array = `segment ${seq};`): Segment {
  return { index: { writer: 'w1', firstSeq: seq, lastSeq: seq, frames: 1, sessions: [] }, bytes: Buffer.from(bytes) }
}

async function firehose(endpoint: string, stream = STREAM): Promise<Sink> {
  return await createSink({ type: 'firehose', stream, region: 'us-east-1', endpoint }, Date.now)
}

/** Codes of receipts, or `accepted`. */
function codes(receipts: readonly Receipt[]): readonly string[] {
  return receipts.map(receipt => (receipt === 'accepted' ? receipt : receipt.code))
}

for (const { name, start } of SERVICES) {
  describe(`firehose sink, on ${name}`, () => {
    let service: AwsService
    let sink: Sink
    let restore: () => void

    before(async function () {
      service = await start(this)
    })
    beforeEach(async () => {
      restore = setAwsEnvironment(STATIC)
      sink = await firehose(service.endpoint)
    })
    afterEach(async () => {
      await sink.close()
      restore()
    })
    after(async () => await service?.close())

    it('has the bytes of each segment in the bucket, in order and with nothing between them, when they share a call', async () => {
      const member = Buffer.from([0x1f, 0x8b, 8, 4, 0, 255, 10, 13, 0])
      const segments = [segment(0, member), segment(1), segment(2, member)]
      expect(await sink.put(segments, signal)).to.deep.equal(['accepted', 'accepted', 'accepted'])
      expect(await service.delivered()).to.deep.equal(Buffer.concat(segments.map(({ bytes }) => bytes)))
      expect((await service.keys()).every(key => /^team-a\/\d{4}\/\d\d\/\d\d\/\d\d\//.test(key))).to.equal(true)
    })

    it('takes a segment of the largest size', async () => {
      expect(await sink.put([segment(0, Buffer.alloc(1_024_000, 7))], signal)).to.deep.equal(['accepted'])
    })

    it('says that the stream is missing, and which, when there is none', async () => {
      const other = await firehose(service.endpoint, 'nobody')
      const [receipt] = await other.put([segment(0)], signal)
      await other.close()
      expect(receipt).to.be.instanceOf(StenoError).and.include({ code: 'sink.missing' })
      expect(String(receipt)).to.include("'nobody'")
    })
  })
}

describe('firehose sink, when the service fails', () => {
  let aws: AwsDouble
  let sink: Sink
  let restore: () => void

  beforeEach(async () => {
    restore = setAwsEnvironment(STATIC)
    aws = await startAwsDouble()
    sink = await firehose(aws.endpoint)
  })
  afterEach(async () => {
    await sink.close()
    await aws.close()
    restore()
  })
  const three = [segment(0), segment(1), segment(2)]

  it('names exactly the records that were not accepted when others of the call were', async () => {
    aws.fault = () => ({ type: 'partial', fails: index => index === 1 })
    expect(codes(await sink.put(three, signal))).to.deep.equal(['accepted', 'sink.throttled', 'accepted'])
    aws.fault = () => ({ type: 'partial', fails: index => index !== 1, code: 'InternalFailure' })
    expect(codes(await sink.put(three, signal))).to.deep.equal(['sink.io', 'accepted', 'sink.io'])
  })

  for (const [code, status, expected] of [
    ['ServiceUnavailableException', 503, 'sink.throttled'],
    ['InternalFailure', 500, 'sink.io'],
    ['ResourceNotFoundException', 400, 'sink.missing'],
    ['InvalidKMSResourceException', 400, 'sink.key'],
    ['KMSDisabledException', 400, 'sink.key'],
    ['InvalidSourceException', 400, 'sink.source'],
    ['AccessDeniedException', 400, 'sink.denied'],
    ['ExpiredTokenException', 400, 'sink.credentials'],
    ['RequestExpired', 400, 'sink.clock'],
    ['ThrottlingException', 400, 'sink.throttled'],
    ['SomethingNew', 400, 'sink.io'],
  ] as const) {
    it(`says ${expected} of every record when the call fails with ${code}`, async () => {
      aws.fault = () => ({ type: 'refuse', status, code })
      expect(codes(await sink.put(three, signal))).to.deep.equal([expected, expected, expected])
      expect(aws.calls).to.have.length(1)
    })
  }

  const page = '<html><head><title>502 Bad Gateway</title></head></html>'
  for (const { what, status = 200, body, headers = {}, expected = 'sink.io' } of [
    { what: 'fewer records than were sent', body: JSON.stringify({ FailedPutCount: 0, RequestResponses: [{ RecordId: 'a' }] }) },
    { what: 'more records than were sent', body: JSON.stringify({ FailedPutCount: 0, RequestResponses: [{ RecordId: 'a' }, { RecordId: 'b' }, { RecordId: 'c' }, { RecordId: 'd' }] }) },
    { what: 'records of another form', body: JSON.stringify({ RequestResponses: [null, 7, { RecordId: 7 }] }) },
    { what: 'records without an id', body: JSON.stringify({ RequestResponses: [{}, { RecordId: '' }, { RecordId: null }] }) },
    { what: 'another JSON', body: '[1]' },
    { what: 'half a JSON', body: '{"RequestResponses":[{"Reco' },
    { what: 'nothing', body: '' },
    { what: "a proxy's page", status: 502, body: page, headers: { 'content-type': 'text/html' } },
    { what: 'that page as if all were well', body: page, headers: { 'content-type': 'text/html' } },
    { what: 'compressed bytes', body: gzipSync(JSON.stringify({ RequestResponses: [{ RecordId: 'a' }, { RecordId: 'b' }, { RecordId: 'c' }] })), headers: { 'content-encoding': 'gzip' } },
    { what: 'a redirect', status: 302, body: '', headers: { location: 'http://127.0.0.1:1/' } },
    { what: 'an error whose text is no text', status: 400, body: JSON.stringify({ __type: 'AccessDeniedException', message: { why: 1 } }), expected: 'sink.denied' },
    { what: 'an error whose name is no text', status: 400, body: JSON.stringify({ __type: 7, message: null }) },
    { what: 'more than it would ever say', body: `"${'x'.repeat(2 * 1024 * 1024)}"` },
  ]) {
    it(`counts nothing as accepted when the answer is ${what}`, async () => {
      aws.fault = () => ({ type: 'odd', status, body, headers })
      expect(codes(await sink.put(three, signal))).to.deep.equal([expected, expected, expected])
      aws.fault = undefined
      expect(codes(await sink.put(three, signal))).to.deep.equal(['accepted', 'accepted', 'accepted'])
    })
  }

  it('takes a record with an id and without an error as accepted, also where a store says null for what is not there', async () => {
    aws.fault = () => ({ type: 'odd', status: 200, body: JSON.stringify({ FailedPutCount: 0, RequestResponses: [{ RecordId: 'a', ErrorCode: null, ErrorMessage: null }] }) })
    expect(codes(await sink.put([segment(0)], signal))).to.deep.equal(['accepted'])
  })

  it('says that time ran out when no answer came in time', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    aws.fault = () => ({ type: 'hold', until: promise })
    const [receipt] = await sink.put([segment(0)], AbortSignal.timeout(50))
    expect(receipt).to.include({ code: 'sink.io' })
    expect(String(receipt)).to.include('TimeoutError')
    resolve()
  })

  it('counts nothing as accepted when the answer is lost, before or after the records were taken', async () => {
    for (const accept of [false, true]) {
      aws.fault = () => ({ type: 'reset', accept })
      expect(codes(await sink.put(three, signal))).to.deep.equal(['sink.io', 'sink.io', 'sink.io'])
    }
    expect(aws.calls).to.have.length(2)
  })

  it('names the way out when the certificate is of an authority that is not known here', async () => {
    const { key, cert } = createAuthority().issue(['127.0.0.1'])
    const server = createTlsServer({ key, cert }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const other = await firehose(`https://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const [receipt] = await other.put([segment(0)], signal)
    await other.close()
    server.close()
    expect(receipt).to.include({ code: 'sink.io' })
    expect(String(receipt)).to.match(/NODE_EXTRA_CA_CERTS.*UNABLE_TO_VERIFY/)
  })

  it('counts nothing as accepted when nobody listens', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    const other = await firehose(`http://127.0.0.1:${port}`)
    const [receipt] = await other.put([segment(0)], signal)
    await other.close()
    expect(receipt).to.include({ code: 'sink.io' })
    expect(String(receipt)).to.include('ECONNREFUSED')
  })

  it('finds the one record that is refused, and has all others accepted once', async () => {
    const poison = 'poison'
    aws.fault = ({ records }) => (records.some(record => record.equals(Buffer.from(poison))) ? { type: 'refuse', status: 400, code: 'InvalidArgumentException' } : undefined)
    const segments = [...Array.from({ length: 9 }, (_, at) => segment(at)), segment(9, poison), segment(10)]
    const receipts = codes(await sink.put(segments, signal))
    expect(receipts).to.deep.equal([...Array.from({ length: 9 }, () => 'accepted'), 'sink.refused', 'accepted'])
    expect(Buffer.concat([...aws.bucket.keys.values()].flatMap(versions => versions.map(({ bytes }) => bytes))).toString().split(';').length - 1).to.equal(10)
  })

  it('gives a proxy that takes no large request smaller ones, down to one segment, and refuses only the one that is too large by itself', async () => {
    const page = '<html><center><h1>413 Request Entity Too Large</h1></center></html>'
    const bytesOf = (records: readonly Uint8Array[]): number => records.reduce((sum, { length }) => sum + length, 0)
    aws.fault = ({ records }) => (bytesOf(records) > 10_000 ? { type: 'odd', status: 413, body: page, headers: { 'Content-Type': 'text/html' } } : undefined)
    const segments = [...Array.from({ length: 12 }, (_, at) => segment(at, Buffer.alloc(4000))), segment(12, Buffer.alloc(10_001)), segment(13)]
    expect(codes(await sink.put(segments, signal))).to.deep.equal([...Array.from({ length: 12 }, () => 'accepted'), 'sink.refused', 'accepted'])
    // Any other page says nothing about the segments.
    aws.fault = () => ({ type: 'odd', status: 400, body: page.replaceAll('413', '400'), headers: { 'Content-Type': 'text/html' } })
    expect(codes(await sink.put([segment(0), segment(1)], signal))).to.deep.equal(['sink.io', 'sink.io'])
  })

  it('never sends a segment that is larger than a record may be, and sends what is beside it', async () => {
    expect(codes(await sink.put([segment(0), segment(1, Buffer.alloc(1_024_001)), segment(2)], signal))).to.deep.equal(['accepted', 'sink.refused', 'accepted'])
    expect(aws.calls.map(({ records }) => records.length)).to.deep.equal([2])
  })

  it('ends an attempt that hangs when it is told to', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const abort = new AbortController()
    aws.fault = () => {
      abort.abort(new Error('no time is left'))
      return { type: 'hold', until: promise }
    }
    expect(codes(await sink.put([segment(0)], abort.signal))).to.deep.equal(['sink.io'])
    resolve()
  })

  it('goes on after one attempt when the clock of the machine is an hour off', async () => {
    aws.aheadMs = 3_600_000
    expect(codes(await sink.put([segment(0)], signal))).to.deep.equal(['sink.clock'])
    expect(codes(await sink.put([segment(0)], signal))).to.deep.equal(['accepted'])
  })

  it('asks for the right region when the endpoint is of another one', async () => {
    const other = await createSink({ type: 'firehose', stream: STREAM, region: 'eu-west-1', endpoint: aws.endpoint }, Date.now)
    const [receipt] = await other.put([segment(0)], signal)
    await other.close()
    expect(receipt).to.include({ code: 'sink.missing' })
    expect(String(receipt)).to.match(/its name or region.*valid region/)
    expect(aws.calls).to.have.length(0)
  })

  it('puts neither keys nor signatures into what it says', async () => {
    process.env['AWS_SECRET_ACCESS_KEY'] = 'another secret'
    const other = await firehose(aws.endpoint)
    const [receipt] = await other.put([segment(0)], signal)
    await other.close()
    expect(receipt).to.include({ code: 'sink.credentials' })
    expect(String(receipt)).to.not.match(/AKIDEXAMPLE|another secret|Signature=/)
  })
})

describe('firehose sink, with variables that are empty', () => {
  it('takes them for unset, as the SDK does', async () => {
    const aws = await startAwsDouble()
    const restore = setAwsEnvironment({ ...STATIC, AWS_SESSION_TOKEN: '', AWS_ENDPOINT_URL: '', AWS_PROFILE: '' })
    const sink = await firehose(aws.endpoint)
    const receipts = await sink.put([segment(0)], signal)
    await sink.close()
    restore()
    await aws.close()
    expect(codes(receipts)).to.deep.equal(['accepted'])
  })
})

describe('firehose sink, with a web identity', () => {
  let folder: string
  let aws: AwsDouble
  let sink: Sink
  let restore: () => void
  const tokenFile = (): string => join(folder, 'token')
  const put = async (): Promise<string | undefined> => codes(await sink.put([segment(0)], signal))[0]

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'identity-'))
    aws = await startAwsDouble()
    restore = setAwsEnvironment({ AWS_WEB_IDENTITY_TOKEN_FILE: tokenFile(), AWS_ROLE_ARN: ROLE_ARN, AWS_ENDPOINT_URL_STS: aws.endpoint })
    await writeFile(tokenFile(), webIdentityToken(Date.now() + 600_000))
    sink = await firehose(aws.endpoint)
  })
  afterEach(async () => {
    await sink.close()
    await aws.close()
    restore()
    await rm(folder, { recursive: true })
  })

  it('takes up the role of the token file, once for many calls', async () => {
    expect([await put(), await put(), await put()]).to.deep.equal(['accepted', 'accepted', 'accepted'])
    expect(aws.requests.sts).to.equal(1)
  })

  it('reads the token again when its credentials are no longer valid', async () => {
    expect(await put()).to.equal('accepted')
    aws.revoke()
    expect(await put()).to.equal('sink.credentials')
    expect(await put()).to.equal('accepted')
    expect(aws.requests.sts).to.equal(2)
  })

  it('goes on when a token that had expired is renewed', async () => {
    await writeFile(tokenFile(), webIdentityToken(Date.now() - 1000))
    expect(await put()).to.equal('sink.credentials')
    expect(aws.calls).to.have.length(0)
    await writeFile(tokenFile(), webIdentityToken(Date.now() + 600_000))
    expect(await put()).to.equal('accepted')
  })

  it('is not kept from the token by empty keys', async () => {
    process.env['AWS_ACCESS_KEY_ID'] = ''
    process.env['AWS_SECRET_ACCESS_KEY'] = ''
    expect(await put()).to.equal('accepted')
  })

  it('asks for credentials once when the clock of the machine is hours ahead', async () => {
    aws.aheadMs = -3 * 3_600_000
    expect([await put(), await put(), await put()]).to.deep.equal(['sink.clock', 'accepted', 'accepted'])
    expect(aws.requests.sts).to.equal(1)
  })

  it('goes on when the token file was missing and came', async () => {
    await rm(tokenFile())
    expect(await put()).to.equal('sink.credentials')
    await writeFile(tokenFile(), webIdentityToken(Date.now() + 600_000))
    expect(await put()).to.equal('accepted')
  })

  it('goes on when a role that was just made begins to work', async () => {
    aws.denyRole = { status: 403, code: 'AccessDenied' }
    expect(await put()).to.equal('sink.credentials')
    aws.denyRole = undefined
    expect(await put()).to.equal('accepted')
  })
})

describe('the double of AWS', () => {
  it('takes what the AWS SDK signs, and not what it signs with another secret', async () => {
    const aws = await startAwsDouble()
    const put = async (secretAccessKey: string): Promise<unknown> => {
      const client = new FirehoseClient({ region: 'us-east-1', endpoint: aws.endpoint, maxAttempts: 1, credentials: { accessKeyId: STATIC_KEYS.id, secretAccessKey } })
      const answer = await client.send(new PutRecordBatchCommand({ DeliveryStreamName: STREAM, Records: [{ Data: Buffer.from('from the SDK') }] })).catch((error: unknown) => error)
      client.destroy()
      return answer
    }
    expect(await put(STATIC_KEYS.secret)).to.include({ FailedPutCount: 0 })
    expect(await put('another')).to.include({ name: 'InvalidSignatureException' })
    await aws.close()
  })
})
