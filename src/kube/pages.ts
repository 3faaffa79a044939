/** A list of any length, one page in memory at a time. */

import { objectsAt, textAt } from '../policy/json.ts'
import type { JsonObject } from '../policy/json.ts'
import type { KubeClient } from './client.ts'

/** Objects of a page, as kubectl asks for them. */
const PAGE = 500

/** @param path of the collection, without a query. Throws a KubeError; one with status 410 says that the list has changed too much meanwhile */
export async function* eachOf(client: KubeClient, path: string, { labelSelector, page: limit = PAGE, signal }: { readonly labelSelector?: string; readonly page?: number; readonly signal: AbortSignal }): AsyncGenerator<JsonObject> {
  let next = ''
  do {
    const query = new URLSearchParams({ limit: String(limit), ...(labelSelector === undefined ? {} : { labelSelector }), ...(next === '' ? {} : { continue: next }) })
    const page = await client.request(`${path}?${query.toString()}`, { signal })
    yield* objectsAt(page, 'items')
    next = textAt(page['metadata'], 'continue') ?? ''
  } while (next !== '')
}
