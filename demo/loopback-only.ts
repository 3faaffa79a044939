/**
 * Preloaded into the demonstration's MCP server, which by itself listens on every interface and cannot be told otherwise:
 * whatever listens without naming a host listens on loopback. Tells the parent the port, and ends with the parent.
 */

import { Server } from 'node:net'

const HOST = '127.0.0.1'
const listen = Server.prototype.listen

Server.prototype.listen = function (this: Server, ...args: unknown[]): Server {
  const [first, second] = args
  if (typeof first === 'object' && first !== null) args[0] = { host: HOST, ...first }
  else if (typeof second !== 'string') args.splice(1, 0, HOST)
  this.once('listening', () => {
    const address = this.address()
    if (typeof address === 'object' && address !== null) process.send?.({ listening: address.port })
  })
  return Reflect.apply(listen, this, args)
}

process.on('disconnect', () => process.exit(0))
