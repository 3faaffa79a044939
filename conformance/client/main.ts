/**
 * The client that the suite starts, once for each scenario: `main.ts [there|elsewhere FOLDER] URL`.
 * Then a recorder stands between this client and the suite's server, and its archive lies in a folder of its own below FOLDER.
 * - `there`: the recorder has taken over the server's address, as it does in a cluster; whoever connects to it reaches the recorder
 * - `elsewhere`: the recorder has another address than the server, and the client knows only that
 */

import { join } from 'node:path'
import { Agent, buildConnector, setGlobalDispatcher } from 'undici'
import { startRecorder } from '../../demo/recorder.ts'
import { takeTurn } from '../turnstile.ts'
import type { Context } from './provider.ts'
import { runSession } from './session.ts'

const parsedContext = (text: string | undefined): Context => (text === undefined ? {} : JSON.parse(text))

async function run(): Promise<void> {
  const { MCP_CONFORMANCE_SCENARIO: scenario = '', MCP_CONFORMANCE_PROTOCOL_VERSION: revision = '', MCP_CONFORMANCE_CONTEXT: context, CONFORMANCE_TURNSTILE: turnstile } = process.env
  if (turnstile !== undefined) await takeTurn(turnstile)
  const url = new URL(process.argv.at(-1) ?? '')
  const session = (target: string): Promise<void> => runSession({ url: target, scenario, revision, context: parsedContext(context) })
  const [, , place, folder] = process.argv
  if (place !== 'there' && place !== 'elsewhere') {
    await session(url.href)
    return
  }
  const recorder = await startRecorder({ upstream: url.href, archive: join(folder ?? '', String(process.pid)), port: 0, adminPort: 0, say: line => console.error(line) })
  const { port } = new URL(recorder.url)
  try {
    if (place === 'there') {
      redirectConnections(url.port, port)
      await session(url.href)
    } else {
      const elsewhere = new URL(url)
      elsewhere.port = port
      await session(elsewhere.href)
    }
  } finally {
    await recorder.stop()
  }
}

/** Of this process' `fetch`: what goes to one port of this machine arrives at another, and nothing but the connection shows it. */
function redirectConnections(from: string, to: string): void {
  const connect = buildConnector({})
  setGlobalDispatcher(new Agent({ connect: (options, callback) => connect(options.port === from ? { ...options, port: to } : options, callback) }))
}

try {
  await run()
  process.exit(0)
} catch (error) {
  console.error(error)
  process.exit(1)
}
