/** Whether a client would be served and recorded: what `/readyz` says. */

import type { OnFailure } from './journal.ts'
import type { SinkProblem } from './shipper/shipper.ts'
import type { SpoolHealth } from './spool-health.ts'

export type RecorderState = 'starting' | 'serving' | 'draining'

export interface Readiness {
  readonly ready: boolean
  readonly reason?: string
}

export interface ReadinessFacts {
  readonly spool: Pick<SpoolHealth, 'state' | 'error'>
  /** Why the sink has not accepted the last attempt. */
  readonly sink?: SinkProblem | undefined
  /** Why a policy may say something else by now. */
  readonly policy?: string | undefined
  readonly onFailure: OnFailure
}

/**
 * With `allow` a recorder that cannot record still serves: it is ready, and says what that is worth. So is one whose sink is down, also when that has
 * filled the spool and `block` refuses: all pods before that sink are in the same state, and one that is taken out of its Service can tell clients nothing.
 * A disk that is full or fails by itself is this pod's alone: it is not ready, so that calls go to pods that can record.
 */
export function readiness(state: RecorderState, { spool, sink, policy, onFailure }: ReadinessFacts): Readiness {
  if (state !== 'serving') return { ready: false, reason: state }
  const shipping = sink === undefined ? undefined : `not shipping: ${sink.message} (${sink.code})`
  if (spool.state === 'open') {
    const degraded = [shipping, policy].filter(each => each !== undefined)
    return degraded.length === 0 ? { ready: true } : { ready: true, reason: `degraded: ${degraded.join('; ')}` }
  }
  const reason = spool.error?.message ?? `the spool is ${spool.state}`
  if (onFailure === 'allow') return { ready: true, reason: `degraded: not recording: ${reason}` }
  if (spool.error?.code === 'spool.full' && shipping !== undefined) return { ready: true, reason: `degraded: refusing calls: ${reason}; ${shipping}` }
  return { ready: false, reason }
}
