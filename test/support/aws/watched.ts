/** A door before a service: names each call that goes through, may keep it from getting in, or its answer from getting out. */

import { createServer, request } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'

import { listenOnLoopback } from '../loopback.ts'
import { bodyOf } from '../recorder.ts'

/** `iam:CreateRole steno-…`. */
export interface WatchedCall {
  readonly action: string
  /** Name of the role, or ARN of the principal. */
  readonly about: string
}

export interface Door {
  readonly endpoint: string
  readonly calls: WatchedCall[]
  /** Writes alone, as `iam:CreateRole`. */
  readonly writes: () => readonly string[]
  /** Before it goes in; `shut` cuts the connection. */
  before: ((call: WatchedCall) => 'pass' | 'shut') | undefined
  /** When it was done, before the answer goes out. */
  after: ((call: WatchedCall) => 'pass' | 'shut') | undefined
  close(): Promise<void>
}

const READS = /^(?:iam:(?:Get|List)|eks:Describe|sts:)/

export async function openDoor(service: string): Promise<Door> {
  const calls: WatchedCall[] = []
  const door: Door = {
    get endpoint() {
      return listening.origin
    },
    calls,
    writes: () => calls.map(({ action }) => action).filter(action => !READS.test(action)),
    before: undefined,
    after: undefined,
    close: async () => await listening.close(),
  }
  const pass = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const body = await bodyOf(req)
    const call = nameOf(req, body)
    calls.push(call)
    if (door.before?.(call) === 'shut') return void req.socket.resetAndDestroy()
    const to = new URL(service)
    const out = request({ host: to.hostname, port: to.port, method: req.method, path: req.url, headers: req.headers })
    out.on('error', () => req.socket.destroy())
    out.on('response', answer => {
      if (door.after?.(call) === 'shut') {
        answer.resume()
        return void req.socket.resetAndDestroy()
      }
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    })
    out.end(body)
  }
  const server = createServer((req, res) => void pass(req, res).catch(() => req.socket.destroy()))
  const listening = await listenOnLoopback(server)
  return door
}

function nameOf(req: IncomingMessage, body: Buffer): WatchedCall {
  const path = decodeURIComponent(req.url ?? '')
  const entry = /^\/clusters\/[^/]+\/access-entries(?:\/(.+))?$/.exec(path)
  if (entry !== null) {
    const action = { GET: 'eks:DescribeAccessEntry', POST: entry[1] === undefined ? 'eks:CreateAccessEntry' : 'eks:UpdateAccessEntry', DELETE: 'eks:DeleteAccessEntry' }[req.method ?? ''] ?? 'eks:Unknown'
    const created: unknown = entry[1] === undefined ? JSON.parse(body.toString()) : undefined
    return { action, about: entry[1] ?? (typeof created === 'object' && created !== null && 'principalArn' in created ? String(created.principalArn) : '') }
  }
  const form = new URLSearchParams(body.toString())
  const action = form.get('Action') ?? 'Unknown'
  return { action: `${action === 'AssumeRoleWithWebIdentity' ? 'sts' : 'iam'}:${action}`, about: form.get('RoleName') ?? form.get('RoleArn') ?? '' }
}
