/** The envelope of admission (admission.k8s.io/v1): what the API server asks, and the shape of an answer. */

import type { PatchOperation } from '../inject/json-patch.ts'
import { isObject, objectAt, stringsAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'

export interface AdmissionRequest {
  readonly uid: string
  readonly operation: string
  readonly namespace: string
  readonly name: string
  readonly kind: string
  readonly subResource: string
  readonly dryRun: boolean
  /** What is to be stored, or what is asked of a connection; empty on a deletion. */
  readonly object: JsonObject
  readonly oldObject: JsonObject
  readonly user: string
  readonly groups: readonly string[]
}

export interface AdmissionAnswer {
  readonly allowed: boolean
  readonly patch?: readonly PatchOperation[]
  /** What one reads who is refused. */
  readonly message?: string
  readonly warnings?: readonly string[]
  /** Short names and texts, for the API server's audit log. */
  readonly audit?: Readonly<Record<string, string>>
}

export const API_VERSION = 'admission.k8s.io/v1'

/** @returns the request, or why it is none */
export function parseReview(document: unknown): { readonly request: AdmissionRequest } | { readonly problem: string } {
  if (!isObject(document) || document['kind'] !== 'AdmissionReview') return { problem: 'the body is no AdmissionReview' }
  if (document['apiVersion'] !== API_VERSION) return { problem: `the review must be of ${API_VERSION}` }
  const request = objectAt(document, 'request')
  const uid = textAt(request, 'uid')
  const operation = textAt(request, 'operation')
  if (uid === undefined || uid === '' || operation === undefined) return { problem: 'the review has no request with uid and operation' }
  return {
    request: {
      uid,
      operation,
      namespace: textAt(request, 'namespace') ?? '',
      name: textAt(request, 'name') ?? '',
      kind: textAt(objectAt(request, 'kind'), 'kind') ?? '',
      subResource: textAt(request, 'subResource') ?? '',
      dryRun: request['dryRun'] === true,
      object: objectAt(request, 'object'),
      oldObject: objectAt(request, 'oldObject'),
      user: textAt(objectAt(request, 'userInfo'), 'username') ?? '',
      groups: stringsAt(objectAt(request, 'userInfo'), 'groups'),
    },
  }
}

export function reviewAnswer(uid: string, { allowed, patch, message, warnings, audit }: AdmissionAnswer): JsonObject {
  return {
    apiVersion: API_VERSION,
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed,
      ...(patch === undefined || patch.length === 0 ? {} : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
      ...(message === undefined ? {} : { status: { code: allowed ? 200 : 403, message } }),
      ...(warnings === undefined || warnings.length === 0 ? {} : { warnings: [...warnings] }),
      ...(audit === undefined ? {} : { auditAnnotations: audit }),
    },
  }
}
