/** The request's body: held whole while it is small; past that a stream, recorded and forwarded part by part. */

import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { StreamedBody } from './body-frames.ts'

/**
 * Gathers a body up to a limit.
 * @param done `whole` gets all of it; `large` what came until the limit was passed, with the request paused. Neither is called when the client leaves before.
 */
export function gatherBody(req: IncomingMessage, limit: number, done: { readonly whole: (body: Buffer) => void; readonly large: (soFar: Buffer) => void }): void {
  if (req.headers['content-length'] === undefined && req.headers['transfer-encoding'] === undefined) {
    req.resume()
    done.whole(EMPTY)
    return
  }
  const chunks: Buffer[] = []
  let bytes = 0
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes <= limit) return
    req.off('data', onData)
    req.off('end', onEnd)
    req.pause()
    done.large(Buffer.concat(chunks, bytes))
  }
  const onEnd = (): void => done.whole(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, bytes))
  req.on('data', onData)
  req.on('end', onEnd)
}
const EMPTY = Buffer.alloc(0)

export interface Upload {
  /** What may be forwarded. */
  readonly stream: Readable
  /** Lets go: the record ends with what came, the rest is read and dropped, so that the client can still read its answer. */
  end(): void
}

export interface UploadOptions {
  readonly req: IncomingMessage
  readonly soFar: Buffer
  readonly body: StreamedBody
  /** As `Spool.whenRoom`. */
  readonly whenRoom: (then: () => void) => void
  readonly whenDurable: (then: () => void) => void
  readonly onBytes: (count: number) => void
  readonly maxWaitingBytes: number
}

/** Goes on with a body that `gatherBody` found too large. One part waits for the log at a time. */
export function startUpload({ req, soFar, body, whenRoom, whenDurable, onBytes, maxWaitingBytes }: UploadOptions): Upload {
  const stream = new Readable({ read: () => void req.resume(), highWaterMark: maxWaitingBytes })
  stream.on('error', () => {})
  let ended = false
  const onData = (chunk: Buffer): void => {
    onBytes(chunk.length)
    req.pause()
    whenRoom(() => {
      if (ended) return
      body.push(chunk)
      whenDurable(() => {
        if (!stream.destroyed && stream.push(chunk)) req.resume()
      })
    })
  }
  const onEnd = (): void => {
    whenRoom(() => {
      if (ended) return
      ended = true
      body.end()
      whenDurable(() => stream.push(null))
    })
  }
  req.on('data', onData)
  req.on('end', onEnd)
  onData(soFar)
  return {
    stream,
    end: () => {
      stream.destroy()
      req.off('data', onData)
      req.off('end', onEnd)
      if (!ended) body.end()
      ended = true
      req.resume()
    },
  }
}
