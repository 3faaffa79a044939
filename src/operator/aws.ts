/** What the controllers that act in AWS share: when something is asked again, what a failure is called in a condition, and how a policy is kept until it is undone. */

import type { Condition } from '../kube/conditions.ts'
import type { AwsFailure } from '../platform/aws/failure.ts'

/** `"true"` on a policy: what was made for it in AWS stays when it is deleted. */
export const RETAIN_ANNOTATION = 'steno.dev/retain'

export interface AwsTimes {
  /** What is well is compared with AWS again after so long, and a random part more or less. */
  readonly checkMs: number
  /** A service account keeps its place in a trust for so long after its last pod: new pods of a job must not wait for IAM each time. */
  readonly keepMs: number
  /** First and longest wait after a failure. */
  readonly firstRetryMs: number
  readonly lastRetryMs: number
  /** Between two attempts to use a role that is new. */
  readonly proveMs: number
  /** After so many attempts the cause is not AWS's slowness. */
  readonly proofs: number
  /** For so long a role that was just made may look as if it were not there. */
  readonly settleMs: number
}

export const AWS_TIMES: AwsTimes = { checkMs: 3_600_000, keepMs: 3_600_000, firstRetryMs: 2_000, lastRetryMs: 600_000, proveMs: 4_000, proofs: 30, settleMs: 15_000 }

const CHECK_JITTER = 0.1

/** @param random 0 to 1 */
export function nextCheckMs({ checkMs }: AwsTimes, random: number): number {
  return checkMs * (1 + CHECK_JITTER * (2 * random - 1))
}

/** Random up to a limit that doubles, and never at once. @param failures in a row, from 1 */
export function retryMs({ firstRetryMs, lastRetryMs }: AwsTimes, failures: number, random: number): number {
  const most = Math.min(lastRetryMs, firstRetryMs * 2 ** Math.min(failures - 1, 20))
  return firstRetryMs / 4 + random * most
}

/** @param what waits, as the subject of a sentence */
export function failureCondition(type: string, failure: AwsFailure, what: string): Condition {
  const say = (status: Condition['status'], reason: string, next: string): Condition => ({ type, status, reason, message: `${next} ${what} wait; it is tried again. ${failure.message}` })
  switch (failure.problem) {
    case 'throttled':
      return say('Unknown', 'AwsThrottled', 'AWS asks for fewer calls.')
    case 'unreachable':
      return say('Unknown', 'AwsUnreachable', 'AWS does not answer, or not well.')
    case 'credentials':
      return say('False', 'AwsCredentials', "The operator has no valid credentials: check operator.aws.roleArn and that role's trust in the operator's service account.")
    case 'denied':
      return say('False', 'AwsDenied', "The operator's role may not do this: give it what docs/aws.md lists.")
    case 'limit':
      return say('False', 'AwsQuota', 'A quota of the account is used up: raise it.')
    case 'missing':
    case 'exists':
    case 'in-use':
    case 'refused':
      return say('False', 'AwsRefused', 'AWS refuses.')
  }
}
