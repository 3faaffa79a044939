/** Whether a client would be served and recorded: what `/readyz` says. */

import type { SpoolHealth } from './spool-health.ts'

export type RecorderState = 'starting' | 'serving' | 'draining'

export interface Readiness {
  readonly ready: boolean
  readonly reason?: string
}

/** With `allow` a recorder that cannot record still serves: it is ready, and says what that is worth. */
export function readiness(state: RecorderState, spool: Pick<SpoolHealth, 'state' | 'error'>, onFailure: 'block' | 'allow'): Readiness {
  if (state !== 'serving') return { ready: false, reason: state }
  if (spool.state === 'open') return { ready: true }
  const reason = spool.error?.message ?? `the spool is ${spool.state}`
  return onFailure === 'allow' ? { ready: true, reason: `degraded: not recording: ${reason}` } : { ready: false, reason }
}
