/**
 * The live sessions of this writer: writes `session.start` and `session.end`, counts totals. Deriving is `record/session.ts`.
 * Bounded: past `maxLive` the longest quiet session is ended, however young. Sessions with an exchange in flight stay: sockets bound them.
 */

import { hash } from 'node:crypto'
import type { Clock } from '../platform/clock.ts'
import type { ClientInfo, FrameOf, Identity } from '../record/frame.ts'
import { IDLE_GAP_MS, sessionId } from '../record/session.ts'
import type { SessionKey } from '../record/session.ts'
import type { Journal } from './journal.ts'
import { remembered } from './remembered.ts'

export interface LiveSession {
  readonly id: string
  readonly key: SessionKey
  /** When it was seen last, by the monotonic clock: a wall clock that is set ends no session. */
  lastMs: number
  /** Exchanges in flight. */
  open: number
  /** Its `session.start` was taken by the spool. */
  announced: boolean
  readonly totals: { exchanges: number; calls: number; errors: number; bytes: number }
}

/** What the exchange that enters says about whose session it is. */
export interface Entry {
  readonly exchange: number
  readonly principal: string
  readonly client?: ClientInfo | undefined
  readonly identity?: Identity | undefined
}

export interface SessionTable {
  /** Finds or starts the session of a key. */
  enter(key: SessionKey, entry: Entry): LiveSession
  leave(session: LiveSession): void
  end(session: LiveSession, reason: FrameOf<'session.end'>['reason']): void
  /** Ends what has been quiet for long. To be called every minute or so. */
  sweep(): void
  endAll(): void
}

export interface SessionDeps {
  readonly journal: Journal
  readonly clock: Clock
  readonly server: FrameOf<'session.start'>['server']
  readonly maxLive: number
}

export function createSessionTable(deps: SessionDeps): SessionTable {
  const { journal, clock } = deps
  const sha256Hex = remembered(text => hash('sha256', text, 'hex'))
  const live = new Map<string, LiveSession>()
  /** Those without an exchange in flight, the longest quiet first. */
  const quiet = new Map<string, LiveSession>()
  /** For basis `idle` the id holds the start time, so its live session is found by key. */
  const idleIds = new Map<string, string>()
  /** Principal that first showed an MCP session id, by hash of server and id: another one is flagged. Bounded like `live`. */
  const owners = new Map<string, string>()

  const idOf = (key: SessionKey): string => {
    if (key.basis !== 'idle') return sessionId(key, sha256Hex)
    const name = sha256Hex(JSON.stringify(key.inputs))
    const known = idleIds.get(name)
    const session = known === undefined ? undefined : live.get(known)
    if (session !== undefined && (session.open > 0 || clock.monotonic() - session.lastMs < IDLE_GAP_MS)) return session.id
    if (session !== undefined) end(session, 'idle')
    const id = sessionId(key, sha256Hex, [new Date(clock.now()).toISOString()])
    idleIds.set(name, id)
    return id
  }

  const isForeign = (key: SessionKey, principal: string): boolean => {
    if (key.basis !== 'mcp') return false
    const name = sha256Hex(JSON.stringify([key.inputs[0], key.inputs[2]]))
    const owner = owners.get(name)
    if (owner !== undefined) return owner !== principal
    if (owners.size >= deps.maxLive) {
      const oldest = owners.keys().next().value
      if (oldest !== undefined) owners.delete(oldest)
    }
    owners.set(name, principal)
    return false
  }

  const end: SessionTable['end'] = (session, reason) => {
    if (!live.delete(session.id)) return
    quiet.delete(session.id)
    if (session.key.basis === 'idle') idleIds.delete(sha256Hex(JSON.stringify(session.key.inputs)))
    if (journal.append({ kind: 'session.end', reason, totals: { ...session.totals } }, { session: session.id }) === undefined) journal.missed(0)
  }

  /** Writes `session.start`; when the spool cannot take it now, the next exchange that enters tries again. */
  const announce = (session: LiveSession, { exchange, principal, client, identity }: Entry): void => {
    const seq = journal.append(
      {
        kind: 'session.start',
        basis: session.key.basis,
        server: deps.server,
        ...(client === undefined ? {} : { client }),
        ...(identity === undefined ? {} : { identity }),
        ...(isForeign(session.key, principal) ? { foreign: true as const } : {}),
      },
      { session: session.id, exchange },
    )
    session.announced = seq !== undefined
    if (seq === undefined) journal.missed(0)
  }

  return {
    enter: (key, entry) => {
      const id = idOf(key)
      let session = live.get(id)
      if (session === undefined) {
        const [longest] = live.size >= deps.maxLive ? quiet.values() : []
        if (longest !== undefined) end(longest, 'idle')
        session = { id, key, lastMs: 0, open: 0, announced: false, totals: { exchanges: 0, calls: 0, errors: 0, bytes: 0 } }
        live.set(id, session)
      }
      quiet.delete(id)
      session.lastMs = clock.monotonic()
      session.open++
      session.totals.exchanges++
      if (!session.announced) announce(session, entry)
      return session
    },
    leave: session => {
      session.open--
      session.lastMs = clock.monotonic()
      if (session.open === 0 && live.get(session.id) === session) quiet.set(session.id, session)
    },
    end,
    sweep: () => {
      const before = clock.monotonic() - IDLE_GAP_MS
      for (const session of quiet.values()) {
        if (session.lastMs >= before) return
        end(session, 'idle')
      }
    },
    endAll: () => {
      for (const session of live.values()) end(session, 'shutdown')
    },
  }
}
