/** The certificate that the issuer, in this replica or another, has put into the Secret. Every replica looks by itself. */

import type { KubeClient } from '../../kube/client.ts'
import type { Log } from '../../platform/log.ts'
import { goodPair } from '../../platform/tls-files.ts'
import type { TlsPair, TlsSource } from '../../platform/tls-files.ts'
import { SECRET, startIssuer } from './issuer.ts'
import type { IssuerOptions } from './issuer.ts'
import { readState } from './secret.ts'

export interface OwnPairOptions extends IssuerOptions {
  readonly onChange: (pair: TlsPair) => void
}

const EVERY_MS = 10_000
const DEADLINE_MS = 5000

export function watchOwnPair(options: OwnPairOptions): TlsSource {
  const { client, log, namespace } = options
  const issuer = startIssuer(options)
  let current: TlsPair | undefined
  let refused = ''
  let looking: Promise<void> | undefined
  const look = async (): Promise<void> => {
    try {
      const pair = await readPair(client, namespace)
      if (pair === undefined || (pair.cert === current?.cert && pair.key === current.key)) return
      current = pair
      options.onChange(pair)
      log.info('another certificate is in use', { notAfter: new Date(pair.notAfter).toISOString() })
      refused = ''
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (reason !== refused) logOnce(log, reason)
      refused = reason
    }
  }
  const start = (): void => void (looking ??= look().finally(() => (looking = undefined)))
  // Until there is a first one, it is waited for with less patience.
  const timer = setInterval(start, options.everyMs ?? EVERY_MS)
  const first = setInterval(() => (current === undefined ? start() : clearInterval(first)), Math.min(options.everyMs ?? EVERY_MS, 500))
  timer.unref()
  first.unref()
  start()
  return {
    get current() {
      return current
    },
    stop: async () => {
      clearInterval(timer)
      clearInterval(first)
      await looking
      await issuer.stop()
    },
  }
}

async function readPair(client: KubeClient, namespace: string): Promise<TlsPair | undefined> {
  const { current } = readState(await client.request(`/api/v1/namespaces/${namespace}/secrets/${SECRET}`, { signal: AbortSignal.timeout(DEADLINE_MS) }))
  return current && goodPair(current.leaf)
}

function logOnce(log: Log, reason: string): void {
  log.warn('the certificate cannot be read; the last good one stays', { code: 'kube.request', reason })
}
