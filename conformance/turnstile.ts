/** Lets a few processes at a time pass. The suite starts all its clients at once, and a machine with two cores then measures itself. */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'

export interface Turnstile {
  readonly path: string
  close(): Promise<void>
}

/** @param path of a socket that does not exist yet */
export async function openTurnstile(path: string, width: number): Promise<Turnstile> {
  const waiting: Socket[] = []
  let inside = 0
  const admit = (): void => {
    for (; inside < width; inside++) {
      const next = waiting.shift()
      if (next === undefined) return
      next.write('go')
      next.once('close', () => {
        inside--
        admit()
      })
    }
  }
  const server = createServer(socket => {
    socket.on('error', () => {})
    waiting.push(socket)
    admit()
  })
  server.listen(path)
  await once(server, 'listening')
  return {
    path,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      for (const socket of waiting) socket.destroy()
      await closed
    },
  }
}

/** Waits for a turn, and keeps it until the socket is closed, at the latest by the end of the process. */
export async function takeTurn(path: string): Promise<Socket> {
  const socket = connect(path)
  await once(socket, 'data')
  return socket
}
