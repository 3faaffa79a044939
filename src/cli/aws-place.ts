/** Places in AWS as users write them: `s3://bucket/prefix`, `firehose://stream`, each with `?region=…&endpoint=…` where that is not the usual one. */

import { StenoError } from '../errors.ts'

export interface AwsPlace {
  /** Bucket or stream. */
  readonly name: string
  /** Without slashes around it. */
  readonly path: string
  readonly region: string | undefined
  readonly endpoint: string | undefined
  /** Other parameters that the caller allows. */
  readonly style: string | undefined
}

/**
 * @param flag for messages
 * @param options parameters that may stand after the `?`
 * @throws StenoError `usage.invalid`
 */
export function parseAwsPlace(flag: string, text: string, scheme: 's3' | 'firehose', options: readonly string[]): AwsPlace {
  const example = scheme === 's3' ? 's3://bucket/prefix?region=eu-west-1' : 'firehose://stream?region=eu-west-1'
  const refuse = (why: string): StenoError => new StenoError('usage.invalid', `${flag} ${JSON.stringify(text)}: ${why}; write it like ${example}`)
  // Not as URL: names of streams have capitals, which a host loses.
  const match = /^([a-z0-9]+):\/\/([A-Za-z0-9._-]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(text)
  const [, given, name, path = '', query = ''] = match ?? []
  if (given !== scheme || name === undefined) throw refuse(`it is no ${scheme} place`)
  const parameters = new URLSearchParams(query)
  for (const key of parameters.keys()) if (!options.includes(key)) throw refuse(`'${key}' is none of ${options.join(', ')}`)
  const endpoint = parameters.get('endpoint') ?? undefined
  if (endpoint !== undefined && !/^https?:\/\//.test(endpoint)) throw refuse('endpoint must be an http or https URL')
  return { name, path: path.replaceAll(/^\/+|\/+$/g, ''), region: parameters.get('region') ?? undefined, endpoint, style: parameters.get('style') ?? undefined }
}
