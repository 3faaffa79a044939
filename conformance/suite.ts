/** The official suite: installed when it is missing, run as a program of its own. */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readChecks } from './checks.ts'
import type { Found } from './checks.ts'

const ROOT = join(import.meta.dirname, '..')
const FOLDER = join(import.meta.dirname, 'suite')
const RUN_MS = 10 * 60_000
const PROGRAMS = {
  /** Both eras; checks every message against the schema of its revision. */
  '0.2': '@modelcontextprotocol/conformance',
  /** The legacy era only. */
  '0.1': 'conformance-0.1',
} as const

export type SuiteVersion = keyof typeof PROGRAMS

/** @throws when npm fails; what it said is in the error */
export async function installSuite(say: (line: string) => void): Promise<void> {
  const missing = Object.values(PROGRAMS).filter(name => !existsSync(programOf(name)))
  if (missing.length === 0) return
  say(`installing the suite (once, about 50 MB) into ${FOLDER}`)
  const { code, talk } = await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], FOLDER)
  if (code !== 0) throw new Error(`npm ci in ${FOLDER} failed; is the registry reachable?\n${talk}`)
}

/**
 * Its exit code says less than its checks do, and is not looked at. Works in the root of the clone.
 * @param output an empty folder, or one that does not exist yet
 * @throws when it reports no check at all
 */
export async function runSuite(version: SuiteVersion, args: readonly string[], output: string, env: Readonly<Record<string, string>> = {}): Promise<Found> {
  const { talk } = await run(process.execPath, [programOf(PROGRAMS[version]), ...args, '-o', output], ROOT, env)
  const found = await readChecks(output)
  if (found.reported.size === 0) throw new Error(`the suite reported no check for ${args.join(' ')}\n${talk}`)
  return found
}

function programOf(name: string): string {
  return join(FOLDER, 'node_modules', name, 'dist/index.js')
}

function run(program: string, args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): Promise<{ code: number; talk: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], timeout: RUN_MS, env: { ...process.env, ...env } })
    let talk = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (talk = (talk + text).slice(-4000)))
    child.once('error', reject)
    child.once('close', code => resolve({ code: code ?? 1, talk }))
  })
}
