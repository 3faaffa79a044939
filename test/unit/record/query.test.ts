import { expect } from 'chai'
import fc from 'fast-check'

import { matchesQuery, needlesOf, parseQuery } from '../../../src/record/query.ts'
import type { Query, QuerySubject } from '../../../src/record/query.ts'

function query(text: string): Query {
  const parsed = parseQuery(text)
  if ('reason' in parsed) throw new Error(parsed.reason)
  return parsed.query
}

function reason(text: string): string | undefined {
  const parsed = parseQuery(text)
  return 'reason' in parsed ? parsed.reason : undefined
}

const CALL: QuerySubject = {
  frame: { writer: 'w1', seq: 41, kind: 'mcp', exchange: 7 },
  type: 'response',
  from: 'server',
  method: 'tools/call',
  tool: 'search_docs',
  rpcId: '3',
  isError: true,
  errorCode: -32602,
  found: new Set(['needle', 'two words']),
}

describe('matchesQuery()', () => {
  const matching = [
    '', '   ', 'tool:search_docs', 'tool:SEARCH_*', 'tool:*docs', 'tool:s*_d*s', 'tool:nothing,search_docs', 'method:tools/*', 'kind:res', 'kind:err', 'kind:mcp', 'kind:req,err',
    'from:server', 'error', 'error:-32602', 'seq:41', 'seq:w1.41', 'seq:40..', 'seq:..41', 'seq:41..41', 'exchange:7', 'id:3', 'needle', 'NEEDLE', '"two words"', 'text:needle', 'text:"two words"',
    '-tool:other', '-from:client', '-"no such"', 'tool:search* -kind:ntf error method:tools/call needle',
  ]
  for (const text of matching) it(`matches '${text}'`, () => expect(matchesQuery(query(text), CALL)).to.equal(true))

  const missing = [
    'tool:search', 'tool:docs', 'tool:*x*', 'tool:search_docs*s', 'method:tools', 'kind:req', 'kind:ntf', 'kind:gap', 'from:client', '-error', 'error:-32601', 'seq:42', 'seq:w2.41', 'seq:42..', 'exchange:8', 'id:4',
    'absent', '-needle', 'tool:search_docs kind:ntf', '"error"',
  ]
  for (const text of missing) it(`does not match '${text}'`, () => expect(matchesQuery(query(text), CALL)).to.equal(false))

  it('tells kinds of one family apart by their full name', () => {
    const end: QuerySubject = { frame: { writer: 'w', seq: 1, kind: 'exchange.end' }, isError: false, found: new Set() }
    expect(['kind:exchange', 'kind:exchange.end', 'kind:exchange.start'].map(text => matchesQuery(query(text), end))).to.deep.equal([true, true, false])
  })

  it('reads ids of numbers that JavaScript cannot hold', () => {
    expect(matchesQuery(query('id:12345678901234567890'), { ...CALL, rpcId: { number: '12345678901234567890' } })).to.equal(true)
  })
})

describe('parseQuery()', () => {
  const bad: readonly (readonly [text: string, says: RegExp])[] = [
    ['foo:bar', /unknown key 'foo'; use tool, method/],
    ['http://x', /unknown key 'http'.*quotes/],
    ['tool:', /'tool:' has no value/],
    ['tool:,', /'tool:' has no value/],
    ['-', /'-' negates nothing/],
    ['"open', /quote is not closed/],
    ['text:"open', /quote is not closed/],
    ['"a"b', /quote is not closed, or something stands right after it/],
    ['""', /empty text/],
    ['kind:foo', /unknown kind 'foo'; use req, res/],
    ['from:me', /neither client nor server/],
    ['error:bad', /no error code/],
    ['seq:x', /neither a number, a range/],
    ['seq:..', /neither a number, a range/],
    ['exchange:a', /neither a number nor a range/],
  ]
  for (const [text, says] of bad) it(`says why '${text}' is no query`, () => expect(reason(text)).to.match(says))

  it('takes quotes and backslashes inside quotes', () => {
    expect(needlesOf(query('"say \\"hi\\" \\\\o/" -"x:y"'))).to.deep.equal(['say "hi" \\o/', 'x:y'])
  })

  it('never throws, and finds any text that is quoted', () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom('"', '\\', '-', ':', ' ', 'a', 'tool', 'seq', '.', ',', '*', '\n', '👋') }), text => void parseQuery(text)))
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), text => {
        expect(needlesOf(query(`"${text.replace(/["\\]/g, '\\$&')}"`))).to.deep.equal([text.toLowerCase()])
      }),
    )
  })
})
