/**
 * A certificate and its key in two files that something else replaces: cert-manager, a Secret's volume, a person. Looked at every few seconds;
 * a pair that does not fit together is not taken, and the last good one stays.
 */

import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'

import { StenoError } from '../errors.ts'
import type { Log } from './log.ts'

export interface TlsPair {
  readonly cert: string
  readonly key: string
  /** ms since epoch. */
  readonly notAfter: number
}

/** Where a server's certificate comes from. */
export interface TlsSource {
  /** The pair in use; undefined until there is a first one. */
  readonly current: TlsPair | undefined
  stop(): Promise<void>
}

export interface TlsFilesOptions {
  readonly certFile: string
  readonly keyFile: string
  readonly onChange: (pair: TlsPair) => void
  readonly log: Log
  readonly everyMs?: number
}

/** The volume of a Secret follows within a minute or so; more often than this is no use. */
const EVERY_MS = 10_000

/** Rejects with `config.invalid` when there is no good pair to begin with. */
export async function watchTlsFiles(options: TlsFilesOptions): Promise<TlsSource> {
  const { log } = options
  let current = await readPair(options)
  let refused = ''
  let looking = false
  const look = async (): Promise<void> => {
    if (looking) return
    looking = true
    try {
      const next = await readPair(options)
      if (next.cert !== current.cert || next.key !== current.key) {
        current = next
        options.onChange(next)
        log.info('another certificate is in use', { notAfter: new Date(next.notAfter).toISOString() })
      }
      refused = ''
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      // Once each: half of a pair may already be there, and the other half come in a moment.
      if (reason !== refused) log.warn('the certificate cannot be read; the last good one stays', { code: 'config.invalid', reason })
      refused = reason
    } finally {
      looking = false
    }
  }
  const timer = setInterval(() => void look(), options.everyMs ?? EVERY_MS)
  timer.unref()
  return {
    get current() {
      return current
    },
    stop: async () => clearInterval(timer),
  }
}

async function readPair({ certFile, keyFile }: TlsFilesOptions): Promise<TlsPair> {
  try {
    const [cert, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')])
    return goodPair({ cert, key })
  } catch (cause) {
    throw new StenoError('config.invalid', `the certificate ${certFile} and the key ${keyFile} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** Throws when the two do not belong together, or are no certificate and no key. */
export function goodPair({ cert, key }: { readonly cert: string; readonly key: string }): TlsPair {
  createSecureContext({ cert, key, minVersion: 'TLSv1.3' })
  return { cert, key, notAfter: Date.parse(new X509Certificate(cert).validTo) }
}
