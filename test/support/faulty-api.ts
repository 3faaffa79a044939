/** A plain HTTP way to a real API server that can be made to go wrong as API servers do. Counts what is asked of it. */

import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { request } from 'node:https'

import type { Cluster } from '../../src/kube/cluster.ts'
import { listenOnLoopback } from './loopback.ts'

/** `gone`: lists and watches are answered that the version is too old. `silent`: nothing is ever answered. `reset`: the connection breaks. */
export type ApiFault = 'throttled' | 'broken' | 'reset' | 'silent' | 'gone' | 'unauthorized'

export interface FaultyApi {
  /** The same cluster, by this way. */
  readonly cluster: Cluster
  fault: ApiFault | undefined
  /** Requests so far, those about leases apart. */
  readonly asked: number
  /** Breaks every connection that is open, watches too. */
  cut(): void
  close(): Promise<void>
}

export async function startFaultyApi(cluster: Cluster): Promise<FaultyApi> {
  const answers = new Set<ServerResponse>()
  const state = { fault: undefined as ApiFault | undefined, asked: 0 }
  const refuse = (res: ServerResponse, code: number, reason: string, headers: Readonly<Record<string, string>> = {}): void => void res.writeHead(code, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, code, message: `made to fail: ${reason}` }))
  const pass = (req: IncomingMessage, res: ServerResponse): void => {
    const onward = request(new URL(req.url ?? '/', cluster.server), { method: req.method ?? 'GET', headers: { ...req.headers, host: cluster.server.host }, ...(cluster.ca === undefined ? {} : { ca: cluster.ca }) }, answer => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    })
    onward.on('error', () => res.destroy())
    res.on('close', () => onward.destroy())
    req.pipe(onward)
  }
  const server = createServer((req, res) => {
    answers.add(res)
    res.on('close', () => answers.delete(res))
    // A lease that is lost is another story.
    if (req.url?.includes('/leases') === true) return pass(req, res)
    state.asked++
    if (state.fault === undefined) return pass(req, res)
    switch (state.fault) {
      case 'throttled':
        return refuse(res, 429, 'TooManyRequests', { 'retry-after': '1' })
      case 'broken':
        return refuse(res, 500, 'InternalError')
      case 'unauthorized':
        return refuse(res, 401, 'Unauthorized')
      case 'reset':
        return void req.socket.resetAndDestroy()
      case 'silent':
        return undefined
      case 'gone':
        return req.method === 'GET' ? refuse(res, 410, 'Expired') : pass(req, res)
    }
  })
  const { origin, close } = await listenOnLoopback(server)
  return {
    cluster: { server: new URL(origin), token: cluster.token },
    get fault() {
      return state.fault
    },
    set fault(fault) {
      state.fault = fault
    },
    get asked() {
      return state.asked
    },
    cut: () => answers.forEach(each => each.destroy()),
    close,
  }
}
