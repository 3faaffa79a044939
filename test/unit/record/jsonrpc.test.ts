import { classifyInboundRequest } from '@modelcontextprotocol/server'
import { expect } from 'chai'
import fc from 'fast-check'
import { classifyEra, scanMessages } from '../../../src/record/jsonrpc.ts'
import type { Message } from '../../../src/record/jsonrpc.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

function messagesOf(text: string): readonly Message[] {
  const scan = scanMessages(text)
  if (!scan.ok) throw new Error(`not ok: ${scan.reason}`)
  return scan.messages
}

function one(message: unknown): Message {
  const text = typeof message === 'string' ? message : JSON.stringify(message)
  const [first, ...more] = messagesOf(text)
  expect(more).deep.equal([])
  if (first === undefined) throw new Error('no message')
  return first
}

function reason(text: string): string {
  const scan = scanMessages(text)
  return scan.ok ? 'ok' : scan.reason
}

const MODERN = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} }

describe('scanMessages()', () => {
  it('tells request, notification and response apart when they are JSON-RPC 2.0', () => {
    expect(one({ jsonrpc: '2.0', id: 1, method: 'ping' }).type).equal('request')
    expect(one({ jsonrpc: '2.0', method: 'notifications/initialized' }).type).equal('notification')
    expect(one({ jsonrpc: '2.0', id: 1, result: {} }).type).equal('response')
    expect(one({ jsonrpc: '2.0', id: null, error: { code: -32700, message: 'x' } })).deep.include({ type: 'response', rpcId: null, isError: true, errorCode: -32700 })
    expect(one({ jsonrpc: '2.0', error: { code: 1, message: 'x' } }).type).equal('response')
    expect(one({ jsonrpc: '2.0', id: 1, result: {}, error: null })).not.have.property('isError')
  })

  it('gives the reason when the text is not a message', () => {
    expect(reason('')).equal('empty')
    expect(reason(' \r\n\t')).equal('empty')
    expect(reason('\ufeff{}')).equal('bom')
    expect(reason('{"jsonrpc":"2.0","id":1,"method":"a"')).equal('malformed')
    expect(reason('{"jsonrpc":"2.0","id":1,"method":"a"} x')).equal('malformed')
    expect(reason('{"jsonrpc":"2.0","id":1,"method":"a",}')).equal('malformed')
    expect(reason('<html>')).equal('malformed')
    expect(reason('['.repeat(1_000_000))).equal('too-deep')
    expect(reason(`{"jsonrpc":"2.0","id":1,"method":"a","params":${'{"a":'.repeat(1_000_000)}`)).equal('too-deep')
    for (const text of ['[]', ' [ ] ', '1', '"a"', 'null', '{}', '{"id":1,"method":"a"}', '{"jsonrpc":"1.0","id":1,"method":"a"}', '{"jsonrpc":"2.0","id":1}', '{"jsonrpc":"2.0","result":{}}', '{"jsonrpc":"2.0","id":{},"method":"a"}', '{"jsonrpc":"2.0","id":true,"method":"a"}', '{"jsonrpc":"2.0","id":1,"method":5}']) {
      expect(reason(text), text).equal('not-jsonrpc')
    }
    expect(reason(`[${Array(10_001).fill('1').join()}]`)).equal('not-jsonrpc')
  })

  it('keeps the type and the digits of ids', () => {
    const id = (source: string): unknown => one(`{"jsonrpc":"2.0","method":"a","id":${source}}`).rpcId
    expect(id('0')).equal(0)
    expect(id('""')).equal('')
    expect(id('null')).equal(null)
    expect(id('1')).equal(1)
    expect(id('"1"')).equal('1')
    expect(id('"\\u0031"')).equal('1')
    expect(id('9007199254740991')).equal(9007199254740991)
    expect(id('-5')).equal(-5)
    for (const odd of ['9007199254740993', '1.0', '1.5', '1e3', '-0', '1E400']) expect(id(odd), odd).deep.equal({ number: odd })
    expect(one('{"jsonrpc":"2.0","method":"a"}')).not.have.property('rpcId')
    expect(one('{"jsonrpc":"2.0","method":"a","id":null}').type).equal('request')
  })

  it('names tool, prompt, resource and task', () => {
    const name = (method: string, params: object): unknown => one({ jsonrpc: '2.0', id: 1, params, method }).name
    expect(name('tools/call', { name: 'add', arguments: { name: 'other' } })).equal('add')
    expect(name('prompts/get', { name: 'greet' })).equal('greet')
    for (const verb of ['read', 'subscribe', 'unsubscribe']) expect(name(`resources/${verb}`, { uri: 'file:///a', name: 'no' })).equal('file:///a')
    expect(name('tasks/cancel', { taskId: 't1' })).equal('t1')
    expect(name('tools/list', { name: 'no' })).equal(undefined)
    expect(name('tools/call', { name: 5 })).equal(undefined)
    expect(name('tools/call', ['add'])).equal(undefined)
    expect(name('tools/call', { name: 'x'.repeat(20_000) })).equal(`${'x'.repeat(512)}…`)
  })

  it('sees failed results, result types and error codes', () => {
    expect(one({ jsonrpc: '2.0', id: 1, result: { content: [{ isError: false }], isError: true } }).isError).equal(true)
    expect(one({ jsonrpc: '2.0', id: 1, result: { content: [{ isError: true }], isError: 'true' } })).not.have.property('isError')
    expect(one({ jsonrpc: '2.0', id: 1, result: { resultType: 'input_required' } }).resultType).equal('input_required')
    expect(one({ jsonrpc: '2.0', id: 1, error: { code: -32602, message: 'no', data: { code: 4 } } }).errorCode).equal(-32602)
    expect(one({ jsonrpc: '2.0', id: 1, error: { code: '5' } })).not.have.property('errorCode')
  })

  it('reads version, client and claim', () => {
    const legacy = one({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } } })
    expect(legacy).deep.include({ version: '2025-11-25', claimed: false, clientInfo: { name: 'c', version: '1' } })
    const modern = one({ jsonrpc: '2.0', id: 0, method: 'tools/list', params: { _meta: { ...MODERN, 'io.modelcontextprotocol/clientInfo': { name: 'm' } } } })
    expect(modern).deep.include({ version: '2026-07-28', claimed: true, clientInfo: { name: 'm' } })
    const incomplete = one({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-06-18', _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } } })
    expect(incomplete).deep.include({ version: '2025-06-18', claimed: false })
    expect(one({ jsonrpc: '2.0', id: 0, method: 'initialize', params: { _meta: MODERN } })).deep.include({ version: '2026-07-28', claimed: true })
  })

  it('reads what links messages', () => {
    const meta = { traceparent: '00-1-2-01', 'io.modelcontextprotocol/subscriptionId': 12, 'io.modelcontextprotocol/related-task': { taskId: 't' }, 'x-codex-turn-metadata': { a: 1 } }
    expect(one({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { _meta: meta } })).deep.include({ traceparent: '00-1-2-01', subscriptionId: '12', taskId: 't', conversation: '{"a":1}' })
    const conversation = (more: object): unknown => one({ jsonrpc: '2.0', id: 1, method: 'a', params: { _meta: { ...meta, ...more } } }).conversation
    expect(conversation({ sessionID: 's' })).equal('s')
    expect(conversation({ sessionID: 's', 'vscode.conversationId': 'v' })).equal('v')
    expect(one({ jsonrpc: '2.0', id: 1, result: { task: { taskId: 'x', status: 'working' } } }).taskId).equal('x')
    expect(one({ jsonrpc: '2.0', id: 1, result: { taskId: 'y' } }).taskId).equal('y')
    expect(one({ jsonrpc: '2.0', id: 1, result: { _meta: meta } })).deep.include({ subscriptionId: '12', taskId: 't' })
  })

  it('points at requestState with its quotes', () => {
    for (const [key, rest] of [['params', '"method":"tools/call"'], ['result', '"id":1']] as const) {
      const text = ` {"jsonrpc":"2.0",${rest},"${key}":{"a":"requestState", "requestState" : "s\\u0065cret\\"" }}`
      const { requestState } = one(text)
      expect(requestState?.value).equal('secret"')
      expect(requestState?.path).equal(`$.${key}.requestState`)
      expect(text.slice(requestState?.start, requestState?.end)).equal('"s\\u0065cret\\""')
    }
    expect(one('{"jsonrpc":"2.0","id":1,"result":{"requestState":{"a":[1]}}}').requestState?.value).equal('{"a":[1]}')
    expect(one('{"jsonrpc":"2.0","id":1,"result":{"requestState":null}}')).not.have.property('requestState')
  })

  it('reports keys that stand twice, and lets the last one win', () => {
    const twice = one('{"jsonrpc":"2.0","id":1,"method":"a","\\u0069d":2,"method":"tools/call","params":{"name":"safe"},"params":{"name":"x","name":"\\u0065vil","arguments":{"p":1,"p":2},"_meta":{"q":1,"q":2}}}')
    expect(twice).deep.include({ rpcId: 2, method: 'tools/call', name: 'evil' })
    expect(twice.duplicateKeys).have.members(['id', 'method', 'params', 'name', 'p', 'q'])
    expect(one('{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2},"result":{}}').duplicateKeys).deep.equal(['a', 'result'])
    expect(one('{"jsonrpc":"2.0","id":1,"result":{"isError":true},"result":{}}')).not.have.property('isError')
    expect(one('{"jsonrpc":"2.0","id":1,"result":{"content":[{"a":1},{"a":1}]}}')).not.have.property('duplicateKeys')
    expect(one('{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x"},"params":null}')).not.have.property('name')
  })

  it('bounds the list of duplicates, and puts requestState first', () => {
    const keys = Array.from({ length: 20 }, (_, i) => `k${i}`)
    const pairs = [...keys, ...keys, 'requestState', 'requestState'].map(key => `"${key}":"v"`)
    const { duplicateKeys } = one(`{"jsonrpc":"2.0","id":1,"result":{${pairs.join()}}}`)
    expect(duplicateKeys).length(8)
    expect(duplicateKeys?.[0]).equal('requestState')
    const many = Array.from({ length: 100_000 }, (_, i) => `"${i}":0`)
    expect(one(`{"jsonrpc":"2.0","id":1,"result":{${many.join()}}}`).duplicateKeys).deep.equal(['…'])
    expect(one(`{"jsonrpc":"2.0","id":1,"result":{"${'x'.repeat(9999)}":1,"${'x'.repeat(9999)}":1}}`).duplicateKeys?.[0]).length(513)
  })

  it('gives one message per element when the body is a batch', () => {
    const text = ' [ {"jsonrpc":"2.0","id":1,"method":"a"} , 5, {"jsonrpc":"2.0","id":"1","result":{}},[],{"a":1} ]\n'
    const scan = scanMessages(text)
    expect(scan.ok && scan.batch).equal(true)
    const messages = messagesOf(text)
    expect(messages.map(each => each.type)).deep.equal(['request', 'invalid', 'response', 'invalid', 'invalid'])
    expect(messages.map(each => text.slice(each.start, each.end))).deep.equal(['{"jsonrpc":"2.0","id":1,"method":"a"}', '5', '{"jsonrpc":"2.0","id":"1","result":{}}', '[]', '{"a":1}'])
    expect(scanMessages('[{"jsonrpc":"2.0","id":1,"method":"a"}]')).deep.include({ ok: true, batch: true })
  })

  it('agrees with JSON.parse about slices, method, name and id when anything stands around them', () => {
    const message = fc.record({ jsonrpc: fc.constant('2.0'), id: fc.oneof(fc.string(), fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true })), method: fc.oneof(fc.constant('tools/call'), fc.string()), params: fc.oneof(fc.record({ name: fc.string(), arguments: fc.jsonValue(), _meta: fc.jsonValue() }), fc.jsonValue()), more: fc.jsonValue() })
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), fc.integer({ min: 0, max: 2 }), (batch, indent) => {
        const text = JSON.stringify(batch, undefined, indent)
        const expected: unknown = JSON.parse(text)
        const messages = messagesOf(text)
        expect(messages.map(each => JSON.parse(text.slice(each.start, each.end)))).deep.equal(expected)
        messages.forEach((each, index) => {
          const source = batch[index]
          const bounded = (value: string): string => (value.length > 512 ? `${value.slice(0, 512)}…` : value)
          expect(each.type).equal('request')
          expect(each.method).equal(bounded(source?.method ?? ''))
          if (typeof source?.id === 'string' || Number.isSafeInteger(source?.id)) expect(each.rpcId).equal(source?.id === 0 ? 0 : source?.id)
          else expect(each.rpcId).deep.equal({ number: JSON.stringify(source?.id) })
          expect(each).not.have.property('duplicateKeys')
        })
      }),
      fuzzRuns,
    )
  })

  it('never throws when the text is anything', () => {
    const token = fc.constantFrom('{', '}', '[', ']', ',', ':', '"jsonrpc"', '"2.0"', '"id"', '"method"', '"params"', '"_meta"', '"result"', '"error"', '"requestState"', '"task"', '1', 'null', 'true', ' ', '"\\u0069d"')
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.array(token, { maxLength: 40 }).map(tokens => tokens.join(''))), text => {
        const scan = scanMessages(text)
        if (!scan.ok) return
        for (const each of scan.messages) JSON.parse(text.slice(each.start, each.end))
      }),
      fuzzRuns,
    )
  })
})

describe('classifyEra()', () => {
  const era = (message: object | undefined, more: { method?: string; headerVersion?: string; headerMethod?: string } = {}): string => {
    const found = classifyEra({ method: 'POST', ...more, messages: message === undefined ? [] : messagesOf(JSON.stringify(message)), batch: Array.isArray(message) })
    return `${found.era}${found.mismatch ? '!' : ''}`
  }
  const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
  const claiming = { ...list, params: { _meta: MODERN } }
  const initialize = { jsonrpc: '2.0', id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25' } }
  const modernHeader = { headerVersion: ' 2026-07-28\t' }

  it('lets the body decide first', () => {
    expect(era(undefined, { method: 'GET', ...modernHeader })).equal('legacy')
    expect(era(undefined)).equal('none')
    expect(era(list)).equal('legacy')
    expect(era(list, { headerVersion: '2025-11-25' })).equal('legacy')
    expect(era(claiming)).equal('modern')
    expect(era(claiming, modernHeader)).equal('modern')
    expect(era({ ...list, params: { _meta: { 'io.modelcontextprotocol/protocolVersion': '2027-01-15' } } })).equal('modern')
    expect(era({ ...list, params: { _meta: { 'io.modelcontextprotocol/protocolVersion': '2025-11-25' } } })).equal('legacy')
    expect(era({ jsonrpc: '2.0', id: 1, result: {} }, modernHeader)).equal('legacy')
    expect(era(initialize)).equal('legacy')
    expect(era({ ...initialize, params: { _meta: MODERN } })).equal('modern')
  })

  it('lets the header decide when a notification claims nothing', () => {
    const notification = { jsonrpc: '2.0', method: 'notifications/cancelled' }
    expect(era(notification)).equal('legacy')
    expect(era(notification, modernHeader)).equal('modern')
    expect(era(notification, { headerVersion: '2025-06-18' })).equal('legacy')
  })

  it('notes a mismatch when header and body disagree', () => {
    expect(era(list, modernHeader)).equal('legacy!')
    expect(era(initialize, modernHeader)).equal('legacy!')
    expect(era(claiming, { headerVersion: '2025-11-25' })).equal('modern!')
    expect(era(claiming, { ...modernHeader, headerMethod: 'tools/call' })).equal('modern!')
    expect(era(claiming, { ...modernHeader, headerMethod: ' tools/list ' })).equal('modern')
    expect(era([list, claiming])).equal('modern!')
    expect(era([claiming])).equal('modern!')
    expect(era([list, list])).equal('legacy')
  })

  it('agrees with the official classification when a message is one that it can classify', () => {
    const version = fc.constantFrom('2026-07-28', '2027-01-15', '2025-11-25', '1')
    const meta = fc.record({ 'io.modelcontextprotocol/protocolVersion': version, 'io.modelcontextprotocol/clientCapabilities': fc.constant({}) }, { requiredKeys: [] })
    const params = fc.record({ protocolVersion: version, _meta: meta }, { requiredKeys: [] })
    const request = fc.record({ jsonrpc: fc.constant('2.0'), id: fc.constantFrom(0, 'a'), method: fc.constantFrom('initialize', 'tools/list'), params }, { requiredKeys: ['jsonrpc', 'id', 'method'] })
    const notification = fc.record({ jsonrpc: fc.constant('2.0'), method: fc.constantFrom('notifications/cancelled', 'tools/list'), params }, { requiredKeys: ['jsonrpc', 'method'] })
    const response = fc.constantFrom({ jsonrpc: '2.0', id: 1, result: {} }, { jsonrpc: '2.0', id: 1, error: { code: 1, message: 'x' } })
    const message = fc.oneof(request, notification, response)
    // Within a batch an `initialize` with half a claim counts as claiming officially, and not here: upstream refuses it either way.
    const batch = fc.array(message, { minLength: 1, maxLength: 2 }).filter(all => !all.some(each => 'method' in each && each.method === 'initialize'))
    const headers = fc.record({ headerVersion: fc.oneof(version, fc.constant(' 2026-07-28 ')), headerMethod: fc.constantFrom('tools/list', 'initialize') }, { requiredKeys: [] })
    let compared = 0
    fc.assert(
      fc.property(fc.oneof(message, batch), headers, fc.constantFrom('POST', 'GET'), (body, { headerVersion, headerMethod }, method) => {
        const official = classifyInboundRequest({ httpMethod: method, body, ...(headerVersion === undefined ? {} : { protocolVersionHeader: headerVersion }), ...(headerMethod === undefined ? {} : { mcpMethodHeader: headerMethod }) })
        const ours = classifyEra({ method, headerVersion, headerMethod, messages: messagesOf(JSON.stringify(body)), batch: Array.isArray(body) })
        switch (official.kind) {
          case 'legacy':
            expect(ours).deep.equal({ era: 'legacy', mismatch: false })
            break
          case 'modern':
            expect(ours).deep.equal({ era: official.classification.era, mismatch: false })
            break
          default:
            // A claim that lacks a key is refused for another reason than a mismatch.
            if (official.cell.startsWith('envelope-') || official.cell.startsWith('notification-envelope')) return
            expect(ours.mismatch, official.cell).equal(true)
        }
        compared++
      }),
      fuzzRuns,
    )
    expect(compared).greaterThan(0)
  })
})
