/**
 * What a recording is made of. A frame is one JSON object on one line; `docs/recording-format.md` is the same in prose.
 * These are types only: readers get them from `parse-line.ts`, which checks; the recorder writes them with `encode-frame.ts`.
 */

/** Format version that this program writes, and the newest that it reads. */
export const FORMAT_VERSION = 1

export type SessionBasis = 'mcp' | 'conversation' | 'trace' | 'idle'
export type Side = 'client' | 'server'
export type Outcome = 'ok' | 'error' | 'denied' | 'cancelled' | 'cut'
export type Era = 'legacy' | 'modern' | 'none'

/** A JSON-RPC id as it stood in the source: `1` is not `"1"`, and integers above 2^53 keep their digits (as `{"number": "…"}`). */
export type RpcId = string | number | null | { readonly number: string }

/** Claims of a bearer token. `verified` is false unless a policy demanded and did the validation. */
export interface Identity {
  readonly issuer?: string
  readonly subject?: string
  readonly clientId?: string
  readonly scopes?: readonly string[]
  readonly groups?: readonly string[]
  /** HMAC of the whole token, so that uses of one token can be told together. */
  readonly token?: string
  readonly verified: boolean
}

/** What a client says of itself: `asserted`, never proved. */
export interface ClientInfo {
  readonly name: string
  readonly version?: string
  readonly asserted: true
}

/** Something that ties exchanges together. `id` is a keyed hash wherever the value is opaque or a capability. */
export interface Link {
  readonly type: 'requestState' | 'task' | 'subscription' | 'resume'
  readonly id: string
}

/** A value that was masked before recording: where it stood, its length, and its keyed hash. */
export interface Masked {
  readonly path: string
  readonly bytes: number
  readonly hmac: string
}

export interface FrameHead {
  readonly writer: string
  /** 0, 1, 2, … per writer. Order by this. */
  readonly seq: number
  /** RFC 3339, microseconds, UTC. Display this. */
  readonly time: string
  /** Monotonic microseconds since the writer started. Measure by this. */
  readonly elapsedUs: number
  /** 8 random bytes in hex, so that a published leaf does not allow to guess the line. */
  readonly salt: string
  readonly session?: string
  /** Number of the exchange within its writer. `(writer, exchange)` is unique. */
  readonly exchange?: number
}

/** A stored body, or the first part of one. Absent `body` and `base64` mean an empty body. */
export interface BodyPart {
  /** Exact text, when the bytes are valid UTF-8. */
  readonly body?: string
  /** The bytes otherwise. */
  readonly base64?: string
}

export interface RecoveredWriter {
  readonly writer: string
  readonly frames: number
  /** `stopped`: it had written its `writer.stop`; `cut`: it had not. */
  readonly state: 'stopped' | 'cut'
}

export type FrameContent =
  | {
      readonly kind: 'writer.start'
      readonly format: number
      readonly steno: string
      readonly host: string
      readonly pid: number
      readonly pod?: string
      readonly namespace?: string
      readonly node?: string
      readonly image?: string
      readonly policy?: { readonly name: string; readonly hash: string }
      /** Of the pod. */
      readonly labels?: Readonly<Record<string, string>>
      readonly recovered: readonly RecoveredWriter[]
    }
  | { readonly kind: 'writer.stop'; readonly reason: string }
  | {
      readonly kind: 'session.start'
      readonly basis: SessionBasis
      readonly server: { readonly name: string; readonly url: string; readonly workload?: string; readonly pod?: string; readonly port?: number }
      readonly client?: ClientInfo
      readonly identity?: Identity
      /** The session id was shown by another principal before. */
      readonly foreign?: true
    }
  | {
      readonly kind: 'session.end'
      readonly reason: 'delete' | 'idle' | 'shutdown'
      readonly totals: { readonly exchanges: number; readonly calls: number; readonly errors: number; readonly bytes: number }
    }
  | {
      readonly kind: 'exchange.start'
      readonly method: string
      /** Path and query; values of secret query parameters are hashed. */
      readonly target: string
      readonly headers: Readonly<Record<string, string | readonly string[]>>
      readonly peer: string
      readonly era: Era
      /** Version claimed by header, as sent. */
      readonly version?: string
      /** Header and body disagree about version or method. */
      readonly mismatch?: true
      /** A resumed stream: hash of its `Last-Event-ID`. */
      readonly links?: readonly Link[]
      readonly client?: ClientInfo
      readonly identity?: Identity
    }
  | {
      readonly kind: 'exchange.end'
      /** 0 when no response head was seen. */
      readonly status: number
      readonly headers: Readonly<Record<string, string | readonly string[]>>
      readonly durationUs: number
      readonly requestBytes: number
      readonly responseBytes: number
      /** SSE events, and comments plus priming events, when the answer was a stream. */
      readonly events?: number
      readonly comments?: number
      readonly outcome: Outcome
      readonly reason?: string
    }
  | ({
      readonly kind: 'mcp'
      readonly from: Side
      readonly type: 'request' | 'response' | 'notification'
      readonly rpcId?: RpcId
      readonly method?: string
      readonly name?: string
      readonly isError?: boolean
      readonly errorCode?: number
      readonly resultType?: string
      /** Position in a JSON-RPC batch. */
      readonly batch?: number
      /** SSE event id and type, when the message came as an event. */
      readonly event?: { readonly id?: string; readonly type?: string }
      readonly links?: readonly Link[]
      readonly masked?: readonly Masked[]
      /** Keys that stood twice in one object, the first few. */
      readonly duplicateKeys?: readonly string[]
      /** Bytes of the original message (before masking). Absent when `more` is set. */
      readonly bytes?: number
      /** The body goes on in `body` frames of the same writer whose `of` is this seq. */
      readonly more?: true
    } & BodyPart)
  | ({
      readonly kind: 'http'
      readonly from: Side
      readonly contentType?: string
      /** Why this is not an `mcp` frame, when one could have expected it. */
      readonly reason?: string
      readonly event?: { readonly id?: string; readonly type?: string }
      readonly masked?: readonly Masked[]
      readonly bytes?: number
      readonly more?: true
    } & BodyPart)
  | ({
      readonly kind: 'body'
      /** seq of the frame that this continues. */
      readonly of: number
      /** 1, 2, … (the frame itself is part 0). */
      readonly part: number
      /** Only on the last part. `bytes` counts the original; `sha256` covers the stored bytes of all parts joined. */
      readonly last?: true
      readonly bytes?: number
      readonly sha256?: string
      /** Only on the last part of an `mcp` frame: what was known only at its end. */
      readonly late?: { readonly type?: 'request' | 'response' | 'notification'; readonly rpcId?: RpcId; readonly method?: string; readonly name?: string; readonly isError?: boolean; readonly errorCode?: number }
    } & BodyPart)
  | {
      /** Somebody reached past the recorder. Not part of any session; each has an exchange number of its own. */
      readonly kind: 'access'
      readonly action: 'exec' | 'attach' | 'port-forward' | 'ephemeral-container'
      readonly namespace: string
      readonly pod: string
      readonly container?: string
      /** Of an ephemeral container. */
      readonly image?: string
      /** As the API server knows them. */
      readonly user: string
      readonly groups?: readonly string[]
      /** First word of the command, and how many follow it: those may hold secrets, and are not kept. */
      readonly program?: string
      readonly arguments?: number
      readonly allowed: boolean
      readonly reason?: string
    }
  | {
      /** The recorder goes by another policy from here on. Not part of any session; each has an exchange number of its own. */
      readonly kind: 'policy'
      /** Names of all that select the pod, with commas, and the hash of them together. */
      readonly name: string
      readonly hash: string
      /** Fields that are another now. */
      readonly changed: readonly string[]
      /** Fields that are not what the policy says until the pod is made anew. */
      readonly pending?: readonly string[]
    }
  | {
      readonly kind: 'gap'
      readonly reason: string
      readonly detail?: string
      readonly count?: number
      readonly bytes?: number
      /** The writer in whose recording something is missing, when it is not this one. */
      readonly of?: string
      readonly fromSeq?: number
      readonly toSeq?: number
      readonly fromTime?: string
      readonly toTime?: string
    }

export type Frame = FrameHead & FrameContent
export type FrameKind = Frame['kind']
export type FrameOf<K extends FrameKind> = Extract<Frame, { readonly kind: K }>

/** First line of a segment. Derived, unnumbered, outside the chain. */
export interface SegmentLine {
  readonly kind: 'segment'
  readonly format: number
  readonly writer: string
  readonly firstSeq: number
  /** Chain head before `firstSeq`, hex. `null` when it is not known: frames before it were lost with the spool. */
  readonly previous: string | null
}

/** Last line of a segment. Derived, unnumbered, outside the chain. */
export interface SealLine {
  readonly kind: 'seal'
  readonly writer: string
  readonly lastSeq: number
  readonly frames: number
  /** Chain head after `lastSeq`, hex. `null` when `previous` was. */
  readonly head: string | null
}
