/** Goes by what the policies say at any time, and writes into the recording when that is something else. */

import type { Log } from '../platform/log.ts'
import { changeOf, inForce } from '../policy/in-force.ts'
import type { InForce } from '../policy/in-force.ts'
import type { Journal } from './journal.ts'
import type { MountedPolicies } from './mounted-policies.ts'

export interface FollowDeps {
  readonly policies: MountedPolicies
  readonly digest: (text: string) => string
  readonly journal: Journal
  readonly nextExchange: () => number
  readonly log: Log
}

export interface PolicyFollower {
  readonly now: InForce
  /** Says in the recording what holds, where it has not been said yet. */
  tell(): void
}

/** `writer.start` has said what the pod was made with; what holds already is another `policy` frame at once. Follows until the policies are stopped. */
export function followPolicies({ policies, digest, journal, nextExchange, log }: FollowDeps): PolicyFollower {
  const made = inForce(policies.made, digest)
  /** What the recording says. */
  let told = made
  let now = made
  const tell = (): void => {
    if (now.hash === told.hash) return
    const { changed, pending } = changeOf(told.spec, now.spec, made.spec)
    const seq = journal.append({ kind: 'policy', name: now.name, hash: now.hash, changed, ...(pending.length === 0 ? {} : { pending }) }, { exchange: nextExchange() })
    // While recording is impossible it is tried again; what the frame tells of does not wait for it.
    if (seq !== undefined) told = now
  }
  const look = (): void => {
    const next = inForce(policies.current, digest)
    if (next.hash !== now.hash) log.info('another policy is in force', { policy: next.name, hash: next.hash, ...changeOf(now.spec, next.spec, made.spec) })
    now = next
    tell()
  }
  look()
  policies.watch(look)
  return {
    get now() {
      return now
    },
    tell,
  }
}
