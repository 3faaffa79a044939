/** One life of the real program: started as users start it, killed as nobody should. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const STENO = join(import.meta.dirname, '../../../steno')
const WATCHED_FS = new URL('./watched-fs.ts', import.meta.url).href

export interface ProgramOptions {
  readonly upstream: string
  /** Flags that say where recordings go. */
  readonly sink: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly spool: string
  readonly lingerSeconds: number
  /** Has the program write down what it does to files below a folder. */
  readonly watch?: Watch
  /** For the Node that it runs on, such as a limit of the heap. */
  readonly nodeOptions?: string
}

export interface Watch {
  readonly root: string
  readonly log: string
  /** It kills itself at this operation (0 is the first) on a path that holds `where`. */
  readonly killAt?: { readonly operation: number; readonly where: string }
}

export interface Program {
  readonly pid: number
  /** Where it listens; undefined when it ended before. */
  readonly url: Promise<string | undefined>
  /** Resolves when it has ended. */
  readonly ended: Promise<void>
  readonly isOver: boolean
  /** What it has said. */
  readonly said: () => string
  kill(): Promise<void>
  /** Asks it to end in order. Rejects when it does not end with 0. */
  stop(): Promise<void>
}

export function startProgram({ upstream, sink, env, spool, lingerSeconds, watch, nodeOptions = '' }: ProgramOptions): Program {
  const args = ['up', '--upstream', upstream, ...sink, '--spool', spool, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--linger', String(lingerSeconds)]
  const child = spawn(STENO, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env, ...(nodeOptions === '' ? {} : { NODE_OPTIONS: nodeOptions }), ...watchEnvironment(watch) } })
  const said: string[] = []
  let isOver = false
  const ended = once(child, 'exit').then(() => {
    isOver = true
  })
  const url = new Promise<string | undefined>(resolve => {
    createInterface({ input: child.stderr }).on('line', line => {
      said.push(line)
      const found = /"msg":"recording".*"url":"([^"]+)"/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
    void ended.then(() => resolve(undefined))
  })
  return {
    pid: child.pid ?? 0,
    url,
    ended,
    get isOver() {
      return isOver
    },
    said: () => said.join('\n'),
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
    stop: async () => {
      child.kill('SIGTERM')
      await ended
      if (child.exitCode !== 0) throw new Error(`the program ended with ${child.exitCode ?? child.signalCode}:\n${said.join('\n')}`)
    },
  }
}

function watchEnvironment(watch: Watch | undefined): NodeJS.ProcessEnv {
  if (watch === undefined) return {}
  const { root, log, killAt } = watch
  return {
    NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import ${WATCHED_FS}`,
    STENO_CRASH_ROOT: root,
    STENO_CRASH_LOG: log,
    ...(killAt === undefined ? {} : { STENO_CRASH_AT: String(killAt.operation), STENO_CRASH_WHERE: killAt.where }),
  }
}
