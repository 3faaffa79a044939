/** Steno as its image runs it and the chart starts it: bundled, and with the flags and variables of both. From source it takes 20 MB more, and without a limit of the heap any figure may come out. */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { load } from 'js-yaml'

import { bundle } from '../../hack/image/bundle.ts'
import { objectAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'

const ROOT = join(import.meta.dirname, '../..')

export interface ImageProcess {
  readonly child: ChildProcess
  /** What it has written to stderr by then, at most the last 4,000 characters. */
  readonly talk: string
}

/**
 * @param folder of the process; gets the program too @param part whose resources in the chart's values hold
 * @param until resolves when stderr has this. Rejects when the process ends before
 */
export async function startAsInImage(folder: string, part: 'injector' | 'operator', args: readonly string[], until: string): Promise<ImageProcess> {
  const program = join(folder, 'image')
  await bundle(program)
  const file = await readFile(join(ROOT, 'Containerfile'), 'utf8')
  const entry: unknown = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(file)?.[1] ?? '[]')
  if (!Array.isArray(entry) || entry.length < 2) throw new Error('Containerfile has no ENTRYPOINT that the benchmark can read')
  const flags = entry.slice(1, -1).map(String)
  const values = load(await readFile(join(ROOT, 'charts/steno/values.yaml'), 'utf8')) as JsonObject
  const limit = /^(\d+)Mi$/.exec(textAt(objectAt(objectAt(objectAt(values, part), 'resources'), 'limits'), 'memory') ?? '')?.[1]
  if (limit === undefined) throw new Error(`the chart gives the ${part} no memory limit in Mi`)
  // As the chart's helper steno.heap.
  const env = { ...process.env, MALLOC_ARENA_MAX: /^ENV MALLOC_ARENA_MAX=(\d+)$/m.exec(file)?.[1], NODE_OPTIONS: `--max-old-space-size=${Math.floor(Number(limit) / 2)}` }
  const child = spawn(process.execPath, [...flags, join(program, 'dist/js/main.js'), ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], env })
  let talk = ''
  await new Promise<void>((resolve, reject) => {
    child.once('exit', code => reject(new Error(`steno ${args[0] ?? ''} ended with ${String(code)}: ${talk}`)))
    child.stderr.on('data', (chunk: Buffer) => {
      talk = (talk + chunk.toString()).slice(-4000)
      if (talk.includes(until)) resolve()
    })
  })
  return { child, talk }
}
