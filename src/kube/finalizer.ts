/** A finalizer of ours on an object: while it is there, the object stays when it is deleted, until what was done outside for it is undone. */

import { stringsAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import { KubeError } from './client.ts'
import type { KubeClient } from './client.ts'
import { ifFound } from './if-found.ts'

export function hasFinalizer(object: JsonObject, finalizer: string): boolean {
  return stringsAt(object['metadata'], 'finalizers').includes(finalizer)
}

/**
 * Puts it on or takes it off, unless it is so already; those of others stay. Tried a few times when somebody else is quicker.
 * @returns false when the object is gone, is another by now, or is being deleted and can get no finalizer any more. Rejects with a KubeError.
 */
export async function setFinalizer(client: KubeClient, path: string, uid: string, finalizer: string, wanted: boolean, signal: AbortSignal): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await change(client, path, uid, finalizer, wanted, signal)
    } catch (error) {
      // Others write the status at the same time.
      if (attempt === ATTEMPTS || !(error instanceof KubeError && error.status === 409)) throw error
    }
  }
}

const ATTEMPTS = 4

async function change(client: KubeClient, path: string, uid: string, finalizer: string, wanted: boolean, signal: AbortSignal): Promise<boolean> {
  // What a copy in memory has may be older than what we did ourselves.
  const current = await ifFound(client.request(path, { signal }))
  const { metadata } = current ?? {}
  if (current === undefined || textAt(metadata, 'uid') !== uid) return false
  if (hasFinalizer(current, finalizer) === wanted) return true
  if (wanted && textAt(metadata, 'deletionTimestamp') !== undefined) return false
  const others = stringsAt(metadata, 'finalizers').filter(each => each !== finalizer)
  const body = { metadata: { resourceVersion: textAt(metadata, 'resourceVersion') ?? '', finalizers: wanted ? [...others, finalizer] : others } }
  await client.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body, forget: true, signal })
  return true
}
