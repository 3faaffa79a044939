/** Bytes that a hostile HTTP client sends, as fast-check makes them up: requests that two parsers might read differently, alone and behind each other. */

import fc from 'fast-check'

/** Mostly the usual one, which is first. */
const mostly = (...values: readonly [string, ...string[]]): fc.Arbitrary<string> => fc.oneof({ weight: values.length * 3, arbitrary: fc.constant(values[0]) }, { weight: values.length, arbitrary: fc.constantFrom(...values) })

/** `@` stands for what is different in every request, so that each can be told from the others. */
const inner = ['GET /r/@s HTTP/1.1\r\nHost: a\r\n\r\n', 'POST /r/@s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}', '0\r\n\r\nGET /r/@s HTTP/1.1\r\nHost: a\r\n\r\n']
const method = mostly('POST', 'GET', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH', 'get', 'P OST', 'CONNECT', 'TRACE', 'PURGE', 'M-SEARCH', 'FOO', 'POST\t', '\r\nPOST', ' POST', 'PRI', '')
const target = mostly('/r/@', 'http://evil.test/r/@', '//evil.test/r/@', '/r/@#fragment', '/r/@%0d%0aX:1', '/r/@\u00ff', '/r/@/../x', '/r/@\t', '/r/@ HTTP/1.1\r\nX: y\r\nZ: ', '*', 'evil.test:80', 'https://user:pass@evil.test/r/@', '?r=@', '\\r\\@', '/r/@\u0000')
const version = mostly('HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'http/1.1', 'HTTP/1.2', 'HTTP/1.1 ', 'HTTP/0.9', 'HTTP/11', '')
const end = mostly('\r\n', '\n', '\r', '\r\r\n', '\r\n\r\n', '\n\r\n')
const host = mostly('Host: a', '', 'Host: a\r\nHost: b', 'Host:', 'Host : a', 'host: a\t', 'Host: a b', 'Host: a\r\n b', 'Host: a, b', 'Host: a/../b', 'Host: user@a:1')

/** `#` stands for the length of the body. */
const length = mostly('Content-Length: #', '', 'content-length:#', 'Content-Length: #\r\nContent-Length: #', 'Content-Length: #\r\nContent-Length: 0', 'Content-Length: 0', 'Content-Length: 1', 'Content-Length: 9999', 'Content-Length: +#', 'Content-Length: -1', 'Content-Length: 0x#', 'Content-Length: #, #', 'Content-Length: # ', 'Content-Length:\t#', 'Content-Length : #', ' Content-Length: #', 'Content-Length: 0#', 'Content-Length: #\u000b', 'Content-Length: 99999999999999999999', 'Content_Length: #', 'Content-Length: #\r\n 1', 'Content-Length\u0000: #', 'Content-Length: "#"', 'Content-Length:')
const coding = mostly('Transfer-Encoding: chunked', 'transfer-encoding:chunked', 'Transfer-Encoding: cHuNkEd', 'Transfer-Encoding : chunked', 'Transfer-Encoding: xchunked', 'Transfer-Encoding: chunked, identity', 'Transfer-Encoding: identity, chunked', 'Transfer-Encoding: identity', 'Transfer-Encoding:\u000bchunked', 'Transfer-Encoding: "chunked"', 'Transfer-Encoding:\r\n chunked', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', 'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', 'Transfer-Encoding: gzip, chunked', 'Transfer-Encoding: chunked;q=1', 'Transfer-Encoding: ,chunked', 'X: y\nTransfer-Encoding: chunked', 'Transfer-Encoding: chunked\u0000', 'Transfer\u002dEncoding\t: chunked', 'Transfer-Encoding:', '\u00a0Transfer-Encoding: chunked')
const more = fc.subarray(['Connection: close', 'Connection: keep-alive', 'Connection: Transfer-Encoding', 'Connection: Content-Length, Host', 'Connection: upgrade', 'Upgrade: h2c', 'Upgrade: websocket', 'Expect: 100-continue', 'Expect: nothing', 'TE: trailers', 'Trailer: Content-Length', 'X-A: b\r\n c', 'X-B: \u0001', 'X-C: b\rc', ': empty', 'No colon', 'X-HTTP-Method-Override: DELETE', 'Content-Type: application/json', 'Keep-Alive: timeout=1, max=1', 'Proxy-Connection: keep-alive'], { maxLength: 4 })

const payload = fc.oneof(
  fc.constantFrom('{"jsonrpc":"2.0","id":1,"method":"ping"}', '', '{"a":1}', 'x', ...inner),
  fc.string({ unit: 'binary', maxLength: 30 }),
)

const size = mostly('#', '0#', '000000000000000000#', '# ', ' #', '#;a=b', '#;a="\r\n0\r\n\r\n"', '#;a=b\nX', '0x#', '+#', '-1', 'FFFFFFFF', 'FFFFFFFFFFFFFFFF#', 'g', '', '#\t', '1', '#;')
const chunkEnd = mostly('\r\n', '\n', '\r', '', '\r\n ')
const trailer = mostly('', 'X-T: 1\r\n', 'Content-Length: 3\r\n', 'Transfer-Encoding: chunked\r\n', 'X-T: 1\n', 'X: 1\r\n y\r\n')

const chunked = fc.tuple(fc.array(fc.tuple(payload, size, chunkEnd, chunkEnd), { maxLength: 3 }), mostly('0\r\n', '0;x\r\n', '00\r\n', '0\n', '', '0 \r\n'), trailer, mostly('\r\n', '\n', '')).map(([chunks, last, trailers, close]) => {
  const parts = chunks.filter(([data]) => data !== '').map(([data, form, before, after]) => `${form.replace('#', Buffer.byteLength(data).toString(16))}${before}${data}${after}`)
  return `${parts.join('')}${last}${trailers}${close}`
})

interface Framing {
  readonly fields: readonly string[]
  readonly body: string
}

const framing: fc.Arbitrary<Framing> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(length, payload).map(([field, body]) => ({ fields: [sized(field, body)], body })) },
  { weight: 3, arbitrary: fc.tuple(coding, chunked).map(([field, body]) => ({ fields: [field], body })) },
  { weight: 2, arbitrary: fc.tuple(length, coding, fc.oneof(chunked, payload), fc.boolean()).map(([one, two, body, swap]) => ({ fields: swap ? [two, sized(one, body)] : [sized(one, body), two], body })) },
  { weight: 1, arbitrary: payload.map(body => ({ fields: [], body })) },
)

function sized(field: string, body: string): string {
  return field.replaceAll('#', String(Buffer.byteLength(body)))
}

const request = fc.tuple(method, target, version, end, host, framing, more, end).map(([verb, path, protocol, lineEnd, hostField, { fields, body }, others, headEnd]) => {
  const lines = [hostField, ...fields, ...others].filter(line => line !== '')
  return `${verb} ${path} ${protocol}${lineEnd}${lines.join('\r\n')}\r\n${headEnd}${body}`
})

const plain = fc.constantFrom('{"jsonrpc":"2.0","id":1,"method":"ping"}', 'x').map(body => `POST /r/@ HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`)

export interface OddConnection {
  /** Several requests, one right behind the other, with their `@`. */
  readonly requests: readonly string[]
  /** Where what is written is cut. */
  readonly cuts: readonly number[]
  /** The client leaves without waiting. */
  readonly leaves: boolean
}

export const oddConnection: fc.Arbitrary<OddConnection> = fc.record({
  requests: fc.array(fc.oneof({ weight: 3, arbitrary: request }, { weight: 1, arbitrary: plain }), { minLength: 1, maxLength: 3 }),
  cuts: fc.array(fc.nat(), { maxLength: 3 }),
  leaves: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
})
