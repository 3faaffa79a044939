/** Listening on a port, with advice when that is refused. */

import type { Server } from 'node:net'
import { StenoError } from '../errors.ts'
import { hostPort } from './address.ts'
import type { Address } from './address.ts'

/**
 * @param flag of the command line that gives the address: named in the advice
 * @returns the port, which the system chose when 0 was asked for. Rejects with `listen.failed`
 */
export function listen(server: Server, { host, port }: Address, flag: string): Promise<number> {
  return new Promise((resolve, reject) => {
    // Stays: later errors are of single connections that could not be accepted, and must not end the process.
    server.on('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? `another program listens there; stop it or choose another port with ${flag} HOST:PORT` : cause.message
      reject(new StenoError('listen.failed', `cannot listen on ${hostPort(host ?? '*', port)}: ${why}`, { cause }))
    })
    // Without a host Node binds `::` for both families, whatever net.ipv6.bindv6only says, and 0.0.0.0 where it cannot have that.
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : port)
    })
  })
}
