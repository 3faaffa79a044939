/**
 * A recording as every reader sees it: command line, tests, later the console. `archive/` makes these from a directory, a file or a stream.
 * Readers drop duplicates by (writer, seq), sort by seq within a writer and merge writers by time.
 */

import type { ClientInfo, Frame, Identity, SessionBasis } from './frame.ts'

/** One stored line with its parsed frame. `line` is the exact text, without the newline. */
export interface StoredFrame {
  readonly frame: Frame
  readonly line: string
}

/** Exchanges of callers that no basis fits are gathered under this id. */
export const UNGROUPED = 'ungrouped'

export type SessionState = 'live' | 'ended' | 'incomplete'

export interface SessionSummary {
  readonly id: string
  readonly basis?: SessionBasis
  readonly state: SessionState
  /** RFC 3339. First and last frame seen. */
  readonly started: string
  readonly lastSeen: string
  readonly server?: string
  readonly workload?: string
  readonly pod?: string
  readonly client?: ClientInfo
  readonly identity?: Identity
  readonly exchanges: number
  /** JSON-RPC requests of the client. */
  readonly calls: number
  /** JSON-RPC errors, `isError` results and exchanges with outcome error, each answer counted once. */
  readonly errors: number
  readonly denials: number
  readonly gaps: number
  readonly frames: number
  /** Bytes of message bodies, both ways. */
  readonly bytes: number
  /** Distinct tool names called, at most 100. */
  readonly tools: readonly string[]
  readonly writers: readonly string[]
}

export interface SessionFilter {
  readonly workload?: string
  readonly tool?: string
  readonly errors?: boolean
  /** ms since epoch; sessions seen at or after. */
  readonly sinceMs?: number
}

export interface Recording {
  /** Newest first. `after` is the id of the last one of the page before. */
  sessions(page: { readonly filter?: SessionFilter; readonly limit: number; readonly after?: string }): Promise<readonly SessionSummary[]>
  /** Exact id, or a unique prefix of one; undefined when there is none. Throws `usage.invalid` when ambiguous. */
  session(idOrPrefix: string): Promise<SessionSummary | undefined>
  /**
   * All frames of a session in order, and with them, the frames of its exchanges that were recorded before the session id was known
   * (an `initialize` request), the `body` parts, and gaps of its writers that fall into its time.
   */
  frames(session: string): AsyncIterable<StoredFrame>
  /** One frame by identity. */
  frame(writer: string, seq: number): Promise<StoredFrame | undefined>
  close(): Promise<void>
}
