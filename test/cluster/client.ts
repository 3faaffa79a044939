/** Clients of the scenario: the official SDK, one call and calls without end. */

import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js'
import { setTimeout as wait } from 'node:timers/promises'

import { reachable } from './cluster.ts'

const CALL_MS = 10_000
const PAUSE_MS = 20
const AFTER_FAILURE_MS = 100

async function connected(url: string): Promise<Client> {
  const client = new Client({ name: 'scenario', version: '1.0.0' })
  // The SDK's transport declares its optional fields otherwise than exactOptionalPropertyTypes reads them.
  await client.connect(new StreamableHTTPClientTransport(new URL(url)) as Parameters<Client['connect']>[0], { timeout: CALL_MS })
  return client
}

async function textOf(client: Client, name: string, args: Record<string, unknown>): Promise<string> {
  const { content } = CallToolResultSchema.parse(await client.callTool({ name, arguments: args }, undefined, { timeout: CALL_MS }))
  return content.map(each => (each.type === 'text' ? each.text : '')).join('')
}

/** One session with one call, as soon as the server can be reached. @returns its text */
export async function callOnce(url: string, name: string, args: Record<string, unknown> = {}): Promise<string> {
  await reachable(url)
  const client = await connected(url)
  try {
    return await textOf(client, name, args)
  } finally {
    await client.close()
  }
}

export interface SteadyClient {
  /** Ids whose answers came. */
  readonly answered: readonly string[]
  /** Ids that were asked and may or may not have been answered. */
  readonly failed: readonly string[]
  stop(): Promise<void>
}

/** Calls one after another; after a failure, in a new session. Ids are never used twice. */
export function steadyClient(url: string, name: string): SteadyClient {
  const answered: string[] = []
  const failed: string[] = []
  let stopping = false
  let next = 0
  const session = async (): Promise<void> => {
    const client = await connected(url)
    try {
      while (!stopping) {
        const id = `${name}-${next++}`
        const text = await textOf(client, 'answer', { id }).catch((error: unknown) => {
          failed.push(id)
          throw error
        })
        if (text !== `answer-${id}`) throw new Error(`${id} was answered with ${text}`)
        answered.push(id)
        await wait(PAUSE_MS)
      }
    } finally {
      await client.close().catch(() => {})
    }
  }
  const running = (async () => {
    while (!stopping) await session().catch(async () => await wait(AFTER_FAILURE_MS))
  })()
  return {
    answered,
    failed,
    stop: async () => {
      stopping = true
      await running
    },
  }
}
