/** Errors of AWS and of connections to it, by their names. Pure. */

/** Of AWS's JSON protocols: `com.amazonaws.firehose#Name`, `Name:http://…` and `Name` are the same. */
export function awsErrorName(text: string): string {
  return text.replace(/^.*#/, '').replace(/:.*$/, '')
}

/** Errors of connections are all named `Error` or `AggregateError`; their code tells. */
export function failureName(cause: unknown): string {
  if (!(cause instanceof Error)) return 'unknown error'
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name
}

/** AWS answers a wrong clock with the code of a wrong signature, and says which only in the text. */
export function isClockError({ name, message }: { readonly name: string; readonly message: string }): boolean {
  return /^RequestExpired$|^RequestInTheFuture$|^RequestTimeTooSkewed$/.test(name) || (/^InvalidSignatureException$|^SignatureDoesNotMatch$/.test(name) && /expired|not yet current|skew/i.test(message))
}

/** Of a connection that was refused for the certificate shown on it (Node's and OpenSSL's codes). */
export function isCertificateError(name: string): boolean {
  return /CERT|UNABLE_TO_VERIFY/.test(name)
}

export const CERTIFICATE_ADVICE = 'its certificate is not trusted here; name its authority in NODE_EXTRA_CA_CERTS, and see that the endpoint has the name that the certificate is for'
