/** What a decision needs of namespaces and nodes, read from their raw JSON. */

import { objectAt, textAt, textsAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import type { NamespaceFacts } from './decide.ts'

export function namespaceFacts(object: JsonObject): NamespaceFacts {
  return { name: textAt(object['metadata'], 'name') ?? '', labels: textsAt(object['metadata'], 'labels'), annotations: textsAt(object['metadata'], 'annotations') }
}

/** `v1.34.4-eks-1a2b` → 34. Pods that are recorded never land on a Windows node. */
export function kubeletMinor(object: JsonObject): number | undefined {
  if (textsAt(object['metadata'], 'labels')['kubernetes.io/os'] === 'windows') return undefined
  const version = textAt(objectAt(objectAt(object, 'status'), 'nodeInfo'), 'kubeletVersion')
  const minor = /^v1\.(\d+)/.exec(version ?? '')?.[1]
  return minor === undefined ? undefined : Number(minor)
}
