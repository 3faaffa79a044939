/** The events of one session, so that a client can resume a stream. */

import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'

const MAX_EVENTS = 1000

/** Keeps the newest 1,000. */
export function createEventStore(): EventStore {
  const events = new Map<string, { streamId: string; message: JSONRPCMessage }>()
  let stored = 0
  return {
    storeEvent: async (streamId, message) => {
      const id = String(stored++)
      events.set(id, { streamId, message })
      for (const oldest of events.keys()) {
        if (events.size <= MAX_EVENTS) break
        events.delete(oldest)
      }
      return id
    },
    replayEventsAfter: async (last, { send }) => {
      const streamId = events.get(last)?.streamId ?? ''
      // A priming event stands in the store as an empty message.
      for (const [id, event] of events) if (Number(id) > Number(last) && event.streamId === streamId && Object.keys(event.message).length > 0) await send(id, event.message)
      return streamId
    },
  }
}
