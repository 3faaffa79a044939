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

/** With `allow` a recorder that cannot record still serves: it is ready, and says what that is worth. So is one whose sink is down, or whose policy cannot be read. */
export function readiness(state: RecorderState, { spool, sink, policy, onFailure }: ReadinessFacts): Readiness {
  if (state !== 'serving') return { ready: false, reason: state }
  if (spool.state !== 'open') {
    const reason = spool.error?.message ?? `the spool is ${spool.state}`
    return onFailure === 'allow' ? { ready: true, reason: `degraded: not recording: ${reason}` } : { ready: false, reason }
  }
  const degraded = [...(sink === undefined ? [] : [`not shipping: ${sink.message} (${sink.code})`]), ...(policy === undefined ? [] : [policy])]
  return degraded.length === 0 ? { ready: true } : { ready: true, reason: `degraded: ${degraded.join('; ')}` }
}
