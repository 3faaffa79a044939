import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'

import { expect } from 'chai'
import fc from 'fast-check'

import { recordableTarget } from '../../src/record/redact.ts'
import { createKeyedHash } from '../../src/recorder/keyed-hash.ts'
import { fuzzRuns } from '../support/fuzz-runs.ts'
import { journalUpstream } from '../support/journal-upstream.ts'
import type { SeenRequest } from '../support/journal-upstream.ts'
import { oddConnection } from '../support/odd-requests.ts'
import type { OddConnection } from '../support/odd-requests.ts'
import { call, post, rawClient, recorderBefore, result } from '../support/recorder.ts'
import type { Recorded } from '../support/recorder.ts'

const KEY = Buffer.alloc(32, 9)

/** How long a client waits for an answer that may never come: the request may not be whole. */
const PATIENCE_MS = 10

describe('recorder before clients that try to smuggle', () => {
  it('forwards no request that the recording does not hold, and no byte of a body that it does not hold', async function () {
    this.timeout(0)
    const upstream = await journalUpstream()
    const recorder = await recorderBefore(upstream.url, { key: KEY })
    const sent: string[] = []
    await fc.assert(
      fc.asyncProperty(oddConnection, async connection => {
        await talk(recorder.port, connection, sent)
        // What is no HTTP would show at once: the upstream's reader throws.
        if (sent.length % 50 === 0) upstream.requests()
      }),
      fuzzRuns,
    )
    // It lives, and serves on.
    const client = await rawClient(recorder.port)
    client.write(post(call(1)))
    await client.until(text => text.includes(result(1, {})))
    client.socket.destroy()
    const recorded = await recorder.stop()
    const requests = upstream.requests()
    expect(recorded.verdict).to.equal('consistent')
    expect(requests.length).to.be.greaterThan(fuzzRuns.numRuns / 10)
    expectHeld(requests, recorded, sent)
    await recorder.dispose()
    await upstream.close()
  })
})

async function talk(port: number, { requests, cuts, leaves }: OddConnection, sent: string[]): Promise<void> {
  const text = requests.map((request, at) => request.replaceAll('@', `${sent.length}.${at}`)).join('')
  sent.push(text)
  const bytes = Buffer.from(text, 'latin1')
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  await once(socket, 'connect')
  const at = [0, ...cuts.map(cut => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  for (const [i, to] of at.slice(1).entries()) {
    if (socket.destroyed) break
    socket.write(bytes.subarray(at[i], to))
    await turn()
  }
  if (!leaves) await answered(socket, requests.length)
  socket.destroy()
}

/** Until as many answers have come as there were requests, or the other side closes, or patience ends. */
async function answered(socket: Socket, count: number): Promise<void> {
  let text = ''
  await new Promise<void>(resolve => {
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(done, PATIENCE_MS)
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (text.split('HTTP/1.1 2').length > count) done()
    })
    socket.on('close', done)
  })
}

function expectHeld(requests: readonly SeenRequest[], recorded: Recorded, sent: readonly string[]): void {
  const hash = createKeyedHash(KEY)
  const held = new Map<string, Buffer[]>()
  for (const start of recorded.of('exchange.start')) {
    const name = `${start.method} ${start.target}`
    const frames = recorded.frames.filter(frame => frame.exchange === start.exchange && (frame.kind === 'mcp' || frame.kind === 'http') && frame.from === 'client')
    held.set(name, [...(held.get(name) ?? []), Buffer.concat(frames.map(recorded.bodyOf))])
  }
  for (const { method, target, body, whole } of requests) {
    // What may be secret in a target is recorded as its hash.
    const name = `${method} ${recordableTarget(target, hash)}`
    const bodies = held.get(name) ?? []
    const at = bodies.findIndex(each => (whole ? each.equals(body) : each.subarray(0, body.length).equals(body)))
    const which = sent[Number(/\/r\/(\d+)\./.exec(target)?.[1] ?? -1)]
    expect(at, `${name} with ${JSON.stringify(body.toString('latin1'))} is not in the recording, which holds ${JSON.stringify(bodies.map(String))}; the client sent ${JSON.stringify(which)}`).to.be.at.least(0)
    // Each is held for itself.
    bodies.splice(at, 1)
  }
}
