/**
 * Server-side apply with one field manager. Nothing is written when what is wanted is there already, and nothing is taken over that is not ours.
 * What was read may be older than what we wrote ourselves: then the API server is asked before anything is written again.
 */

import { isObject, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'
import { KubeError } from './client.ts'
import type { KubeClient } from './client.ts'
import { ifFound } from './if-found.ts'

export interface ApplyRequest {
  /** Of the object, or of its `/status`. */
  readonly path: string
  /** With apiVersion, kind and metadata, given what is there. Lists are whole, except those of `SETS`. */
  readonly wanted: (current: JsonObject | undefined) => JsonObject
  /** As a copy in memory has it. */
  readonly observed: JsonObject | undefined
  /** Whether an object that exists may be written. */
  readonly isOurs: (object: JsonObject) => boolean
}

/** `taken`: an object of that name exists and is not ours; it was left alone. `gone`: there is no object whose status could be written. */
export type Applied = 'same' | 'written' | 'taken' | 'gone'

export interface Applier {
  /** Rejects with a KubeError. */
  apply(request: ApplyRequest, signal: AbortSignal): Promise<Applied>
  /** Deletes exactly the object that was observed. One that is gone, or another by now, is left alone. Rejects with a KubeError. */
  remove(path: string, observed: JsonObject, signal: AbortSignal): Promise<void>
}

/** Lists to which others add their own entries. */
const SETS: ReadonlySet<string> = new Set(['ownerReferences', 'conditions'])
/** Versions of objects that are known to be old: we wrote over them, or could not, and their successor has not come back yet. */
const MAX_REMEMBERED = 20_000

export function createApplier(client: KubeClient, manager: string): Applier {
  const outdated = new Map<string, string>()

  const remember = (path: string, observed: JsonObject | undefined): void => {
    outdated.delete(path)
    if (observed !== undefined) outdated.set(path, versionOf(observed))
    const oldest = outdated.keys().next()
    if (outdated.size > MAX_REMEMBERED && oldest.done !== true) outdated.delete(oldest.value)
  }

  const read = async (path: string, signal: AbortSignal): Promise<JsonObject | undefined> => await ifFound(client.request(path, { signal }))

  return {
    apply: async ({ path, wanted: want, observed, isOurs }, signal) => {
      const stale = observed === undefined || outdated.get(path) === versionOf(observed)
      const current = stale ? await read(path, signal) : observed
      if (current === undefined && path.endsWith('/status')) return 'gone'
      if (current !== undefined && !isOurs(current)) return 'taken'
      const wanted = want(current)
      if (current !== undefined && holds(wanted, current)) return 'same'
      const uid = textAt(current?.['metadata'], 'uid')
      const metadata = wanted['metadata']
      // With the uid it fails where the object was deleted and made anew. Force takes back fields that others changed; never on what might be a stranger's.
      const body = { ...wanted, metadata: { ...(isObject(metadata) ? metadata : {}), ...(uid === undefined ? {} : { uid }) } }
      try {
        await client.request(`${path}?fieldManager=${manager}&force=${current !== undefined}`, { method: 'PATCH', contentType: 'application/apply-patch+yaml', body, forget: true, signal })
      } catch (error) {
        // It is gone (409), or another by now (422), and the copy may not learn it for long: the next try asks.
        if (error instanceof KubeError && (error.status === 409 || error.status === 422)) remember(path, observed)
        throw error
      }
      remember(path, observed)
      return 'written'
    },
    remove: async (path, observed, signal) => {
      const uid = textAt(observed['metadata'], 'uid')
      try {
        await client.request(path, { method: 'DELETE', body: { apiVersion: 'v1', kind: 'DeleteOptions', ...(uid === undefined ? {} : { preconditions: { uid } }) }, forget: true, signal })
      } catch (error) {
        if (!(error instanceof KubeError && (error.status === 404 || error.status === 409))) throw error
      }
    },
  }
}

/** Whether everything that is wanted is there; what else is there does not matter, except in lists. */
export function holds(wanted: Json | undefined, found: Json | undefined, name = ''): boolean {
  if (Array.isArray(wanted)) {
    // The API server stores no empty list.
    if (!Array.isArray(found)) return wanted.length === 0 && (found === undefined || found === null)
    if (SETS.has(name)) return wanted.every((each: Json) => found.some((other: Json) => holds(each, other)))
    return wanted.length === found.length && wanted.every((each: Json, index) => holds(each, found[index]))
  }
  if (!isObject(wanted)) return wanted === found
  return isObject(found) && Object.entries(wanted).every(([key, value]) => holds(value, found[key], key))
}

function versionOf(object: JsonObject): string {
  return textAt(object['metadata'], 'resourceVersion') ?? ''
}
