/** One line of a session as people read it: a frame, what it belongs to, and how long the answer took. */

import type { Frame, RpcId, Side } from './frame.ts'

export type RowKind = 'REQ' | 'RES' | 'ERR' | 'NTF' | 'HTTP' | 'OPEN' | 'CLOSE' | 'START' | 'END' | 'GAP' | 'ACCESS' | 'BODY' | 'WRITER' | 'POLICY' | 'OTHER'

export interface FrameRef {
  readonly writer: string
  readonly seq: number
}

export interface Row {
  /** Without its body: rows of 100,000 frames fit in memory, bodies do not. */
  readonly frame: Frame
  /** Recorded time since the first frame of the session. */
  readonly offsetUs: number
  readonly kind: RowKind
  readonly type?: 'request' | 'response' | 'notification'
  readonly from?: Side
  /** Of the request, on an answer too. */
  readonly method?: string
  /** Tool, prompt or URI; of the request, on an answer too. */
  readonly name?: string
  /** The name, where the method calls a tool. */
  readonly tool?: string
  readonly rpcId?: RpcId
  readonly isError: boolean
  readonly errorCode?: number
  /** What went wrong, in the words of the answer, the gap or the exchange. */
  readonly note?: string
  /** Bytes of the whole body. Absent when its last part was not seen, or there can be none. */
  readonly bytes?: number
  /** Frames that carry the body: 1, or more when `body` frames follow. */
  readonly parts: number
  /** Recorded time from the request until this answer was whole. On answers only. */
  readonly latencyUs?: number
  /** The other half. */
  readonly pair?: FrameRef
  /** A request to which no answer was seen. */
  readonly pending?: true
  /** Says nothing that the messages of its exchange do not say. */
  readonly quiet: boolean
  /** Needles of the query that stand in its text. */
  readonly found: ReadonlySet<string>
  /** Rows of a run that this one stands for, itself included. */
  readonly folded?: readonly FrameRef[]
}

/** Label of a frame. Errors are told from answers by the row. */
export function rowKind(frame: Frame, type: Row['type'], isError: boolean): RowKind {
  switch (frame.kind) {
    case 'mcp':
      return isError ? 'ERR' : type === 'request' ? 'REQ' : type === 'response' ? 'RES' : 'NTF'
    case 'http':
      return 'HTTP'
    case 'exchange.start':
      return 'OPEN'
    case 'exchange.end':
      return 'CLOSE'
    case 'session.start':
      return 'START'
    case 'session.end':
      return 'END'
    case 'writer.start':
    case 'writer.stop':
      return 'WRITER'
    case 'gap':
      return 'GAP'
    case 'access':
      return 'ACCESS'
    case 'policy':
      return 'POLICY'
    case 'body':
      return 'BODY'
    default:
      // Kinds of later versions: shown, never dropped.
      return 'OTHER'
  }
}
