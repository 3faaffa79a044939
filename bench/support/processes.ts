/** Starts and ends the processes of a benchmark. All of them end with this one. */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { LoadOrder, LoadResult } from './load.ts'

const root = join(import.meta.dirname, '../..')

export interface Peer {
  readonly port: number
  readonly child: ChildProcess
}

export interface StenoPeer extends Peer {
  readonly admin: string
  readonly startMs: number
  /** Waits until everything is in the archive; gives up quietly after a while. @returns ms waited */
  drain(): Promise<number>
  /** Value of one series of `/metrics`; 0 when there is none. */
  metric(series: string): Promise<number>
}

const DRAIN_MS = 60_000

function start(script: string, args: readonly string[]): ChildProcess {
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--disable-warning=DEP0060', join(root, 'bench', script), ...args], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}

/** A server or proxy that tells its port. */
export async function startPeer(script: string, args: readonly string[] = []): Promise<Peer> {
  const child = start(script, args)
  return new Promise((resolve, reject) => {
    child.once('exit', code => reject(new Error(`${script} ended with ${String(code)} before it listened`)))
    child.once('message', (message: { readonly port: number }) => resolve({ port: message.port, child }))
  })
}

/** Another program, on a port that was free a moment ago; resolves when it accepts connections. */
export async function startCommand(command: string, args: (port: number) => readonly string[]): Promise<Peer> {
  const port = await freePort()
  const child = spawn(command, [...args(port)], { stdio: 'ignore' })
  let gone = false
  child.once('exit', () => (gone = true))
  while (!(await accepts(port))) {
    if (gone) throw new Error(`${command} ended before it listened`)
    await wait(50)
  }
  return { port, child }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/**
 * `steno up` in front of `upstream`, with its defaults but for a shorter linger: what waits for it would only lengthen the benchmark.
 * @param instead flags in place of the folder for recordings and the shorter linger
 */
export async function startSteno(upstream: string, directory: string, instead?: readonly string[]): Promise<StenoPeer> {
  const began = performance.now()
  const args = ['up', '--upstream', upstream, '--spool', join(directory, 'spool'), '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', ...(instead ?? ['--archive', join(directory, 'archive'), '--linger', '1'])]
  const child = spawn(join(root, 'steno'), args, { stdio: ['ignore', 'inherit', 'pipe'], env: { AWS_ACCESS_KEY_ID: 'bench', AWS_SECRET_ACCESS_KEY: 'bench', ...process.env } })
  let talk = ''
  const where = await new Promise<{ url: string; admin: string }>((resolve, reject) => {
    child.once('exit', code => reject(new Error(`steno ended with ${String(code)} before it listened: ${talk}`)))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      talk = (talk + text).slice(-4000)
      const line = talk.split('\n').find(each => each.includes('"msg":"recording"') && each.endsWith('}'))
      if (line !== undefined) resolve(JSON.parse(line))
    })
  })
  const startMs = performance.now() - began
  const metric = async (series: string): Promise<number> => {
    const text = await (await fetch(`${where.admin}/metrics`)).text()
    return Number(text.split('\n').find(line => line.startsWith(`${series} `))?.slice(series.length + 1) ?? 0)
  }
  const drain = async (): Promise<number> => {
    const from = performance.now()
    while (performance.now() - from < DRAIN_MS && (await metric('steno_spool_bytes')) > 0) await new Promise(next => setTimeout(next, 100))
    return performance.now() - from
  }
  return { port: Number(new URL(where.url).port), child, admin: where.admin, startMs, metric, drain }
}

/** The process that makes the calls. */
export function startLoad(): { readonly child: ChildProcess; run(order: LoadOrder): Promise<LoadResult> } {
  const child = start('support/load.ts', [])
  return {
    child,
    run: async order => {
      const result = await new Promise<LoadResult>((resolve, reject) => {
        const gone = (): void => reject(new Error('the load process ended'))
        child.once('exit', gone)
        child.once('message', (message: LoadResult) => {
          child.off('exit', gone)
          resolve(message)
        })
        child.send(order)
      })
      if (result.error !== undefined) throw new Error(`the load on port ${order.port} (${order.tool}, ${order.connections} connections) failed: ${result.error}`)
      return result
    },
  }
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise(done => child.once('exit', done))
  child.kill('SIGTERM')
  await ended
}

/** Resident memory in MB; NaN where there is no /proc. */
export function residentMb(child: ChildProcess): number {
  return statusMb(child, 'VmRSS')
}

function statusMb(child: ChildProcess, field: string): number {
  try {
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024
  } catch {
    return Number.NaN
  }
}

/** The most that was ever resident, in MB; NaN where there is no /proc. */
export function peakMb(child: ChildProcess): number {
  return statusMb(child, 'VmHWM')
}

/**
 * Processor time a process has used so far, in µs: of all its threads, and of the first, which runs the event loop. NaN where there is no /proc.
 * Unlike time that passes, it hardly changes when other programs want the processors.
 */
export function processorUs(child: ChildProcess): { readonly all: number; readonly main: number } {
  const of = (thread: string): number => Number(readFileSync(`/proc/${child.pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]) / 1000
  try {
    return { all: readdirSync(`/proc/${child.pid}/task`).reduce((sum, thread) => sum + of(thread), 0), main: of(String(child.pid)) }
  } catch {
    return { all: Number.NaN, main: Number.NaN }
  }
}
