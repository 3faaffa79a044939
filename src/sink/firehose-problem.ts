/**
 * What a failed call or record of Firehose means. Pure. The names of errors are those of the API model (Firehose 2015-08-04),
 * of SigV4 and of STS; anything unnamed is taken for an outage, since that drops nothing.
 */

import { StenoError } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import { CERTIFICATE_ADVICE, isCertificateError, isClockError } from '../platform/aws/error-name.ts'

/** As the client tells it. */
export interface AwsFailure {
  /** The error's code, such as `ResourceNotFoundException`; of a connection, such as `ECONNRESET`. */
  readonly name: string
  /** Of the service. Shown only where it cannot hold what was signed. */
  readonly message: string
  /** HTTP status; undefined when no answer came. */
  readonly status: number | undefined
  /** The call was not made because no credentials could be had. */
  readonly credentials: boolean
}

/** What one attempt may come to: a stream is never full, and late is only who waits for it. */
export type SinkErrorCode = Exclude<ErrorCode & `sink.${string}`, 'sink.full' | 'sink.late'>

const CODES: Readonly<Record<string, SinkErrorCode>> = {
  ServiceUnavailableException: 'sink.throttled',
  LimitExceededException: 'sink.throttled',
  ThrottlingException: 'sink.throttled',
  Throttling: 'sink.throttled',
  RequestLimitExceeded: 'sink.throttled',
  TooManyRequestsException: 'sink.throttled',
  ResourceNotFoundException: 'sink.missing',
  InvalidKMSResourceException: 'sink.key',
  InvalidSourceException: 'sink.source',
  InvalidArgumentException: 'sink.refused',
  ValidationException: 'sink.refused',
  SerializationException: 'sink.refused',
  AccessDeniedException: 'sink.denied',
  AccessDenied: 'sink.denied',
  ExpiredTokenException: 'sink.credentials',
  ExpiredToken: 'sink.credentials',
  UnrecognizedClientException: 'sink.credentials',
  InvalidClientTokenId: 'sink.credentials',
  MissingAuthenticationTokenException: 'sink.credentials',
  IncompleteSignatureException: 'sink.credentials',
  OptInRequired: 'sink.denied',
  NotAuthorized: 'sink.denied',
  InvalidSignatureException: 'sink.credentials',
  SignatureDoesNotMatch: 'sink.credentials',
}

/** Whose text names a resource or a rule, and nothing that was signed. */
const TELLING: ReadonlySet<string> = new Set(['sink.denied', 'sink.missing', 'sink.key', 'sink.source', 'sink.refused'])
const MAX_DETAIL = 300

export function sinkCode({ name, message, status, credentials }: AwsFailure): SinkErrorCode {
  if (credentials) return 'sink.credentials'
  // AWS answers a region other than the endpoint's with the code of a wrong signature, and says it only in the text.
  if (name === 'InvalidSignatureException' && /valid region/i.test(message)) return 'sink.missing'
  if (isClockError({ name, message })) return 'sink.clock'
  const known = CODES[name]
  if (known !== undefined) return known
  if (/KMS/.test(name)) return 'sink.key'
  if (status === 413) return 'sink.refused'
  return status === 429 ? 'sink.throttled' : 'sink.io'
}

export function sinkProblem(stream: string, failure: AwsFailure): StenoError {
  const code = sinkCode(failure)
  const detail = TELLING.has(code) && failure.message !== '' ? `: ${failure.message.slice(0, MAX_DETAIL)}` : ''
  const advice = code === 'sink.io' && isCertificateError(failure.name) ? CERTIFICATE_ADVICE : ADVICE[code]
  return new StenoError(code, `Firehose stream '${stream}': ${advice} (${failure.name}${detail})`)
}

const ADVICE: Readonly<Record<SinkErrorCode, string>> = {
  'sink.io': 'no usable answer; check the network and the region, and the health of the service',
  'sink.throttled': 'it takes no more at the moment; if this goes on, raise its quota, spread over more streams, or ship less often',
  'sink.denied': 'not allowed; let the role put records into this stream (firehose:PutRecordBatch)',
  'sink.missing': 'there is no such stream in this account and region; create it, or correct its name or region',
  'sink.key': 'the key of the stream cannot be used; enable it, and let Firehose and the role use it',
  'sink.source': 'the stream does not take records from a producer; make one with the source Direct PUT',
  'sink.credentials': 'no valid credentials; check the role, its trust in the token, and the token file',
  'sink.clock': "this machine's clock is wrong; set it",
  'sink.refused': 'the segment is not taken',
}
