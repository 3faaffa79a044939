/**
 * Types of the fields that each kind of frame carries, as data. Fields that are not named here survive unread.
 * A field of another type than the format gives it would surprise every reader further on, so the line is refused at the border.
 */

type Check = (value: unknown) => boolean

const text: Check = value => typeof value === 'string'
const count: Check = value => typeof value === 'number' && Number.isFinite(value) && value >= 0
const number: Check = value => typeof value === 'number'
const flag: Check = value => typeof value === 'boolean'
const object: Check = value => typeof value === 'object' && value !== null && !Array.isArray(value)
const array: Check = value => Array.isArray(value)
const oneOf = (...allowed: readonly string[]): Check => value => typeof value === 'string' && allowed.includes(value)
const side = oneOf('client', 'server')
const rpcType = oneOf('request', 'response', 'notification')
const texts: Check = value => Array.isArray(value) && value.every(text)
const arrayOf = (fields: Fields): Check => value => Array.isArray(value) && value.every(each => shape(fields)(each))
const rpcId: Check = value => value === null || typeof value === 'string' || typeof value === 'number' || shape({ number: [text] })(value)
const textMap: Check = value => object(value) && Object.values(value as object).every(text)
const headers: Check = value => object(value) && Object.values(value as object).every(each => typeof each === 'string' || texts(each))

/** A second element makes the field optional. */
type Fields = Readonly<Record<string, readonly [Check, '?'?]>>

const shape = (fields: Fields): Check => value => object(value) && problemIn(fields, value as Record<string, unknown>) === undefined

const clientInfo = shape({ name: [text], version: [text, '?'] })
const identity = shape({ issuer: [text, '?'], subject: [text, '?'], clientId: [text, '?'], scopes: [texts, '?'], groups: [texts, '?'], token: [text, '?'], verified: [flag] })
const links = arrayOf({ type: [text], id: [text] })
const masked = arrayOf({ path: [text], bytes: [count], hmac: [text] })
const event = shape({ id: [text, '?'], type: [text, '?'] })
const part: Fields = { body: [text, '?'], base64: [text, '?'] }

const KINDS: Readonly<Record<string, Fields>> = {
  'writer.start': {
    format: [count],
    steno: [text],
    host: [text],
    pid: [count],
    pod: [text, '?'],
    namespace: [text, '?'],
    node: [text, '?'],
    image: [text, '?'],
    policy: [shape({ name: [text], hash: [text] }), '?'],
    labels: [textMap, '?'],
    recovered: [arrayOf({ writer: [text], frames: [count], state: [text] })],
  },
  'writer.stop': { reason: [text] },
  'session.start': {
    basis: [oneOf('mcp', 'conversation', 'trace', 'idle')],
    server: [shape({ name: [text], url: [text], workload: [text, '?'], pod: [text, '?'], port: [count, '?'] })],
    client: [clientInfo, '?'],
    identity: [identity, '?'],
    foreign: [flag, '?'],
  },
  'session.end': { reason: [text], totals: [shape({ exchanges: [count], calls: [count], errors: [count], bytes: [count] })] },
  'exchange.start': {
    method: [text],
    target: [text],
    headers: [headers],
    // Absent in cleaned exports.
    peer: [text, '?'],
    era: [text],
    version: [text, '?'],
    mismatch: [flag, '?'],
    links: [links, '?'],
    client: [clientInfo, '?'],
    identity: [identity, '?'],
  },
  'exchange.end': {
    status: [count],
    headers: [headers],
    durationUs: [count],
    requestBytes: [count],
    responseBytes: [count],
    events: [count, '?'],
    comments: [count, '?'],
    outcome: [oneOf('ok', 'error', 'denied', 'cancelled', 'cut')],
    reason: [text, '?'],
  },
  mcp: {
    from: [side],
    type: [rpcType],
    rpcId: [rpcId, '?'],
    method: [text, '?'],
    name: [text, '?'],
    isError: [flag, '?'],
    errorCode: [number, '?'],
    resultType: [text, '?'],
    batch: [count, '?'],
    event: [event, '?'],
    links: [links, '?'],
    masked: [masked, '?'],
    duplicateKeys: [array, '?'],
    bytes: [count, '?'],
    more: [flag, '?'],
    ...part,
  },
  http: { from: [side], contentType: [text, '?'], reason: [text, '?'], event: [event, '?'], masked: [masked, '?'], bytes: [count, '?'], more: [flag, '?'], ...part },
  body: {
    of: [count],
    part: [count],
    last: [flag, '?'],
    bytes: [count, '?'],
    sha256: [text, '?'],
    late: [shape({ type: [rpcType, '?'], rpcId: [rpcId, '?'], method: [text, '?'], name: [text, '?'], isError: [flag, '?'], errorCode: [number, '?'] }), '?'],
    ...part,
  },
  access: { action: [text], namespace: [text], pod: [text], container: [text, '?'], image: [text, '?'], user: [text], groups: [texts, '?'], program: [text, '?'], arguments: [count, '?'], allowed: [flag], reason: [text, '?'] },
  policy: { name: [text], hash: [text], changed: [texts], pending: [texts, '?'] },
  gap: { reason: [text], detail: [text, '?'], count: [count, '?'], bytes: [count, '?'], of: [text, '?'], fromSeq: [count, '?'], toSeq: [count, '?'], fromTime: [text, '?'], toTime: [text, '?'] },
}

/** Whether this version knows the kind. Frames of other kinds are kept, counted and shown as they are. */
export function isKnownKind(kind: string): boolean {
  return Object.hasOwn(KINDS, kind)
}

/** What is wrong with a frame's fields, or undefined. */
export function fieldProblem(kind: string, value: Readonly<Record<string, unknown>>): string | undefined {
  const fields = isKnownKind(kind) ? KINDS[kind] : undefined
  const field = fields === undefined ? undefined : problemIn(fields, value)
  return field === undefined ? undefined : `field '${field}' of a ${kind} frame is missing or of a wrong type`
}

function problemIn(fields: Fields, value: Readonly<Record<string, unknown>>): string | undefined {
  for (const name in fields) {
    const rule = fields[name]
    const found = value[name]
    if (rule === undefined || (found === undefined && rule[1] === '?')) continue
    if (!rule[0](found)) return name
  }
  return undefined
}
