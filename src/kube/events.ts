/** Events of the API (events.k8s.io/v1): the same one is told once in a while, and never more than the API server should bear. */

import type { Clock } from '../platform/clock.ts'
import type { Log } from '../platform/log.ts'
import type { JsonObject } from '../policy/json.ts'
import type { KubeClient } from './client.ts'

export interface KubeEvent {
  readonly namespace: string
  /** What it is about: apiVersion, kind, name, uid, namespace. */
  readonly regarding: JsonObject & { readonly uid: string; readonly name: string }
  readonly type: 'Normal' | 'Warning'
  /** One word in capitals and small letters, such as `Injected`. */
  readonly reason: string
  readonly action: string
  readonly note: string
}

export interface EventRecorder {
  /** Returns at once; what cannot be delivered is counted, not retried. */
  tell(event: KubeEvent): void
  /** Waits for what is on its way. */
  close(): Promise<void>
}

export interface EventRecorderOptions {
  readonly client: KubeClient
  readonly controller: string
  readonly instance: string
  readonly clock: Clock
  readonly log: Log
}

/** The same about the same is told again after so long. */
const REPEAT_MS = 10 * 60_000
const MAX_REMEMBERED = 10_000
/** A bucket of so many, filled with one each `REFILL_MS`. */
const BURST = 50
const REFILL_MS = 200
const MAX_NOTE = 1000
const DEADLINE_MS = 10_000

export function createEventRecorder({ client, controller, instance, clock, log }: EventRecorderOptions): EventRecorder {
  const told = new Map<string, number>()
  const sending = new Set<Promise<void>>()
  let tokens = BURST
  let filledMs = clock.monotonic()
  let dropped = 0
  let count = 0

  const mayTell = (event: KubeEvent): boolean => {
    const now = clock.monotonic()
    const key = `${event.regarding.uid}\n${event.reason}\n${event.note}`
    const last = told.get(key)
    if (last !== undefined && now - last < REPEAT_MS) return false
    tokens = Math.min(BURST, tokens + (now - filledMs) / REFILL_MS)
    filledMs = now
    if (tokens < 1) {
      dropped++
      if (dropped === 1 || dropped % 1000 === 0) log.warn('more Events than are told', { dropped })
      return false
    }
    tokens--
    told.delete(key)
    told.set(key, now)
    const oldest = told.keys().next()
    if (told.size > MAX_REMEMBERED && oldest.done !== true) told.delete(oldest.value)
    return true
  }

  const send = async (event: KubeEvent): Promise<void> => {
    const now = new Date(clock.now())
    await client.request(`/apis/events.k8s.io/v1/namespaces/${event.namespace}/events`, {
      method: 'POST',
      body: {
        apiVersion: 'events.k8s.io/v1',
        kind: 'Event',
        // Unique as client-go makes it: the object, and a number that no other process has.
        metadata: { name: `${event.regarding.name.slice(0, 200)}.${now.getTime().toString(16)}.${process.pid}.${count++}`, namespace: event.namespace },
        eventTime: `${now.toISOString().slice(0, -1)}000Z`,
        reportingController: controller,
        reportingInstance: instance,
        action: event.action,
        reason: event.reason,
        regarding: event.regarding,
        note: event.note.slice(0, MAX_NOTE),
        type: event.type,
      },
      forget: true,
      signal: AbortSignal.timeout(DEADLINE_MS),
    })
  }

  return {
    tell: event => {
      if (!mayTell(event)) return
      const delivery = send(event)
        .catch((error: unknown) => log.warn('an Event could not be told', { namespace: event.namespace, reason: error instanceof Error ? error.message : String(error) }))
        .finally(() => sending.delete(delivery))
      sending.add(delivery)
    },
    close: async () => {
      await Promise.all(sending)
    },
  }
}
