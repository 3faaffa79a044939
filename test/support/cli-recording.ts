/** A recording with something of everything that the command line shows: errors, progress, silence, a gap, parts, hostile text. */

import { frameLine, writeArchive } from './build-recording.ts'
import type { FrameFields } from './build-recording.ts'

export const SESSION = 's0123456789abcdef01234567'
export const OTHER_SESSION = 's0123ffffffffffffffffffff'
/** What a recording may hold and a terminal must never get. */
export const HOSTILE = '\u001b[31mred\u001b]0;title\u0007\u202egnp.exe\u200b'

const HEADERS = { 'content-type': 'application/json' }

/** Writes two sessions of two writers below a folder. */
export async function writeCliRecording(folder: string): Promise<void> {
  await writeArchive(folder, 'writer-a', mainLines('writer-a'), 8)
  await writeArchive(folder, 'writer-b', otherLines('writer-b'))
}

function mainLines(writer: string): string[] {
  const lines: string[] = []
  let atMs = 0
  const add = (fields: FrameFields, afterMs = 5): void => {
    atMs += afterMs
    lines.push(frameLine(writer, lines.length, fields, atMs))
  }
  const start = (exchange: number, method = 'POST', session: string | undefined = SESSION, afterMs = 5): void =>
    add({ kind: 'exchange.start', ...(session === undefined ? {} : { session }), exchange, method, target: '/mcp', headers: HEADERS, peer: '10.0.0.7:40000', era: 'legacy' }, afterMs)
  const end = (exchange: number, fields: object = {}): void =>
    add({ kind: 'exchange.end', session: SESSION, exchange, status: 200, headers: HEADERS, durationUs: 2000, requestBytes: 10, responseBytes: 20, outcome: 'ok', ...fields })
  const mcp = (exchange: number, from: 'client' | 'server', message: object, fields: object, afterMs?: number): void => {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message })
    add({ kind: 'mcp', session: SESSION, exchange, from, ...fields, body, bytes: Buffer.byteLength(body) }, afterMs)
  }
  const call = (exchange: number, id: number | string, name: string, args: object = {}): void =>
    mcp(exchange, 'client', { id, method: 'tools/call', params: { name, arguments: args } }, { type: 'request', rpcId: id, method: 'tools/call', name })
  const answer = (exchange: number, id: number | string, result: object, afterMs?: number): void => mcp(exchange, 'server', { id, result }, { type: 'response', rpcId: id }, afterMs)

  add({ kind: 'writer.start', format: 1, steno: '0.0.0', host: 'test', pid: 1, recovered: [] }, 0)
  start(0, 'POST')
  add({ kind: 'session.start', session: SESSION, exchange: 0, basis: 'mcp', server: { name: 'everything', url: 'http://127.0.0.1:3001/mcp', workload: 'deployment/everything', pod: 'everything-0', port: 3001 }, client: { name: 'tester', version: '1.0', asserted: true } })
  mcp(0, 'client', { id: 0, method: 'initialize', params: {} }, { type: 'request', rpcId: 0, method: 'initialize' })
  answer(0, 0, { serverInfo: { name: 'everything' } })
  end(0)
  start(1, 'GET')
  start(2)
  call(2, 1, 'echo', { text: 'grüße 👋', big: 1 })
  answer(2, 1, { content: [{ type: 'text', text: 'grüße 👋' }] }, 12)
  end(2)
  start(3)
  call(3, 2, 'long')
  for (let progress = 1; progress <= 4; progress++) mcp(3, 'server', { method: 'notifications/progress', params: { progress } }, { type: 'notification', method: 'notifications/progress' }, 250)
  answer(3, 2, { content: [] }, 250)
  end(3)
  start(4, 'POST', SESSION, 272_000)
  call(4, 3, 'fail')
  mcp(4, 'server', { id: 3, result: { isError: true, content: [{ type: 'text', text: `no such thing ${HOSTILE}` }] } }, { type: 'response', rpcId: 3, isError: true })
  end(4)
  start(5)
  call(5, '3', 'missing')
  mcp(5, 'server', { id: '3', error: { code: -32602, message: 'unknown tool' } }, { type: 'response', rpcId: '3', errorCode: -32602 })
  end(5)
  mcp(1, 'server', { id: 0, method: 'sampling/createMessage', params: {} }, { type: 'request', rpcId: 0, method: 'sampling/createMessage' })
  start(6)
  answerOfClient()
  end(6, { status: 202 })
  add({ kind: 'gap', session: SESSION, reason: 'spool.full', detail: 'the disk was full', count: 12, bytes: 4096, fromSeq: 90, toSeq: 101 })
  start(7)
  call(7, 4, 'big')
  add({ kind: 'mcp', session: SESSION, exchange: 7, from: 'server', type: 'response', rpcId: 4, more: true, body: '{"jsonrpc":"2.0","id":4,"result":{"n":12345678901234567890,"text":"need' })
  add({ kind: 'body', session: SESSION, exchange: 7, of: lines.length - 1, part: 1, body: 'le and ' })
  add({ kind: 'body', session: SESSION, exchange: 7, of: lines.length - 2, part: 2, last: true, bytes: 89, sha256: 'ab'.repeat(32), body: 'hay"}}' })
  end(7)
  start(8)
  call(8, 5, 'long')
  end(8, { outcome: 'cut', status: 200, reason: 'upstream closed' })
  add({ kind: 'session.end', session: SESSION, reason: 'delete', totals: { exchanges: 9, calls: 7, errors: 2, bytes: 0 } })
  add({ kind: 'writer.stop', reason: 'SIGTERM' })
  return lines

  function answerOfClient(): void {
    mcp(6, 'client', { id: 0, result: { role: 'assistant' } }, { type: 'response', rpcId: 0 }, 40)
  }
}

function otherLines(writer: string): string[] {
  const lines = [
    { kind: 'writer.start', format: 1, steno: '0.0.0', host: 'test', pid: 2, recovered: [] },
    { kind: 'session.start', session: OTHER_SESSION, exchange: 0, basis: 'idle', server: { name: 'weather', url: 'http://127.0.0.1:3002/mcp' }, client: { name: HOSTILE, asserted: true } },
  ]
  return lines.map((fields, seq) => frameLine(writer, seq, fields, 60_000 + seq))
}
