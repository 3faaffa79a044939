/** What an error of the API server means to who looks at a cluster. Pure. */

import { StenoError } from '../../../errors.ts'
import { KubeError } from '../../../kube/client.ts'
import type { CheckResult } from '../check.ts'

export interface ExplainOptions {
  readonly timeout: string
  /** Whether time had run out. */
  readonly late: () => boolean
}

const MAX_DETAIL = 300

export function explainKube(error: unknown, { timeout, late }: ExplainOptions): CheckResult {
  if (!(error instanceof Error)) return unknown(String(error), 'try again')
  if (late()) return unknown(`no answer within ${timeout}`, 'check the network, or give it longer with --timeout')
  const message = error.message.replace(/^the API server answers \d+: /, '').slice(0, MAX_DETAIL)
  if (!(error instanceof KubeError)) return unknown(message, error instanceof StenoError ? 'do what it says, and try again' : 'try again')
  if (error.status === 403) return unknown(`these credentials may not ask (${message})`, 'grant it: hack/doctor/role.yaml has all that is needed; or leave this check out with --skip')
  if (error.status === 0 || error.status === 401) return unknown('not known: see cluster.reached', 'mend that first')
  if (error.status === 429 || error.status === 410 || error.status >= 500) return unknown(message, 'try again')
  return unknown(message, 'look it up in the documentation of the API server, or try again')
}

function unknown(found: string, change: string): CheckResult {
  return { state: 'unknown', found, change }
}
