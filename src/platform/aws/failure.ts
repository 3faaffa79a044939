/** What AWS said no with, told apart by what helps. */

import { StenoError } from '../../errors.ts'

export type AwsProblem =
  /** Too many calls; time helps. */
  | 'throttled'
  /** No answer, or one of a service that is not well; time helps. */
  | 'unreachable'
  /** Who we are could not be shown, or is not valid any more. */
  | 'credentials'
  /** We may not. */
  | 'denied'
  | 'missing'
  | 'exists'
  /** Something still hangs on it. */
  | 'in-use'
  /** A quota of the account. */
  | 'limit'
  /** The request itself. */
  | 'refused'

export class AwsFailure extends StenoError {
  readonly problem: AwsProblem
  /** Such as `iam:CreateRole`. */
  readonly action: string
  /** AWS's own word for it. */
  readonly reason: string

  constructor(problem: AwsProblem, action: string, reason: string, message: string, options?: { readonly cause?: unknown }) {
    super('aws.request', message, options)
    this.problem = problem
    this.action = action
    this.reason = reason
  }
}

const PROBLEMS: readonly (readonly [AwsProblem, RegExp])[] = [
  ['throttled', /^(?:Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|RequestThrottled)/],
  ['credentials', /^(?:ExpiredToken|InvalidClientTokenId|UnrecognizedClient|InvalidSignature|SignatureDoesNotMatch|RequestExpired|IncompleteSignature|MissingAuthenticationToken|CredentialsProviderError|CredentialsUnavailable|InvalidIdentityToken)/],
  ['denied', /^(?:AccessDenied|Unauthorized|OptInRequired|Forbidden)/],
  ['missing', /^(?:NoSuchEntity|ResourceNotFound)/],
  ['exists', /^(?:EntityAlreadyExists|ResourceInUse)/],
  ['in-use', /^(?:DeleteConflict)/],
  ['limit', /^(?:LimitExceeded|ResourceLimitExceeded|ServiceQuotaExceeded)/],
  // Two changes of one thing at a time, or a service that is not well.
  ['unreachable', /^(?:ConcurrentModification|EntityTemporarilyUnmodifiable|ServiceFailure|InternalFailure|InternalServer|InternalError|ServiceUnavailable|ServerException|IDPCommunicationError)/],
]

/** @param name the error's own, in which `Exception` at the end does not matter @param status of the HTTP answer; undefined when none came */
export function awsProblem(name: string, status: number | undefined): AwsProblem {
  const known = PROBLEMS.find(([, pattern]) => pattern.test(name))?.[0]
  if (known !== undefined) return known
  if (status === undefined || status >= 500) return 'unreachable'
  if (status === 429) return 'throttled'
  return status === 403 ? 'denied' : 'refused'
}

/** What is not there is no failure. */
export async function orNone<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask()
  } catch (error) {
    if (error instanceof AwsFailure && error.problem === 'missing') return undefined
    throw error
  }
}
