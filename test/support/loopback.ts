/** Servers of a test on loopback, which end with all their connections. */

import { once } from 'node:events'
import type { AddressInfo, Server, Socket } from 'node:net'

import { closeAtTheEnd } from './leftovers.ts'

export interface OnLoopback {
  readonly port: number
  readonly origin: string
  /** Harmless when it was called before. At the end of the run it is called anyway. */
  close(): Promise<void>
}

/** Listens on a free port. A peer that resets its connection is no error of the test. */
export async function listenOnLoopback(server: Server): Promise<OnLoopback> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  closeAtTheEnd(close)
  return { port, origin: `http://127.0.0.1:${port}`, close }
}
