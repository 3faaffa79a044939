/** A TCP link that a test can cut or let fall silent, as networks do: packets are dropped, nobody is told. Also a balancer, as a Service is one. */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

import { closeAtTheEnd } from './leftovers.ts'

export interface Link {
  readonly port: number
  /** New connections go to these, in turn. Those that are open stay where they are. */
  to(ports: readonly number[]): void
  /** How many connections found nobody there so far. */
  refused(): number
  /** Nothing passes any more, and nothing is closed. */
  silence(): void
  /** New connections pass again; those that fell silent stay so. */
  restore(): void
  close(): Promise<void>
}

export async function openLink(ports: readonly number[]): Promise<Link> {
  let targets = ports
  let turn = 0
  let silent = false
  let refused = 0
  const pairs = new Set<readonly [Socket, Socket]>()
  const held = new Set<Socket>()
  const server = createServer(client => {
    client.on('error', () => {})
    if (silent) {
      held.add(client)
      return
    }
    const target = connect(targets[turn++ % targets.length] ?? 0, '127.0.0.1')
    target.on('error', error => {
      if ('code' in error && error.code === 'ECONNREFUSED') refused++
    })
    const pair = [client, target] as const
    pairs.add(pair)
    for (const [from, into] of [[client, target], [target, client]] as const) {
      from.on('error', () => {})
      from.on('data', (chunk: Buffer) => {
        if (pairs.has(pair)) into.write(chunk)
      })
      from.on('close', () => {
        if (pairs.delete(pair)) into.destroy()
      })
      from.on('end', () => {
        if (pairs.has(pair)) into.end()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const silenced: (readonly [Socket, Socket])[] = []
  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of [...held, ...[...pairs, ...silenced].flat()]) socket.destroy()
    await closed
  }
  closeAtTheEnd(close)
  return {
    port: (server.address() as AddressInfo).port,
    to: next => {
      targets = next
    },
    refused: () => refused,
    silence: () => {
      silent = true
      silenced.push(...pairs)
      pairs.clear()
    },
    restore: () => {
      silent = false
    },
    close,
  }
}
