import { expect } from 'chai'

import { joinBody } from '../../../src/record/body-text.ts'
import { foldRuns } from '../../../src/record/fold.ts'
import type { Frame, FrameOf, RpcId } from '../../../src/record/frame.ts'
import { indentJson } from '../../../src/record/indent-json.ts'
import type { Row } from '../../../src/record/row.ts'
import { createTimeline } from '../../../src/record/timeline.ts'

const START_MS = Date.parse('2026-01-02T03:04:05Z')

interface Place {
  readonly exchange?: number
  readonly atMs: number
  readonly writer?: string
  readonly session?: string | undefined
  /** How far the wall clock of the writer stands off its monotonic one. */
  readonly bootMs?: number
}

/** Builds frames with running seqs, per writer. */
function story() {
  const seqs = new Map<string, number>()
  const frames: Frame[] = []
  const add = (place: Place, content: object): Frame => {
    const { writer = 'w', atMs, exchange, bootMs = 0 } = place
    const session = 'session' in place ? place.session : 's'
    const seq = seqs.get(writer) ?? 0
    seqs.set(writer, seq + 1)
    const time = new Date(START_MS + atMs + bootMs).toISOString().replace('Z', '000Z')
    const frame = { writer, seq, time, elapsedUs: atMs * 1000, salt: '00', ...(session === undefined ? {} : { session }), ...(exchange === undefined ? {} : { exchange }), ...content } as Frame
    frames.push(frame)
    return frame
  }
  const request = (place: Place, from: 'client' | 'server', rpcId: RpcId, method = 'tools/call', name?: string) => add(place, { kind: 'mcp', from, type: 'request', rpcId, method, ...(name === undefined ? {} : { name }), bytes: 1 })
  const response = (place: Place, from: 'client' | 'server', rpcId: RpcId, fields: object = {}) => add(place, { kind: 'mcp', from, type: 'response', rpcId, bytes: 1, ...fields })
  const rows = (needles: readonly string[] = []): readonly Row[] => {
    const timeline = createTimeline(needles)
    for (const frame of frames) timeline.add(frame)
    return timeline.rows()
  }
  return { add, request, response, rows, frames }
}

const pairs = (rows: readonly Row[]): readonly (readonly [number, number | undefined])[] => rows.filter(row => row.type === 'response').map(row => [row.frame.seq, row.pair?.seq] as const)

describe('createTimeline()', () => {
  it('pairs by exchange, sender and typed id, whatever the order of answers', () => {
    const { request, response, rows } = story()
    request({ exchange: 1, atMs: 0 }, 'client', 1, 'tools/call', 'slow')
    request({ exchange: 2, atMs: 1 }, 'client', 1, 'tools/call', 'quick')
    request({ exchange: 2, atMs: 2 }, 'client', '1', 'tools/list')
    request({ exchange: 2, atMs: 3 }, 'server', 1, 'sampling/createMessage')
    response({ exchange: 2, atMs: 10 }, 'server', '1')
    response({ exchange: 2, atMs: 11 }, 'server', 1)
    response({ exchange: 2, atMs: 12 }, 'client', 1)
    response({ exchange: 1, atMs: 50 }, 'server', 1)
    const all = rows()
    expect(pairs(all)).to.deep.equal([[4, 2], [5, 1], [6, 3], [7, 0]])
    expect(all.slice(4).map(row => row.latencyUs)).to.deep.equal([8000, 10_000, 9000, 50_000])
    expect(all.slice(4).map(row => row.tool)).to.deep.equal([undefined, 'quick', undefined, 'slow'])
    expect(all.map(row => row.pair?.seq)).to.deep.equal([7, 5, 4, 6, 2, 1, 3, 0])
  })

  it('pairs over exchanges of a session: requests of the server, HTTP+SSE', () => {
    const { request, response, rows } = story()
    request({ exchange: 1, atMs: 0 }, 'server', 0, 'elicitation/create')
    response({ exchange: 2, atMs: 5 }, 'client', 0)
    request({ exchange: 3, atMs: 6 }, 'client', 0)
    response({ exchange: 1, atMs: 9 }, 'server', 0)
    expect(pairs(rows())).to.deep.equal([[1, 0], [3, 2]])
  })

  it('never pairs over exchanges where no session ties them, nor twice, nor by a null id', () => {
    const { request, response, rows } = story()
    request({ exchange: 1, atMs: 0, session: 'ungrouped' }, 'client', 1)
    response({ exchange: 2, atMs: 1, session: 'ungrouped' }, 'server', 1)
    request({ exchange: 3, atMs: 2, session: undefined }, 'client', 1)
    response({ exchange: 4, atMs: 3, session: undefined }, 'server', 1)
    response({ exchange: 3, atMs: 4 }, 'server', 1)
    response({ exchange: 3, atMs: 5 }, 'server', 1)
    response({ exchange: 3, atMs: 6 }, 'server', null)
    const all = rows()
    expect(pairs(all)).to.deep.equal([[1, undefined], [3, undefined], [4, 2], [5, undefined], [6, undefined]])
    expect(all[0]?.pending).to.equal(true)
    expect(all[2]?.pending).to.equal(undefined)
  })

  it('tells integers above 2^53 apart', () => {
    const { request, response, rows } = story()
    request({ exchange: 1, atMs: 0 }, 'client', { number: '9007199254740993' })
    request({ exchange: 1, atMs: 0 }, 'client', { number: '9007199254740992' })
    response({ exchange: 1, atMs: 0 }, 'server', { number: '9007199254740992' })
    expect(pairs(rows())).to.deep.equal([[2, 1]])
  })

  it('measures by the monotonic clock within a writer and by the wall clock between writers', () => {
    const { request, response, rows } = story()
    request({ exchange: 1, atMs: 1000, writer: 'a' }, 'client', 1)
    request({ exchange: 1, atMs: 5, writer: 'b', bootMs: 1500 }, 'client', 2)
    // The wall clock of a is set back meanwhile.
    response({ exchange: 1, atMs: 2000, writer: 'a', bootMs: -900 }, 'server', 1)
    expect(rows().map(row => row.offsetUs)).to.deep.equal([0, 505_000, 1_000_000])
    expect(rows()[2]?.latencyUs).to.equal(1_000_000)
  })

  it('merges parts: late fields, bytes, latency to the last one, text across two of them', () => {
    const { add, request, response, rows } = story()
    request({ exchange: 1, atMs: 0 }, 'client', 1, 'tools/call', 'big')
    add({ exchange: 1, atMs: 10 }, { kind: 'mcp', from: 'server', type: 'response', more: true, body: 'the nee' })
    response({ exchange: 2, atMs: 11 }, 'server', 7)
    add({ exchange: 1, atMs: 20 }, { kind: 'body', of: 1, part: 1, body: 'd' })
    const half = rows(['needle'])
    expect(half[1]).to.include({ parts: 2, kind: 'RES' })
    expect(half[1]).not.to.have.any.keys('bytes', 'pair')
    add({ exchange: 1, atMs: 30 }, { kind: 'body', of: 1, part: 2, last: true, bytes: 12, sha256: 'x', body: 'le', late: { rpcId: 1, isError: true, errorCode: -1 } })
    const all = rows(['needle', 'absent'])
    expect(all).to.have.length(3)
    expect(all[1]).to.include({ parts: 3, bytes: 12, latencyUs: 30_000, kind: 'ERR', errorCode: -1, tool: 'big' })
    expect([...(all[1]?.found ?? [])]).to.deep.equal(['needle'])
    expect(all[1]?.frame).not.to.have.property('body')
  })

  it('shows a part whose beginning is missing', () => {
    const { add, rows } = story()
    add({ exchange: 1, atMs: 0 }, { kind: 'body', of: 99, part: 3, body: 'x' })
    expect(rows()[0]?.kind).to.equal('BODY')
  })

  it('calls quiet what the messages of an exchange say themselves, and nothing that went wrong', () => {
    const { add, request, rows } = story()
    const start = (exchange: number): Frame => add({ exchange, atMs: 0 }, { kind: 'exchange.start', method: 'POST', target: '/mcp', headers: {}, peer: '', era: 'legacy' })
    const end = (exchange: number, outcome: string): Frame => add({ exchange, atMs: 1 }, { kind: 'exchange.end', status: 200, headers: {}, durationUs: 1, requestBytes: 0, responseBytes: 0, outcome })
    start(1)
    request({ exchange: 1, atMs: 0 }, 'client', 1)
    end(1, 'ok')
    start(2)
    end(2, 'ok')
    start(3)
    request({ exchange: 3, atMs: 0 }, 'client', 1)
    end(3, 'cut')
    expect(rows().map(row => row.quiet)).to.deep.equal([true, false, true, false, false, true, false, false])
  })

  it('keeps a frame of a later version', () => {
    const { add, rows } = story()
    add({ atMs: 0 }, { kind: 'hologram', colour: 'blue' })
    expect(rows()[0]?.kind).to.equal('OTHER')
  })

  it('pairs 100,000 frames without looking at all of them for each', () => {
    const { request, response, rows } = story()
    for (let i = 0; i < 50_000; i++) {
      request({ exchange: i, atMs: i }, 'client', 0)
      if (i % 2 === 0) response({ exchange: i, atMs: i }, 'server', 0)
    }
    // One that looks at every frame for each would not end in the time that a test has.
    expect(rows().filter(row => row.pair !== undefined)).to.have.length(50_000)
  })
})

describe('foldRuns()', () => {
  it('folds progress of one exchange that follows itself, and nothing else', () => {
    const { add, request, rows } = story()
    const progress = (exchange: number): Frame => add({ exchange, atMs: 0 }, { kind: 'mcp', from: 'server', type: 'notification', method: 'notifications/progress', bytes: 10 })
    progress(1)
    progress(1)
    progress(1)
    progress(2)
    request({ exchange: 1, atMs: 0 }, 'client', 1)
    progress(1)
    const folded = foldRuns(rows())
    expect(folded.map(row => [row.frame.seq, row.folded?.length, row.bytes])).to.deep.equal([[2, 3, 30], [3, undefined, 10], [4, undefined, 1], [5, undefined, 10]])
  })
})

describe('joinBody()', () => {
  const head = { writer: 'w', seq: 0, time: '', elapsedUs: 0, salt: '' }
  const first: FrameOf<'mcp'> = { ...head, kind: 'mcp', from: 'client', type: 'request', more: true, body: 'a' }
  const part = (number: number, fields: object = {}): FrameOf<'body'> => ({ ...head, kind: 'body', of: 0, part: number, body: String(number), ...fields }) as FrameOf<'body'>

  it('joins parts in any order', () => {
    expect(joinBody(first, [part(2, { last: true, bytes: 3, sha256: 'x' }), part(1)])).to.include({ text: 'a12', whole: true, bytes: 3, sha256: 'x' })
  })

  it('stops at a missing part and says so', () => {
    expect(joinBody(first, [part(2, { last: true, bytes: 3 })])).to.include({ text: 'a', whole: false })
  })
})

describe('indentJson()', () => {
  it('keeps digits, double keys and escapes', () => {
    expect(indentJson('{"a":12345678901234567890,"a":1.0,"b":[],"c":[{}, "\\u00e9,]"]}')).to.equal('{\n  "a": 12345678901234567890,\n  "a": 1.0,\n  "b": [],\n  "c": [\n    {},\n    "\\u00e9,]"\n  ]\n}')
    expect(indentJson('{')).to.equal(undefined)
  })
})
