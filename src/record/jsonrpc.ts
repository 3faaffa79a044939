/**
 * What a body says as JSON-RPC and MCP, read without building its values: exact slices, typed ids, the names that lists and filters show.
 * Everything here comes from strangers: names are cut, nothing recurses, and a key that stands twice is told (the last one wins, as in JSON.parse).
 */

import type { Era, RpcId } from './frame.ts'
import { JsonCursor } from './json-scan.ts'

export type Scan =
  | { readonly ok: false; readonly reason: 'empty' | 'malformed' | 'too-deep' | 'bom' | 'not-jsonrpc' }
  | { readonly ok: true; readonly batch: boolean; readonly messages: readonly Message[] }

/** A value that only its server understands and that must not be stored in clear. `start` and `end` include the quotes. */
export interface RequestState {
  readonly start: number
  readonly end: number
  /** The decoded string; for an object or an array its source text. */
  readonly value: string
  readonly path: string
}

/** Names are at most 512 characters, and then `…`. */
export interface Message {
  /** `text.slice(start, end)` is the exact message. */
  readonly start: number
  readonly end: number
  readonly type: 'request' | 'response' | 'notification' | 'invalid'
  readonly rpcId?: RpcId
  readonly method?: string
  /** Tool, prompt, resource URI or task that the request is about. */
  readonly name?: string
  /** Only `true`: a JSON-RPC error, or a result that says so. */
  readonly isError?: boolean
  readonly errorCode?: number
  readonly resultType?: string
  /**
   * At most 8, of the message, `params`, `arguments`, `_meta`, `result`, `error` and client info. `requestState` comes first: then `requestState` below is
   * not the only value to mask. `…` means that an object had more keys than were compared.
   */
  readonly duplicateKeys?: readonly string[]
  /** Protocol version that the body claims, or that `initialize` asks for. */
  readonly version?: string
  /** The body claims a version in `_meta`. For `initialize` only when that claim is modern and complete. */
  readonly claimed: boolean
  readonly clientInfo?: { readonly name: string; readonly version?: string }
  readonly taskId?: string
  readonly subscriptionId?: string
  readonly conversation?: string
  readonly traceparent?: string
  readonly requestState?: RequestState
}

/** More elements than this in a batch are not taken for a batch: every element costs memory. */
const MAX_BATCH = 10_000
const MAX_DUPLICATES = 8
/** Keys of one object that are compared with each other. */
const MAX_COMPARED = 4096
/** Client metadata that is an object is kept whole up to here, since it tells conversations apart. */
const MAX_CONVERSATION = 4096

/** Classifies a whole body, or the data of a whole event. Linear in its length. */
export function scanMessages(text: string): Scan {
  if (text.charCodeAt(0) === 0xfeff) return { ok: false, reason: 'bom' }
  const cursor = new JsonCursor(text)
  cursor.space()
  if (cursor.peek() === -1) return { ok: false, reason: 'empty' }
  const batch = cursor.atArray()
  const messages: Message[] = []
  let tooMany = false
  if (batch) {
    for (let more = cursor.firstElement(); more; more = cursor.nextElement()) {
      tooMany = messages.length === MAX_BATCH
      if (tooMany) cursor.skipValue()
      else messages.push(readElement(cursor))
    }
  } else {
    messages.push(readElement(cursor))
  }
  if (cursor.fault === undefined) {
    cursor.space()
    if (cursor.peek() !== -1) cursor.fail('malformed')
  }
  if (cursor.fault !== undefined) return { ok: false, reason: cursor.fault }
  if (tooMany || messages.length === 0 || (!batch && messages[0]?.type === 'invalid')) return { ok: false, reason: 'not-jsonrpc' }
  return { ok: true, batch, messages }
}

/** Revisions from this one on are modern. */
const FIRST_MODERN = '2026-07-28'

/** Whether a protocol version is of the modern era: 2026-07-28 or any later date. */
function isModernVersion(version: string | undefined): boolean {
  return version !== undefined && /^\d{4}-\d\d-\d\d$/.test(version) && version >= FIRST_MODERN
}

export interface EraFacts {
  /** HTTP method. */
  readonly method: string
  /** `MCP-Protocol-Version` as sent. */
  readonly headerVersion?: string | undefined
  /** `Mcp-Method` as sent. */
  readonly headerMethod?: string | undefined
  readonly messages: readonly Message[]
  /** The body was an array. */
  readonly batch?: boolean | undefined
}

/**
 * Era of a request, by the official order: the body first, the header only where the body is silent.
 * `mismatch`: header and body disagree, which upstream refuses; the recorder only notes it.
 */
export function classifyEra(facts: EraFacts): { readonly era: Era; readonly mismatch: boolean } {
  if (facts.method.toUpperCase() !== 'POST') return { era: 'legacy', mismatch: false }
  const header = trimmed(facts.headerVersion)
  const [message] = facts.messages
  if (message === undefined) return { era: 'none', mismatch: false }
  if (facts.batch === true || facts.messages.length > 1) {
    // A modern message in a batch is against the revision that it claims.
    const claimed = facts.messages.some(each => each.claimed)
    return { era: claimed ? 'modern' : 'legacy', mismatch: claimed }
  }
  if (message.type === 'invalid') return { era: 'none', mismatch: false }
  if (message.type === 'response') return { era: 'legacy', mismatch: false }
  const methodDiffers = facts.headerMethod !== undefined && trimmed(facts.headerMethod) !== message.method
  if (message.claimed) {
    const era = message.version === undefined || isModernVersion(message.version) ? 'modern' : 'legacy'
    return { era, mismatch: (header !== undefined && header !== message.version) || (methodDiffers && (era === 'modern' || message.type === 'request')) }
  }
  if (!isModernVersion(header)) return { era: 'legacy', mismatch: false }
  return message.type === 'notification' ? { era: 'modern', mismatch: methodDiffers } : { era: 'legacy', mismatch: true }
}

function trimmed(value: string | undefined): string | undefined {
  return value?.replace(/^[ \t]+/, '').trimEnd()
}

/** Keys of the objects of one message, and which of them stood twice in one object. */
class Duplicates {
  readonly names: string[] = []

  note(key: string): void {
    const name = key.length <= 512 ? key : `${key.slice(0, 512)}…`
    if (this.names.includes(name)) return
    if (name === 'requestState') this.names.unshift(name)
    else this.names.push(name)
    if (this.names.length > MAX_DUPLICATES) this.names.pop()
  }
}

/** Keys of one object. Most objects have a handful, where a list beats a set. */
class Keys {
  private readonly few: string[] = []
  private many: Set<string> | undefined
  private readonly duplicates: Duplicates

  constructor(duplicates: Duplicates) {
    this.duplicates = duplicates
  }

  add(key: string): void {
    if (this.many === undefined) {
      if (this.few.includes(key)) {
        this.duplicates.note(key)
      } else {
        this.few.push(key)
        if (this.few.length > 12) this.many = new Set(this.few)
      }
    } else if (this.many.has(key)) {
      this.duplicates.note(key)
    } else if (this.many.size < MAX_COMPARED) {
      this.many.add(key)
    } else {
      this.duplicates.note('…')
    }
  }
}

type Client = { readonly name: string; readonly version?: string }

/** What is looked for in `params` and in `result`. */
class Inner {
  name: string | undefined
  uri: string | undefined
  taskId: string | undefined
  version: string | undefined
  client: Client | undefined
  requestState: RequestState | undefined
  isError = false
  resultType: string | undefined
  meta: Meta | undefined
}

class Meta {
  claimed = false
  version: string | undefined
  capabilities = false
  client: Client | undefined
  taskId: string | undefined
  subscriptionId: string | undefined
  vscode: string | undefined
  sessionId: string | undefined
  codex: string | undefined
  traceparent: string | undefined
}

function readElement(cursor: JsonCursor): Message {
  if (cursor.atObject()) return readMessage(cursor)
  const start = cursor.pos
  cursor.skipValue()
  return { start, end: cursor.pos, type: 'invalid', claimed: false }
}

function readMessage(cursor: JsonCursor): Message {
  const start = cursor.pos
  const duplicates = new Duplicates()
  const keys = new Keys(duplicates)
  let marked = false
  let rpcId: RpcId | undefined
  let badId = false
  let method: string | undefined
  let params: Inner | undefined
  let hasResult = false
  let result: Inner | undefined
  let hasError = false
  let errorCode: number | undefined
  for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
    keys.add(key)
    switch (key) {
      case 'jsonrpc':
        marked = cursor.name() === '2.0'
        break
      case 'id':
        rpcId = readId(cursor)
        badId = rpcId === undefined
        break
      case 'method':
        method = cursor.name()
        break
      case 'params':
        params = readInner(cursor, duplicates, '$.params.requestState')
        break
      case 'result':
        hasResult = true
        result = readInner(cursor, duplicates, '$.result.requestState')
        break
      case 'error':
        // `"error": null` beside a result is an old habit of JSON-RPC 1.0, not an error.
        hasError = cursor.peek() !== 0x6e
        errorCode = readErrorCode(cursor, duplicates)
        break
      default:
        cursor.skipValue()
    }
  }
  // A message with a method counts as a request whatever else it holds: a lenient server would run it.
  const type =
    !marked || badId
      ? 'invalid'
      : method !== undefined
        ? rpcId === undefined
          ? 'notification'
          : 'request'
        : hasError || (hasResult && rpcId !== undefined)
          ? 'response'
          : 'invalid'
  const message: Draft = { start, end: cursor.pos, type, claimed: false }
  if (duplicates.names.length > 0) message.duplicateKeys = duplicates.names
  if (type === 'invalid') return message
  if (rpcId !== undefined) message.rpcId = rpcId
  if (type === 'response') {
    if (hasError) {
      message.isError = true
      if (errorCode !== undefined) message.errorCode = errorCode
    }
    if (result !== undefined) describeResult(message, result)
  } else if (method !== undefined) {
    message.method = method
    if (params !== undefined) describeParams(message, method, params)
  }
  return message
}

type Draft = { -readonly [Key in keyof Message]: Message[Key] }

function describeResult(message: Draft, result: Inner): void {
  if (result.isError) message.isError = true
  if (result.resultType !== undefined) message.resultType = result.resultType
  const taskId = result.taskId ?? result.meta?.taskId
  if (taskId !== undefined) message.taskId = taskId
  if (result.meta?.subscriptionId !== undefined) message.subscriptionId = result.meta.subscriptionId
  if (result.requestState !== undefined) message.requestState = result.requestState
}

function describeParams(message: Draft, method: string, params: Inner): void {
  const { meta } = params
  const name = nameOf(method, params)
  if (name !== undefined) message.name = name
  if (params.requestState !== undefined) message.requestState = params.requestState
  const taskId = params.taskId ?? meta?.taskId
  if (taskId !== undefined) message.taskId = taskId
  const initialize = method === 'initialize'
  message.claimed = meta !== undefined && meta.claimed && (!initialize || (meta.capabilities && isModernVersion(meta.version)))
  const version = message.claimed ? meta?.version : initialize ? params.version : undefined
  if (version !== undefined) message.version = version
  const client = (initialize ? params.client : undefined) ?? meta?.client
  if (client !== undefined) message.clientInfo = client
  if (meta === undefined) return
  if (meta.subscriptionId !== undefined) message.subscriptionId = meta.subscriptionId
  const conversation = meta.vscode ?? meta.sessionId ?? meta.codex
  if (conversation !== undefined) message.conversation = conversation
  if (meta.traceparent !== undefined) message.traceparent = meta.traceparent
}

function nameOf(method: string, params: Inner): string | undefined {
  switch (method) {
    case 'tools/call':
    case 'prompts/get':
      return params.name
    case 'resources/read':
    case 'resources/subscribe':
    case 'resources/unsubscribe':
      return params.uri
    default:
      return method.startsWith('tasks/') ? params.taskId : undefined
  }
}

function readInner(cursor: JsonCursor, duplicates: Duplicates, statePath: string): Inner | undefined {
  if (!cursor.atObject()) {
    cursor.skipValue()
    return undefined
  }
  const inner = new Inner()
  const keys = new Keys(duplicates)
  let ownTask: string | undefined
  let innerTask: string | undefined
  for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
    keys.add(key)
    switch (key) {
      case 'name':
        inner.name = cursor.name()
        break
      case 'uri':
        inner.uri = cursor.name()
        break
      case 'arguments':
        passObject(cursor, duplicates)
        break
      case '_meta':
        inner.meta = readMeta(cursor, duplicates)
        break
      case 'isError':
        inner.isError = cursor.isTrue()
        break
      case 'resultType':
        inner.resultType = cursor.name()
        break
      case 'requestState':
        inner.requestState = readState(cursor, statePath)
        break
      case 'taskId':
        ownTask = cursor.name()
        break
      case 'task':
        innerTask = readTaskId(cursor, duplicates)
        break
      case 'protocolVersion':
        inner.version = cursor.name()
        break
      case 'clientInfo':
        inner.client = readClient(cursor, duplicates)
        break
      default:
        cursor.skipValue()
    }
  }
  inner.taskId = ownTask ?? innerTask
  return inner
}

function readMeta(cursor: JsonCursor, duplicates: Duplicates): Meta | undefined {
  if (!cursor.atObject()) {
    cursor.skipValue()
    return undefined
  }
  const meta = new Meta()
  const keys = new Keys(duplicates)
  for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
    keys.add(key)
    switch (key) {
      case 'io.modelcontextprotocol/protocolVersion':
        meta.claimed = true
        meta.version = cursor.name()
        break
      case 'io.modelcontextprotocol/clientCapabilities':
        meta.capabilities = cursor.atObject()
        cursor.skipValue()
        break
      case 'io.modelcontextprotocol/clientInfo':
        meta.client = readClient(cursor, duplicates)
        break
      case 'io.modelcontextprotocol/related-task':
        meta.taskId = readTaskId(cursor, duplicates)
        break
      case 'io.modelcontextprotocol/subscriptionId':
        meta.subscriptionId = cursor.atNumber() ? cursor.source() : cursor.name()
        break
      case 'vscode.conversationId':
        meta.vscode = cursor.name()
        break
      case 'sessionID':
        meta.sessionId = cursor.name()
        break
      case 'x-codex-turn-metadata':
        meta.codex = cursor.atObject() ? cursor.source(MAX_CONVERSATION) : cursor.name(MAX_CONVERSATION)
        break
      case 'traceparent':
        meta.traceparent = cursor.name()
        break
      default:
        cursor.skipValue()
    }
  }
  return meta
}

function passObject(cursor: JsonCursor, duplicates: Duplicates): void {
  if (!cursor.atObject()) {
    cursor.skipValue()
    return
  }
  const keys = new Keys(duplicates)
  for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
    keys.add(key)
    cursor.skipValue()
  }
}

function readClient(cursor: JsonCursor, duplicates: Duplicates): Client | undefined {
  if (!cursor.atObject()) {
    cursor.skipValue()
    return undefined
  }
  const keys = new Keys(duplicates)
  let name: string | undefined
  let version: string | undefined
  for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
    keys.add(key)
    if (key === 'name') name = cursor.name()
    else if (key === 'version') version = cursor.name()
    else cursor.skipValue()
  }
  if (name === undefined) return undefined
  return version === undefined ? { name } : { name, version }
}

function readTaskId(cursor: JsonCursor, duplicates: Duplicates): string | undefined {
  if (!cursor.atObject()) {
    cursor.skipValue()
    return undefined
  }
  const keys = new Keys(duplicates)
  let taskId: string | undefined
  for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
    keys.add(key)
    if (key === 'taskId') taskId = cursor.name()
    else cursor.skipValue()
  }
  return taskId
}

function readErrorCode(cursor: JsonCursor, duplicates: Duplicates): number | undefined {
  if (!cursor.atObject()) {
    cursor.skipValue()
    return undefined
  }
  const keys = new Keys(duplicates)
  let code: number | undefined
  for (let key = cursor.firstKey(); key !== undefined; key = cursor.nextKey()) {
    keys.add(key)
    if (key === 'code' && cursor.atNumber()) code = finite(cursor.source())
    else cursor.skipValue()
  }
  return code
}

/** A JSON-RPC id; undefined when the value cannot be one. */
function readId(cursor: JsonCursor): RpcId | undefined {
  if (cursor.atString()) return cursor.name()
  const number = cursor.atNumber()
  const source = cursor.source()
  if (source === undefined) return undefined
  if (!number) return source === 'null' ? null : undefined
  // Only what prints as it was written is a plain number: 1.0, 1e3, -0 and 2^53+1 keep their digits.
  const value = Number(source)
  return Number.isSafeInteger(value) && String(value) === source ? value : { number: source }
}

function readState(cursor: JsonCursor, path: string): RequestState | undefined {
  const start = cursor.pos
  if (cursor.atString()) {
    const value = cursor.string()
    return value === undefined ? undefined : { start, end: cursor.pos, value, path }
  }
  // The protocol knows strings only. A structure may hold a secret all the same; numbers and literals cannot be told from flags.
  const structure = cursor.atObject() || cursor.atArray()
  if (!cursor.skipValue() || !structure) return undefined
  return { start, end: cursor.pos, value: cursor.text.slice(start, cursor.pos), path }
}

function finite(source: string | undefined): number | undefined {
  const value = Number(source)
  return Number.isFinite(value) ? value : undefined
}
