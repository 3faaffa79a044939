/** An upgraded connection (WebSocket): opaque bytes both ways, each chunk recorded before it is released. */

import type { Duplex } from 'node:stream'
import type { Side } from '../../record/frame.ts'

export interface TunnelOptions {
  readonly client: Duplex
  readonly upstream: Duplex
  /** What the client sent right after its request. */
  readonly head: Buffer
  /** Records a chunk, then calls `release`; never, when it may not pass. */
  readonly record: (from: Side, chunk: Buffer, release: () => void) => void
  /** Both sides have closed; `cut` when one of them broke off. Called once. */
  readonly onEnd: (outcome: 'ok' | 'cut') => void
}

export interface Tunnel {
  /** Closes both sides at once. */
  close(): void
}

export function openTunnel(options: TunnelOptions): Tunnel {
  const { client, upstream, head, record } = options
  let open = 2
  let broken = false
  for (const side of [client, upstream]) {
    side.on('error', () => {
      broken = true
    })
    side.once('close', () => {
      open--
      if (open === 0) options.onEnd(broken ? 'cut' : 'ok')
    })
  }
  const close = (): void => {
    client.destroy()
    upstream.destroy()
  }
  const pump = (from: Side, source: Duplex, target: Duplex): void => {
    let waiting = 0
    let ended = false
    const pass = (chunk: Buffer): void => {
      // One chunk at a time: what waits for the log stays with the sender.
      source.pause()
      waiting++
      record(from, chunk, () => {
        waiting--
        if (target.destroyed) return
        const goOn = target.write(chunk)
        if (ended && waiting === 0) target.end()
        else if (goOn) source.resume()
        else target.once('drain', () => source.resume())
      })
    }
    source.on('data', pass)
    // The end comes although the source is paused, when its last chunk still waits for the log.
    source.once('end', () => {
      ended = true
      if (waiting === 0) target.end()
    })
    source.once('close', () => {
      if (!source.readableEnded) target.destroy()
    })
    if (from === 'client' && head.length > 0) pass(head)
  }
  pump('client', client, upstream)
  pump('server', upstream, client)
  return { close }
}
