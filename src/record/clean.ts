/**
 * Takes secret-looking values and peer addresses out of a frame, for an export that leaves the house.
 * A net, not a proof: it knows names and forms. What a policy masks at recording time never gets this far.
 */

import { endOfString } from './end-of-string.ts'
import type { Frame } from './frame.ts'

const CLEANED = '[cleaned]'
const CLEANED_PARTS = '[cleaned: a body in several parts]'
/** JSON inside strings inside JSON: tools like to answer so. */
const MAX_NESTING = 4

const SECRET_NAME = /passw|passphrase|secret|apikey|accesskey|privatekey|signingkey|authorization|cookie|credential|^pwd$|^auth$|token$/
const NOT_SECRET_NAME = /^(?:progress|continuation|nextpage|page)token$/
const PATTERNS: readonly RegExp[] = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /\b(?:AKIA|ASIA)[0-9A-Z]{16}\b/g,
  // From the beginning of a run, and only where dots follow: else a long run of beginnings would be gone through once for each of them.
  /(?<![\w-])(?=[\w-]+\.[\w-]{2,}\.)[\w-]*?eyJ[\w-]{8,}\.[\w-]{2,}\.[\w-]*/g,
  /(?<=\bbearer\s{1,4})[\w.~+/-]{8,}=*/gi,
]
const HEAD_FIELDS: ReadonlySet<string> = new Set(['writer', 'seq', 'time', 'elapsedUs', 'kind', 'salt', 'session', 'exchange'])

export interface CleanFrame {
  readonly frame: Frame
  /** Values that were taken out. 0: the frame is as it was. */
  readonly changes: number
}

export function cleanFrame(frame: Frame): CleanFrame {
  const counter = { changes: 0 }
  const out: Record<string, unknown> = {}
  // A secret may stand across the border of two parts, where neither shows it.
  const inParts = frame.kind === 'body' || ((frame.kind === 'mcp' || frame.kind === 'http') && frame.more === true)
  for (const [key, value] of Object.entries(frame)) {
    if (HEAD_FIELDS.has(key)) out[key] = value
    else if (key === 'peer' && frame.kind === 'exchange.start') counter.changes++
    else if ((key === 'body' || key === 'base64') && inParts) {
      counter.changes++
      out['body'] = CLEANED_PARTS
    } else if (key === 'body' && typeof value === 'string') out[key] = cleanText(value, counter, 0)
    else out[key] = cleanValue(key, value, counter)
  }
  return counter.changes === 0 ? { frame, changes: 0 } : { frame: out as unknown as Frame, changes: counter.changes }
}

export function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replace(/[^a-z0-9]/g, '')
  return SECRET_NAME.test(plain) && !NOT_SECRET_NAME.test(plain)
}

interface Counter {
  changes: number
}

function cleanValue(key: string, value: unknown, counter: Counter): unknown {
  if (value !== null && value !== undefined && typeof value !== 'boolean' && isSecretName(key)) {
    counter.changes++
    return CLEANED
  }
  if (typeof value === 'string') return cleanPatterns(value, counter)
  if (Array.isArray(value)) return value.map(each => cleanValue('', each, counter))
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, cleanValue(name, each, counter)]))
  return value
}

function cleanPatterns(text: string, counter: Counter): string {
  let out = text
  for (const pattern of PATTERNS) {
    out = out.replace(pattern, () => {
      counter.changes++
      return CLEANED
    })
  }
  return out
}

/**
 * Cleans text that is JSON, or has JSON in it, without parsing it to values: everything that stays keeps its exact form.
 * A string that is followed by a colon is a name; the value after a secret name goes as a whole.
 */
function cleanText(text: string, counter: Counter, nesting: number): string {
  let out = ''
  let copied = 0
  for (let start = text.indexOf('"'); start >= 0; ) {
    const end = endOfString(text, start)
    const colon = afterSpace(text, end)
    const inner = unquote(text.slice(start, end))
    let next = end
    if (inner !== undefined && text[colon] !== ':') {
      const cleaned = nesting < MAX_NESTING && inner.includes('"') ? cleanText(inner, counter, nesting + 1) : inner
      if (cleaned !== inner) {
        out += text.slice(copied, start) + JSON.stringify(cleaned)
        copied = end
      }
    } else if (inner !== undefined && isSecretName(inner)) {
      const value = afterSpace(text, colon + 1)
      next = endOfValue(text, value)
      if (!/^(?:true|false|null)?$/.test(text.slice(value, Math.min(next, value + 8)))) {
        counter.changes++
        out += `${text.slice(copied, value)}"${CLEANED}"`
        copied = next
      }
    }
    start = text.indexOf('"', next)
  }
  return cleanPatterns(out + text.slice(copied), counter)
}

function afterSpace(text: string, from: number): number {
  let at = from
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\t' || text[at] === '\r') at++
  return at
}

function unquote(quoted: string): string | undefined {
  try {
    const value: unknown = JSON.parse(quoted)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

/** Where the JSON value that starts at `start` ends; the end of the text when it is cut. */
function endOfValue(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; ) {
    const char = text[at]
    if (char === '"') {
      at = endOfString(text, at)
      if (depth === 0) return at
      continue
    }
    if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') {
      if (depth === 0) return at
      depth--
      if (depth === 0) return at + 1
    } else if (depth === 0 && (char === ',' || char === '\n')) return at
    at++
  }
  return text.length
}
