/**
 * `npm start`: a real MCP server, the recorder before it, one real client session through it, and what was recorded.
 * Stays up until Ctrl-C; with --once it verifies and ends.
 */

import { join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { runClientSession } from './client-session.ts'
import { startEverythingServer } from './everything-server.ts'
import { startRecorder } from './recorder.ts'
import type { DemoRecorder } from './recorder.ts'
import { runSteno, sessionsSince } from './steno-command.ts'

const root = join(import.meta.dirname, '..')
const PORT = 15_080
const ADMIN_PORT = 15_090
/** Ctrl-C below npm arrives twice, once from the terminal and once from npm. */
const SAME_SIGNAL_MS = 1000

const say = (line: string): void => console.log(line)

function usage(): never {
  console.error('usage: npm start [-- [--once] [--archive DIR]]\n  --once         record one session, verify it and exit\n  --archive DIR  folder to record into (default ./recordings)')
  process.exit(2)
}

const { once, archive } = readArguments()
/** As the commands that are printed name it. */
const shown = archive.startsWith(root) ? `./${relative(root, archive)}` : archive
const option = shown === './recordings' ? '' : ` --archive ${shown}`

function readArguments(): { readonly once: boolean; readonly archive: string } {
  try {
    const { values } = parseArgs({ options: { once: { type: 'boolean', default: false }, archive: { type: 'string', default: './recordings' } } })
    return { once: values.once, archive: resolve(root, values.archive) }
  } catch {
    usage()
  }
}

const stopping = new AbortController()
let firstSignalMs = 0
for (const [signal, number] of [['SIGINT', 2], ['SIGTERM', 15]] as const) {
  process.on(signal, () => {
    if (!stopping.signal.aborted) {
      firstSignalMs = Date.now()
      stopping.abort(new Error('interrupted'))
    } else if (Date.now() - firstSignalMs > SAME_SIGNAL_MS) process.exit(128 + number)
  })
}

try {
  process.exit(await demonstrate())
} catch (error) {
  if (stopping.signal.aborted) process.exit(130)
  const code = typeof error === 'object' && error !== null && 'code' in error ? ` (${String(error.code)})` : ''
  console.error(`error: ${error instanceof Error ? error.message : String(error)}${code}`)
  process.exit(1)
}

async function demonstrate(): Promise<number> {
  const { signal } = stopping
  const startedMs = Date.now()
  const server = await startEverythingServer(root, signal)
  let recorder: DemoRecorder | undefined
  try {
    say(`MCP server   ${server.url}  (@modelcontextprotocol/server-everything)`)
    recorder = await startRecorder({ upstream: server.url, archive, port: PORT, adminPort: ADMIN_PORT, say })
    signal.throwIfAborted()
    say(`recorder     ${recorder.url}  → ${shown}\n`)
    await runClientSession(recorder.url, line => say(`client       ${line}`), signal)
    await recorder.shipped(signal)
    await printSessions(startedMs)
    if (once) return await verifyAndEnd(recorder, startedMs)
    printAdvice(recorder)
    const why = await Promise.race([aborted(signal), server.ended.then(talk => `the MCP server is gone: ${talk}`), recorder.ended.then(() => 'the recorder is gone')])
    if (why !== undefined) throw new Error(why)
    say('\nstopping: ending sessions, writing what is left')
    await recorder.stop()
    say(`everything is in ${shown}`)
    return 0
  } finally {
    await recorder?.stop().catch(() => {})
    await server.stop()
  }
}

async function printSessions(sinceMs: number): Promise<void> {
  const { stdout } = await runSteno(root, ['list', '--archive', archive, '--since', new Date(sinceMs).toISOString()])
  say(`\n${stdout.trimEnd()}\n`)
}

/** The last line says what was recorded since the start, and what can be proved about it. */
async function verifyAndEnd(recorder: DemoRecorder, startedMs: number): Promise<number> {
  await recorder.stop()
  const sessions = await sessionsSince(root, archive, startedMs)
  if (sessions.length === 0) throw new Error('nothing was recorded')
  const verdicts = new Set<string>()
  for (const { id } of sessions) {
    const { stdout } = await runSteno(root, ['verify', id, '--archive', archive, '-o', 'json'])
    const report: { verdict?: unknown } = JSON.parse(stdout)
    verdicts.add(String(report.verdict))
  }
  const exchanges = sessions.reduce((sum, session) => sum + session.exchanges, 0)
  const verdict = [...verdicts].join(', ')
  say(`recorded ${exchanges} exchanges in ${sessions.length} ${sessions.length === 1 ? 'session' : 'sessions'}; ${verdict}`)
  return verdict === 'consistent' ? 0 : 1
}

function printAdvice({ url, adminUrl }: DemoRecorder): void {
  const config = { mcpServers: { everything: { type: 'http', url } } }
  say(`Look further, in another terminal in ${relative(process.cwd(), root) || 'this folder'}:
  ./steno show <name>${option}      summary and frames of a session (the first letters of its name will do)
  ./steno play <name>${option}      play it in its own time
  ./steno stats <name>${option}     calls, errors and latency of each tool
  ./steno list -w${option}          watch sessions come
  ./steno verify${option}           recompute every hash

Recording at ${url} (health and metrics at ${adminUrl}). For a client:

${JSON.stringify(config, null, 2)}

Ctrl-C ends it.`)
}

/** Resolves with nothing when the signal comes. */
function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise(resolve => {
    if (signal.aborted) resolve(undefined)
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
