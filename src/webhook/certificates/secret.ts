/** The Secret in which certificates and the state of their rotation are kept. Whoever can read it can pose as the injector. */

import { objectAt, textAt } from '../../policy/json.ts'
import type { JsonObject } from '../../policy/json.ts'
import { isObject } from '../../policy/json.ts'
import { namesOf, validity } from './issue.ts'
import type { Authority } from './issue.ts'
import type { CertificateState } from './rotation.ts'

/** When the next authority was seen in every configuration; RFC 3339. */
const OBSERVED_ANNOTATION = 'steno.dev/next-authority-observed'

/** What cannot be read counts as absent: it is made anew. */
export function readState(secret: JsonObject): CertificateState {
  const authority = authorityAt(secret, 'ca')
  const leaf = pairAt(secret, 'tls.crt', 'tls.key')
  const next = authorityAt(secret, 'next-ca')
  const observed = Date.parse(textAt(objectAt(objectAt(secret, 'metadata'), 'annotations'), OBSERVED_ANNOTATION) ?? '')
  return {
    ...(authority === undefined || leaf === undefined ? {} : { current: { authority, leaf: { ...leaf, names: namesOf(leaf.cert) } } }),
    ...(next === undefined ? {} : { next: { authority: next, ...(Number.isNaN(observed) ? {} : { observedAt: observed }) } }),
    old: oldAt(secret),
  }
}

/** The Secret with another state; what else it has stays. */
export function withState(secret: JsonObject, { current, next, old }: CertificateState): JsonObject {
  const { [OBSERVED_ANNOTATION]: _, ...annotations } = objectAt(objectAt(secret, 'metadata'), 'annotations')
  const observed = next?.observedAt === undefined ? {} : { [OBSERVED_ANNOTATION]: new Date(next.observedAt).toISOString() }
  const texts = {
    ...(current === undefined ? {} : { 'tls.crt': current.leaf.cert, 'tls.key': current.leaf.key, 'ca.crt': current.authority.cert, 'ca.key': current.authority.key }),
    ...(next === undefined ? {} : { 'next-ca.crt': next.authority.cert, 'next-ca.key': next.authority.key }),
    ...(old.length === 0 ? {} : { 'old-cas.json': JSON.stringify(old.map(({ cert, until }) => ({ cert, until: new Date(until).toISOString() }))) }),
  }
  const data = Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text).toString('base64')]))
  return { ...secret, metadata: { ...objectAt(secret, 'metadata'), annotations: { ...annotations, ...observed } }, data }
}

function dataAt(secret: JsonObject, name: string): string | undefined {
  const text = textAt(secret['data'], name)
  return text === undefined ? undefined : Buffer.from(text, 'base64').toString()
}

function pairAt(secret: JsonObject, certName: string, keyName: string): Authority | undefined {
  const [cert, key] = [dataAt(secret, certName), dataAt(secret, keyName)]
  if (cert === undefined || key === undefined) return undefined
  try {
    return { cert, key, ...validity(cert) }
  } catch {
    return undefined
  }
}

function authorityAt(secret: JsonObject, name: string): Authority | undefined {
  return pairAt(secret, `${name}.crt`, `${name}.key`)
}

function oldAt(secret: JsonObject): CertificateState['old'] {
  try {
    const list: unknown = JSON.parse(dataAt(secret, 'old-cas.json') ?? '[]')
    return (Array.isArray(list) ? list : []).filter(isObject).map(each => ({ cert: textAt(each, 'cert') ?? '', until: Date.parse(textAt(each, 'until') ?? '') || 0 })).filter(({ cert }) => cert !== '')
  } catch {
    return []
  }
}
