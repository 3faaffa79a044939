/**
 * The live sessions of this writer: writes `session.start` and `session.end`, counts totals. Deriving is `record/session.ts`.
 * Bounded: past `maxLive` the longest quiet session is ended, however young.
 */

import { hash } from 'node:crypto'
import type { Clock } from '../platform/clock.ts'
import type { ClientInfo, FrameOf, Identity } from '../record/frame.ts'
import { IDLE_GAP_MS, sessionId } from '../record/session.ts'
import type { SessionKey } from '../record/session.ts'
import type { Journal } from './journal.ts'

export interface LiveSession {
  readonly id: string
  readonly key: SessionKey
  readonly principal: string
  lastMs: number
  /** Exchanges in flight. */
  open: number
  readonly totals: { exchanges: number; calls: number; errors: number; bytes: number }
}

export interface SessionTable {
  /** Finds or starts the session of a key. */
  enter(key: SessionKey, about: { exchange: number; principal: string; client?: ClientInfo | undefined; identity?: Identity | undefined }): LiveSession
  leave(session: LiveSession): void
  end(session: LiveSession, reason: FrameOf<'session.end'>['reason']): void
  /** Ends what has been quiet for long. To be called every minute or so. */
  sweep(): void
  endAll(): void
  readonly size: number
}

export interface SessionDeps {
  readonly journal: Journal
  readonly clock: Clock
  readonly server: FrameOf<'session.start'>['server']
  readonly maxLive: number
}

const sha256Hex = (text: string): string => hash('sha256', text, 'hex')

export function createSessionTable(deps: SessionDeps): SessionTable {
  const { journal, clock } = deps
  /** By id; insertion order is order of last use, so the first is the longest quiet. */
  const live = new Map<string, LiveSession>()
  /** For basis `idle` the id holds the start time, so its live session is found by key. */
  const idleIds = new Map<string, string>()
  /** Principal that first showed an MCP session id, by hash of server and id: another one is flagged. Bounded like `live`. */
  const owners = new Map<string, string>()

  const idOf = (key: SessionKey): string => {
    if (key.basis !== 'idle') return sessionId(key, sha256Hex)
    const name = sha256Hex(JSON.stringify(key.inputs))
    const known = idleIds.get(name)
    const session = known === undefined ? undefined : live.get(known)
    if (session !== undefined && (session.open > 0 || clock.now() - session.lastMs < IDLE_GAP_MS)) return session.id
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
    if (session.key.basis === 'idle') idleIds.delete(sha256Hex(JSON.stringify(session.key.inputs)))
    journal.append({ kind: 'session.end', reason, totals: { ...session.totals } }, { session: session.id })
  }

  return {
    enter: (key, about) => {
      const id = idOf(key)
      const known = live.get(id)
      const now = clock.now()
      if (known !== undefined) {
        live.delete(id)
        live.set(id, known)
        known.lastMs = now
        known.open++
        known.totals.exchanges++
        return known
      }
      if (live.size >= deps.maxLive) {
        for (const candidate of live.values()) {
          if (candidate.open > 0) continue
          end(candidate, 'idle')
          break
        }
      }
      const session: LiveSession = { id, key, principal: about.principal, lastMs: now, open: 1, totals: { exchanges: 1, calls: 0, errors: 0, bytes: 0 } }
      live.set(id, session)
      journal.append(
        {
          kind: 'session.start',
          basis: key.basis,
          server: deps.server,
          ...(about.client === undefined ? {} : { client: about.client }),
          ...(about.identity === undefined ? {} : { identity: about.identity }),
          ...(isForeign(key, about.principal) ? { foreign: true as const } : {}),
        },
        { session: id, exchange: about.exchange },
      )
      return session
    },
    leave: session => {
      session.open--
      session.lastMs = clock.now()
    },
    end,
    sweep: () => {
      const before = clock.now() - IDLE_GAP_MS
      for (const session of live.values()) {
        if (session.open === 0 && session.lastMs < before) end(session, 'idle')
      }
    },
    endAll: () => {
      for (const session of live.values()) end(session, 'shutdown')
    },
    get size() {
      return live.size
    },
  }
}
