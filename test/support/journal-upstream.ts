/**
 * An upstream that keeps every byte it is sent, and a reader of those bytes that takes nothing but the plainest HTTP/1.1 (RFC 9112): what it
 * cannot explain is an error. Answers each whole request with an empty JSON-RPC result.
 */

import type { Socket } from 'node:net'

import { rawUpstream } from './recorder.ts'
import type { Upstream } from './recorder.ts'

export interface SeenRequest {
  readonly method: string
  readonly target: string
  readonly body: Buffer
  /** The body came to its end. */
  readonly whole: boolean
}

export interface JournalUpstream extends Upstream {
  /** Every request of every connection, read anew from the bytes. Throws when they are anything else. */
  requests(): readonly SeenRequest[]
}

const ANSWER = '{"jsonrpc":"2.0","id":1,"result":{}}'

export async function journalUpstream(): Promise<JournalUpstream> {
  const journals: { bytes: Buffer }[] = []
  const upstream = await rawUpstream((socket: Socket) => {
    const journal = { bytes: Buffer.alloc(0) }
    journals.push(journal)
    let answered = 0
    socket.on('data', (chunk: Buffer) => {
      journal.bytes = Buffer.concat([journal.bytes, chunk])
      const whole = readRequests(journal.bytes).filter(each => each.whole)
      for (const { method } of whole.slice(answered)) socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${ANSWER.length}\r\n\r\n${method === 'HEAD' ? '' : ANSWER}`)
      answered = whole.length
    })
  })
  return { ...upstream, requests: () => journals.flatMap(({ bytes }) => readRequests(bytes)) }
}

const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\xff]+) HTTP\/1\.1$/
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\xff]*)$/

function readRequests(bytes: Buffer): readonly SeenRequest[] {
  const requests: SeenRequest[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\r\n\r\n', at)
    // A head that is not whole: the connection ended, or more comes.
    if (end < 0) break
    const [line = '', ...fields] = bytes.toString('latin1', at, end).split('\r\n')
    const [, method = '', target = ''] = REQUEST_LINE.exec(line) ?? fail(`a request line that is none: ${JSON.stringify(line)}`)
    const headers = fields.map(field => FIELD.exec(field) ?? fail(`a field that is none: ${JSON.stringify(field)}`)).map(([, name = '', value = '']) => [name.toLowerCase(), value.trim()] as const)
    const body = readBody(bytes, end + 4, headers)
    requests.push({ method, target, body: body.bytes, whole: body.whole })
    at = body.end
    if (!body.whole) break
  }
  return requests
}

function readBody(bytes: Buffer, start: number, headers: readonly (readonly [string, string])[]): { readonly bytes: Buffer; readonly end: number; readonly whole: boolean } {
  const lengths = headers.filter(([name]) => name === 'content-length').map(([, value]) => value)
  const codings = headers.filter(([name]) => name === 'transfer-encoding').map(([, value]) => value)
  if (lengths.length + codings.length > 1) fail(`several lengths: ${JSON.stringify(headers)}`)
  if (headers.filter(([name]) => name === 'host').length !== 1) fail(`not one Host: ${JSON.stringify(headers)}`)
  if (codings.length > 0) {
    if (codings[0] !== 'chunked') fail(`a coding: ${codings[0]}`)
    return readChunks(bytes, start)
  }
  if (lengths.length > 0 && !/^\d{1,15}$/.test(lengths[0] ?? '')) fail(`a length: ${lengths[0]}`)
  const end = start + Number(lengths[0] ?? 0)
  return { bytes: bytes.subarray(start, end), end, whole: end <= bytes.length }
}

function readChunks(bytes: Buffer, start: number): { readonly bytes: Buffer; readonly end: number; readonly whole: boolean } {
  const chunks: Buffer[] = []
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return { bytes: Buffer.concat(chunks), end: bytes.length, whole: false }
    const size = bytes.toString('latin1', at, lineEnd)
    if (!/^[0-9a-f]{1,8}$/i.test(size)) fail(`a chunk size: ${JSON.stringify(size)}`)
    const length = parseInt(size, 16)
    const from = lineEnd + 2
    const to = from + length
    if (to + 2 > bytes.length) return { bytes: Buffer.concat([...chunks, bytes.subarray(from, to)]), end: bytes.length, whole: false }
    if (bytes.toString('latin1', to, to + 2) !== '\r\n') fail('a chunk without its end')
    if (length === 0) return { bytes: Buffer.concat(chunks), end: to + 2, whole: true }
    chunks.push(bytes.subarray(from, to))
    at = to + 2
  }
}

function fail(what: string): never {
  throw new Error(`the upstream was sent ${what}`)
}
