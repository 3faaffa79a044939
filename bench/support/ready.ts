/** What a bench process tells its parent. */

import type { Server } from 'node:http'

/** Listens on a free port of loopback, tells the parent which, and ends when the parent does. */
export function serveBelowParent(server: Server): void {
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    if (typeof address === 'object' && address !== null) process.send?.({ port: address.port })
  })
  process.on('disconnect', () => process.exit(0))
}
