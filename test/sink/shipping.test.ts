/** The spool with its worker before a Firehose that fails in every way: what becomes of frames, and of who waits for them. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { readMemberHeader } from '../../src/record/member.ts'
import { startAwsDouble, STATIC_KEYS, STREAM } from '../support/aws/double.ts'
import type { AwsDouble, Fault } from '../support/aws/double.ts'
import { setAwsEnvironment } from '../support/aws/environment.ts'
import { LONG_MS, openTestSpool, spoolFolder, until } from '../support/spool-under-test.ts'
import type { SpoolFolder, SpoolUnderTest, TestSpoolOptions } from '../support/spool-under-test.ts'

const REFUSED = (code: string, status = 400): Fault => ({ type: 'refuse', status, code })

describe('shipping to Firehose', () => {
  let folder: SpoolFolder
  let aws: AwsDouble
  let test: SpoolUnderTest
  let restore: () => void

  const open = async (options: TestSpoolOptions = {}): Promise<SpoolUnderTest> => {
    test = await openTestSpool(folder, { sink: { type: 'firehose', stream: STREAM, region: 'us-east-1', endpoint: aws.endpoint }, ...options })
    return test
  }
  const write = async (count: number, body = 'body'): Promise<void> => {
    for (let at = 0; at < count; at++) test.add({ body: `${at} ${body}` })
    expect(await test.commit()).to.equal(undefined)
  }
  const shipped = (): Promise<void> => until(() => test.spool.unshippedBytes === 0)
  /** Frames that Firehose has delivered, by writer, each once, in the order of seq. */
  const delivered = (writer: string): readonly string[] => {
    aws.stream.flush()
    const lines = new Map<number, string>()
    for (const versions of aws.bucket.keys.values()) {
      for (const { bytes } of versions) {
        for (const line of gunzipSync(bytes).toString().split('\n')) {
          const seq = new RegExp(`^{"writer":"${writer}","seq":(\\d+),`).exec(line)?.[1]
          if (seq !== undefined) lines.set(Number(seq), line)
        }
      }
    }
    return [...lines].sort(([a], [b]) => a - b).map(([, line]) => line)
  }

  beforeEach(async () => {
    restore = setAwsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret })
    folder = await spoolFolder()
    aws = await startAwsDouble()
  })
  afterEach(async () => {
    aws.fault = undefined
    await test?.stop(1000)
    await aws.close()
    await folder.remove()
    restore()
  })

  it('loses nothing and keeps order when calls fail in all ways between those that do not', async () => {
    const faults: readonly (Fault | undefined)[] = [
      REFUSED('ServiceUnavailableException', 503),
      { type: 'partial', fails: index => index % 2 === 0 },
      { type: 'reset', accept: false },
      undefined,
      { type: 'reset', accept: true },
      REFUSED('InternalFailure', 500),
    ]
    aws.fault = ({ number }) => faults[number % faults.length]
    await open({ lingerMs: 0 })
    for (let batch = 0; batch < 12; batch++) await write(20)
    await shipped()
    expect(delivered(test.spool.writer)).to.deep.equal(test.lines)
  })

  it('has small segments of many earlier writers share calls', async () => {
    const earlier: SpoolUnderTest[] = []
    aws.fault = () => REFUSED('ServiceUnavailableException', 503)
    for (let start = 0; start < 12; start++) {
      earlier.push(await open({ lingerMs: LONG_MS }))
      await write(3)
      await test.stop(0)
    }
    await open({ lingerMs: LONG_MS })
    // While one attempt fails the others gather.
    await until(() => aws.calls.some(({ records }) => records.length > 1))
    aws.fault = undefined
    await shipped()
    for (const { spool, lines } of earlier) expect(delivered(spool.writer)).to.deep.equal(lines)
    await until(() => test.log().includes('"left":0'))
    expect((await folder.files()).filter(file => earlier.some(({ spool }) => file.includes(spool.writer)))).to.deep.equal([])
  })

  it('puts aside what is refused for ever, says where, and goes on with what follows', async () => {
    let poison: string | undefined
    aws.fault = ({ records }) => (records.some(record => holds(record, poison)) ? REFUSED('InvalidArgumentException') : undefined)
    await open({ lingerMs: LONG_MS })
    poison = test.spool.writer
    await write(5)
    const closing = test.stop(20_000)
    await until(() => test.quarantined.length > 0)
    await closing
    const files = await readdir(join(folder.spool, 'quarantine'))
    const last = test.lines.length - 1
    expect(files).to.deep.equal([`${poison}-0-${last}.jsonl.gz`])
    expect(test.quarantined[0]).to.include({ writer: poison, fromSeq: 0, toSeq: last })
    expect(test.shipped.map(({ result }) => result)).to.include.members(['refused', 'quarantined'])
    poison = undefined
    await open()
    await write(2)
    await shipped()
    expect(delivered(test.spool.writer)).to.deep.equal(test.lines)
  })

  for (const [code, result] of [
    ['ResourceNotFoundException', 'missing'],
    ['AccessDeniedException', 'denied'],
    ['InvalidKMSResourceException', 'key'],
  ] as const) {
    it(`waits for a person when the call fails with ${code}, says so once, and ships all when it is mended`, async () => {
      aws.fault = () => REFUSED(code)
      await open({ lingerMs: 0 })
      await write(5)
      await until(() => test.shipped.some(event => event.result === result))
      expect(test.log()).to.match(new RegExp(`"level":"error".*somebody mends it.*"code":"sink.${result}"`))
      aws.fault = undefined
      await shipped()
      expect(delivered(test.spool.writer)).to.deep.equal(test.lines)
    })
  }

  describe('with durability off-pod', () => {
    it('calls back only when Firehose has what was appended', async () => {
      const gate = Promise.withResolvers<void>()
      const held = Promise.withResolvers<void>()
      aws.fault = () => {
        held.resolve()
        return { type: 'hold', until: gate.promise }
      }
      await open({ durability: 'off-pod' })
      test.add({ body: 'one' })
      let released = false
      const commit = test.commit().then(error => {
        released = true
        return error
      })
      await held.promise
      // It is durable on disk by now: the call holds it.
      expect(aws.calls[0]?.records.some(record => holds(record, test.spool.writer))).to.equal(true)
      expect(released).to.equal(false)
      gate.resolve()
      expect(await commit).to.equal(undefined)
      expect(delivered(test.spool.writer)).to.deep.equal(test.lines)
    })

    it('has all that it called back about at Firehose, at each moment, when calls fail in all ways', async () => {
      const faults: readonly (Fault | undefined)[] = [undefined, { type: 'reset', accept: true }, { type: 'partial', fails: () => true }, undefined, { type: 'reset', accept: false }]
      aws.fault = ({ number }) => faults[number % faults.length]
      await open({ durability: 'off-pod' })
      const missing: string[] = []
      await Promise.all(
        Array.from({ length: 40 }, async (_, at) => {
          test.add({ body: `call ${at}` })
          const line = test.lines.at(-1) ?? ''
          expect(await test.commit()).to.equal(undefined)
          if (!delivered(test.spool.writer).includes(line)) missing.push(line)
        }),
      )
      expect(missing).to.deep.equal([])
    })

    it('tells whoever waits when the spool is full', async () => {
      aws.fault = () => REFUSED('ServiceUnavailableException', 503)
      await open({ durability: 'off-pod', maxBytes: 16 * 1024 * 1024, keepLines: false })
      test.add({ body: 'waits' })
      const commit = test.commit()
      for (let at = 0; test.spool.state === 'open'; at++) {
        test.add({ body: 'x'.repeat(500_000) })
        if (at % 8 === 7) await new Promise(setImmediate)
      }
      expect(await commit).to.include({ code: 'spool.full' })
    })
  })
})

function holds(record: Buffer, writer: string | undefined): boolean {
  const header = readMemberHeader(record)
  return writer !== undefined && typeof header === 'object' && header.index.writer === writer
}
