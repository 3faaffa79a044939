/** A whole recorder before a Firehose that is down: what clients get, what /readyz and metrics say, and what is in S3 when it is back. */

import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { startAwsDouble, STATIC_KEYS, STREAM } from '../support/aws/double.ts'
import type { AwsDouble } from '../support/aws/double.ts'
import { setAwsEnvironment } from '../support/aws/environment.ts'
import { bodyOf, call, httpUpstream, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'
import type { RecorderOptions } from '../../src/recorder/recorder.ts'
import { until } from '../support/spool-under-test.ts'

const MIB = 1024 * 1024

interface Answer {
  readonly id: number
  readonly error?: { readonly code: number; readonly data: { readonly reason: string; readonly forwarded: boolean } }
}

describe('a recorder whose sink is down', () => {
  let aws: AwsDouble
  let upstream: Upstream
  let recorder: RecorderUnderTest
  let restore: () => void
  /** Ids of calls that the server has seen. */
  let asked: number[]
  /** Called when the server has been asked, before it answers. */
  let onAsked: () => void

  const start = async (options: Partial<RecorderOptions> = {}): Promise<void> => {
    recorder = await recorderBefore(upstream.url, { sink: { type: 'firehose', stream: STREAM, region: 'us-east-1', endpoint: aws.endpoint }, ...options })
  }
  const down = (): void => {
    aws.fault = () => ({ type: 'refuse', status: 503, code: 'ServiceUnavailableException' })
  }
  const send = async (id: number, text = 'text'): Promise<Answer> => {
    const response = await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: call(id, 'echo', { text }) })
    expect(response.status).to.equal(200)
    return (await response.json()) as Answer
  }
  const get = async (path: string): Promise<{ readonly status: number; readonly text: string }> => {
    const response = await fetch(`${recorder.adminUrl}${path}`)
    return { status: response.status, text: await response.text() }
  }
  /** Frames in S3, in the order of delivery. */
  const delivered = (): readonly Record<string, unknown>[] => {
    aws.stream.flush()
    const text = [...aws.bucket.keys].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, versions]) => gunzipSync(versions[0]?.bytes ?? Buffer.alloc(0)).toString()).join('')
    return text.split('\n').filter(line => line.startsWith('{"writer"')).map(line => JSON.parse(line) as Record<string, unknown>)
  }
  /** Large calls until `is` one of them. @returns its id */
  const fill = async (is: (answer: Answer) => boolean | Promise<boolean>): Promise<number> => {
    for (let id = 1; id < 100; id++) if (await is(await send(id, 'x'.repeat(MIB / 2)))) return id
    throw new Error('that never came')
  }

  /** Calls until one is answered. @returns its id */
  const answered = async (): Promise<number> => {
    for (let id = 2000; ; id++) if ((await send(id)).error === undefined) return id
  }

  beforeEach(async () => {
    restore = setAwsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret })
    aws = await startAwsDouble()
    asked = []
    onAsked = () => {}
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        const { id } = JSON.parse(body.toString()) as { readonly id: number }
        asked.push(id)
        onAsked()
        res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(id))
      })
    })
  })
  afterEach(async () => {
    aws.fault = undefined
    await recorder.dispose()
    await upstream.close()
    await aws.close()
    restore()
  })

  it('goes on serving when its spool is full under Block: it refuses with an error that explains, stays ready, says degraded, and recovers', async () => {
    await start({ spoolMaxBytes: 32 * MIB })
    down()
    const refused = await fill(({ error }) => error !== undefined)
    expect((await send(1000)).error).to.deep.include({ code: -31_001, data: { reason: 'recording-impossible', forwarded: false } })
    expect(asked).to.not.include(refused).and.not.include(1000)
    // The first attempt may come after the spool is full.
    await until(async () => (await get('/readyz')).text.startsWith('degraded: '))
    const { status, text } = await get('/readyz')
    expect(text).to.match(/^degraded: refusing calls: .*; not shipping: .*\(sink\.throttled\)\n$/)
    expect(status).to.equal(200)
    expect((await get('/metrics')).text).to.match(/^steno_recording 0$/m).and.to.match(/^steno_blocked_total\{reason="recording"\} \d+$/m).and.to.match(/^steno_ship_records_total\{result="throttled"\} \d+$/m)

    aws.fault = undefined
    await until(async () => (await get('/readyz')).text === 'ok\n')
    await answered()
    expect((await get('/metrics')).text).to.match(/^steno_recording 1$/m)
    await recorder.halt()
    const frames = delivered()
    expect(frames.filter(frame => frame['kind'] === 'gap').map(frame => frame['reason'])).to.include.members(['spool-full', 'blocked'])
    const recorded = new Set(frames.filter(frame => frame['kind'] === 'mcp').map(frame => frame['rpcId']))
    for (const id of asked) expect(recorded.has(id), `call ${id}`).to.equal(true)
  })

  it('forwards with a declared gap when its spool is full under Allow', async () => {
    await start({ spoolMaxBytes: 32 * MIB, onFailure: 'allow' })
    down()
    const last = await fill(async () => (await get('/readyz')).text.startsWith('degraded: not recording'))
    expect(await send(1000)).to.not.have.property('error')
    expect((await get('/readyz')).status).to.equal(200)
    expect(asked).to.have.length(last + 1)
    aws.fault = undefined
    await until(async () => (await get('/readyz')).text === 'ok\n')
    await recorder.halt()
    expect(delivered().filter(frame => frame['kind'] === 'gap').map(frame => frame['reason'])).to.include('unrecorded')
  })

  describe('with durability off-pod', () => {
    it('refuses a call that has waited as long as it may, and those that come then, until the sink accepts again', async () => {
      await start({ durability: 'off-pod', offPodWaitMs: 300 })
      down()
      for (const id of [1, 2]) expect((await send(id)).error).to.deep.include({ code: -31_001, data: { reason: 'recording-impossible', forwarded: false } })
      expect(asked).to.deep.equal([])
      expect((await get('/metrics')).text).to.match(/^steno_blocked_total\{reason="sink"\} 2$/m)
      expect(recorder.log()).to.match(/"level":"error".*calls wait no longer for the sink.*"code":"sink\.late"/)
      await until(async () => (await get('/readyz')).text.startsWith('degraded: not shipping'))
      expect((await get('/readyz')).status).to.equal(200)
      aws.fault = undefined
      const id = await answered()
      expect(asked).to.include(id).and.not.include(1).and.not.include(2)
      await recorder.halt()
      // What was refused is recorded too, and why.
      const ends = delivered().filter(frame => frame['kind'] === 'exchange.end').map(frame => frame['reason'])
      expect(ends.slice(0, 2)).to.deep.equal(['recording-impossible', 'recording-impossible'])
      expect(ends.at(-1)).to.equal(undefined)
    })

    it('says that a call was forwarded when only its answer has waited too long', async () => {
      await start({ durability: 'off-pod', offPodWaitMs: 1500 })
      await answered()
      onAsked = down
      expect((await send(1)).error?.data).to.deep.equal({ reason: 'recording-impossible', forwarded: true })
      expect(asked.at(-1)).to.equal(1)
    })

    it('passes on what is on local disk under Allow, and loses nothing of it', async () => {
      await start({ durability: 'off-pod', offPodWaitMs: 300, onFailure: 'allow' })
      down()
      for (const id of [1, 2]) expect(await send(id)).to.include({ id }).and.not.have.property('error')
      expect(asked).to.deep.equal([1, 2])
      aws.fault = undefined
      await until(async () => (await get('/readyz')).text === 'ok\n')
      await recorder.halt()
      const frames = delivered()
      expect(frames.filter(frame => frame['kind'] === 'mcp').map(frame => frame['rpcId'])).to.deep.equal([1, 1, 2, 2])
      expect(frames.filter(frame => frame['kind'] === 'gap')).to.deep.equal([])
    })
  })
})
