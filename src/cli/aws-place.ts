/** Places in AWS as users write them: `s3://bucket/prefix`, `firehose://stream`, each with `?region=…&endpoint=…` where that is not the usual one. */

import { StenoError } from '../errors.ts'
import { setTo } from '../platform/aws/credentials.ts'
import type { CliIo } from './io.ts'

export interface AwsPlace {
  /** Bucket or stream. */
  readonly name: string
  /** Without slashes around it. */
  readonly path: string
  /** That of the environment when the place names none. */
  readonly region: string | undefined
  readonly endpoint: string | undefined
  /** Other parameters that the caller allows. */
  readonly style: string | undefined
}

/** Names that the service takes: of others it says only that they are refused. */
const NAMES = { s3: /^[A-Za-z0-9._-]{1,255}$/, firehose: /^[A-Za-z0-9._-]{1,64}$/ }
const REGION = /^[a-z0-9-]+$/
/** Those of the SDK, which Steno heeds too. */
const ENDPOINTS = ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_FIREHOSE', 'AWS_ENDPOINT_URL_STS', 'AWS_ENDPOINT_URL_S3']

/**
 * @param flag for messages
 * @param options parameters that may stand after the `?`
 * @throws StenoError `usage.invalid`
 */
export function parseAwsPlace(flag: string, text: string, scheme: 's3' | 'firehose', { options, env }: { readonly options: readonly string[]; readonly env: CliIo['env'] }): AwsPlace {
  const example = scheme === 's3' ? 's3://bucket/prefix?region=eu-west-1' : 'firehose://stream?region=eu-west-1'
  const refuse = (why: string): StenoError => new StenoError('usage.invalid', `${flag} ${JSON.stringify(text)}: ${why}; write it like ${example}`)
  // Not as URL: names of streams have capitals, which a host loses.
  const match = /^([a-z0-9]+):\/\/([^/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(text)
  const [, given, name, path = '', query = ''] = match ?? []
  if (given !== scheme || name === undefined || !NAMES[scheme].test(name)) throw refuse(`it is no ${scheme} place`)
  const parameters = new URLSearchParams(query)
  for (const key of parameters.keys()) if (!options.includes(key)) throw refuse(`'${key}' is none of ${options.join(', ')}`)
  const region = parameters.get('region')
  if (region !== null && !REGION.test(region)) throw refuse(`'${region}' is no region`)
  const endpoint = parameters.get('endpoint') ?? undefined
  if (endpoint !== undefined && !isHttpUrl(endpoint)) throw refuse('endpoint must be an http or https URL, without user name or password')
  checkEnvironment(env)
  return { name, path: path.replaceAll(/^\/+|\/+$/g, ''), region: region ?? setTo(env['AWS_REGION']), endpoint, style: parameters.get('style') ?? undefined }
}

/** Found late, each of these would look like an outage. */
function checkEnvironment(env: CliIo['env']): void {
  const region = setTo(env['AWS_REGION'])
  if (region !== undefined && !REGION.test(region)) throw new StenoError('usage.invalid', `AWS_REGION ${JSON.stringify(region)} is no region; set it to one like eu-west-1`)
  for (const name of ENDPOINTS) {
    const url = setTo(env[name])
    if (url !== undefined && !isHttpUrl(url)) throw new StenoError('usage.invalid', `${name} must be an http or https URL, without user name or password; correct it, or unset it`)
  }
}

function isHttpUrl(text: string): boolean {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) return false
  const { username, password } = new URL(text)
  return username === '' && password === ''
}
