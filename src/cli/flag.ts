/** Flags whose text means something: checked once, with the flag named in the message. */

import { isIPv4 } from 'node:net'
import { StenoError } from '../errors.ts'
import type { Address } from '../platform/address.ts'
import { parseQuery } from '../record/query.ts'
import type { Query } from '../record/query.ts'
import { parseDurationMs, parseSinceMs } from './quantity.ts'

/** What a Date can hold (ECMA-262, 21.4.1.1). */
const MAX_DATE_MS = 8.64e15

export function sinceFlag(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined
  const ms = parseSinceMs(text, now)
  if (ms === undefined || Math.abs(ms) > MAX_DATE_MS) throw new StenoError('usage.invalid', `--since '${text}' is neither a time span like 90m or 2d nor a time like 2026-11-20T08:00:00Z`)
  return ms
}

export function durationFlag(flag: string, text: string): number {
  const ms = parseDurationMs(text)
  if (ms === undefined) throw new StenoError('usage.invalid', `${flag} '${text}' is no time span; write one like 500ms, 2s or 1m30s`)
  return ms
}

export function countFlag(flag: string, text: string): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count) || count < 1) throw new StenoError('usage.invalid', `${flag} '${text}' is no whole number above 0`)
  return count
}

/** Several queries as one: all must hold. */
export function queryFlags(flags: readonly (readonly [flag: string, text: string | undefined])[]): Query {
  const terms = flags.flatMap(([flag, text]) => {
    if (text === undefined) return []
    const parsed = parseQuery(text)
    if ('reason' in parsed) throw new StenoError('usage.invalid', `${flag}: ${parsed.reason}`)
    return parsed.query.terms
  })
  return { terms }
}

/** `HOST:PORT`; loopback when there is no host. `*:PORT` is every address of this machine. */
export function addressFlag(flag: string, text: string): Address {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]*)):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[3])
  if (match === null || port > 65_535) throw new StenoError('usage.invalid', `${flag} must be HOST:PORT such as 127.0.0.1:15080, not ${JSON.stringify(text)}`)
  const host = match[1] ?? match[2] ?? ''
  if (host === '*') return { port }
  return { host: host === '' ? '127.0.0.1' : host, port }
}

/** An IPv4 address that this machine has; all of 127.0.0.0/8 belong to any. */
export function ownAddressFlag(flag: string, text: string): string {
  if (!isIPv4(text)) throw new StenoError('usage.invalid', `${flag} must be an IPv4 address of this machine such as 127.0.0.15, not ${JSON.stringify(text)}`)
  return text
}

const MIN_SIZE_MIB = 16
/** Room for the last file, which stays when all of it is shipped, and for the next: in less, a spool that had been full would stay so for ever. */
export const MIN_SPOOL_MIB = 64

/** @returns bytes */
export function sizeFlag(flag: string, text: string, leastMib = MIN_SIZE_MIB): number {
  const match = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)?$/.exec(text)
  const unit = { Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3, k: 1e3, M: 1e6, G: 1e9 }[match?.[2] ?? ''] ?? 1
  const bytes = Math.floor(Number(match?.[1]) * unit)
  if (match === null || !Number.isSafeInteger(bytes) || bytes < leastMib * 1024 ** 2) throw new StenoError('usage.invalid', `${flag} must be a size of at least ${leastMib}Mi such as 512Mi, not ${JSON.stringify(text)}`)
  return bytes
}
