/** What an error of AWS means to who looks at a stream or a bucket. Pure. */

import { AwsCallError } from '../../../platform/aws/call.ts'
import { CERTIFICATE_ADVICE, failureName, isCertificateError, isClockError } from '../../../platform/aws/error-name.ts'
import type { CheckResult } from '../check.ts'
import { problem } from '../check.ts'

export interface ExplainOptions {
  readonly region: string
  readonly timeout: string
  /** Whether time had run out. */
  readonly late: () => boolean
}

const CREDENTIALS = /Credentials|Token|Signature|AccessKey|UnrecognizedClient|InvalidClient|InvalidIdentity/i
const CONNECTION = /^(?:E[A-Z_]+|TimeoutError|NetworkingError)$/

export function explainAws(error: unknown, { region, timeout, late }: ExplainOptions): CheckResult {
  if (!(error instanceof Error)) return unknown(String(error), 'try again')
  const name = failureName(error)
  const { message } = error
  const why = message === '' || message === name || message === 'UnknownError' ? name : `${name}: ${message.slice(0, MAX_DETAIL)}`
  if (late() && (name === 'ABORT_ERR' || name === 'AbortError' || name === 'TimeoutError')) return unknown(`no answer within ${timeout}`, 'check network, region and endpoint, or give it longer with --timeout')
  // Where keys come from may name files and profiles, and never what is in them.
  if (error instanceof AwsCallError && error.credentials) return problem(`no credentials: ${why}`, 'nothing can be sent or read', 'set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN')
  if (isClockError({ name, message })) return unknown(`the signature was refused for its time (${name})`, "set this machine's clock")
  if (/region/i.test(message) && /valid region|is wrong|missing/i.test(message)) return unknown(why, `this was asked in ${region}: give the right region with ?region=…, or set AWS_REGION`)
  if (name === 'NoSuchBucket' || name === 'NotFound') return problem('there is no such bucket', 'recordings have no place', 'check its name; hack/aws/steno.yaml makes one')
  if (name === 'ResourceNotFoundException') return problem(`there is no such stream in ${region}, in the account of these credentials`, 'recorders keep all in their spool until it is full (sink.missing)', 'check name, region and account; hack/aws/steno.yaml makes one')
  if (name === 'PermanentRedirect' || name === 'IllegalLocationConstraintException' || name === 'AuthorizationHeaderMalformed' || name === '301') return unknown(`the bucket is not in ${region} (${name})`, 'give its region with ?region=…')
  if (/AccessDenied|Forbidden|NotAuthorized|^403$/.test(name)) return unknown(`these credentials may not ask (${why})`, 'let them: OperatorPolicyArn of hack/aws/steno.yaml may see how stream and bucket are set, ReaderPolicyArn may read recordings; or leave this check out with --skip')
  if (CREDENTIALS.test(name)) return unknown(`the credentials are refused (${name})`, 'they have expired, were revoked, or are of another account or store: get new ones')
  if (/Throttl|SlowDown|LimitExceeded|ServiceUnavailable/.test(name)) return unknown(`too many questions at the moment (${name})`, 'try again')
  if (name === 'NotImplemented' || name === 'MethodNotAllowed') return unknown(`the store does not know this (${name})`, 'see what it has instead, and leave this check out with --skip')
  if (isCertificateError(name)) return unknown(`no connection (${why})`, CERTIFICATE_ADVICE)
  if (CONNECTION.test(name)) return unknown(`no connection (${why})`, `check network, region (${region}) and endpoint`)
  return unknown(why, 'look it up in the documentation of AWS, or try again')
}

const MAX_DETAIL = 300

function unknown(found: string, change: string): CheckResult {
  return { state: 'unknown', found, change }
}
