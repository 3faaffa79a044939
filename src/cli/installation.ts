/** What the installation says about every recorder, as a file; and YAML files at large. */

import { createReadStream } from 'node:fs'

import { loadAll } from 'js-yaml'

import { StenoError } from '../errors.ts'
import { parseSettings } from '../inject/settings.ts'
import type { InjectorSettings } from '../inject/settings.ts'
import { isObject, objectsAt } from '../policy/json.ts'
import type { Json } from '../policy/json.ts'
import { problemText } from '../policy/problem.ts'
import type { CliIo } from './io.ts'
import { version } from './version.ts'

/** Rejects with `config.invalid` or `usage.invalid`. */
export async function readSettings(file: string): Promise<InjectorSettings> {
  return settingsOf((await documents(file))[0], file)
}

/** @param file to name when something is wrong */
export function settingsOf(document: unknown, file: string): InjectorSettings {
  const parsed = parseSettings(document, version())
  if ('problems' in parsed) throw new StenoError('config.invalid', `${file}: ${parsed.problems.map(problemText).join('; ')}`)
  return parsed.settings
}

/** Manifests of a cluster are far smaller: it keeps no object above 1.5 MiB. */
const MAX_BYTES = 8 * 1024 * 1024
/** Of all documents of a file. A few lines of aliases of aliases become billions. */
const MAX_VALUES = 1_000_000
/** What a file may nest by itself is less. */
const MAX_DEPTH = 1000

/** Every document of a file, and every entry of a `List` such as `kubectl get` prints. Rejects with `usage.invalid`. */
export async function documents(file: string, io?: CliIo): Promise<Json[]> {
  try {
    const found = loadAll(await textOf(file, io)) as Json[]
    if (countValues(found, MAX_VALUES) > MAX_VALUES) throw new Error(`with its aliases it has more than ${MAX_VALUES} values`)
    return found.filter(each => each !== null && each !== undefined).flatMap((each): readonly Json[] => (isObject(each) && each['kind'] === 'List' ? objectsAt(each, 'items') : [each]))
  } catch (cause) {
    throw new StenoError('usage.invalid', `cannot read ${file} as YAML: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

async function textOf(file: string, io: CliIo | undefined): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  const source: AsyncIterable<unknown> = file === '-' && io !== undefined ? io.stdin : createReadStream(file)
  for await (const chunk of source) {
    const part = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk))
    parts.push(part)
    bytes += part.length
    if (bytes > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES / 1024 / 1024} MiB; give the objects in several files`)
  }
  return Buffer.concat(parts, bytes).toString('utf8')
}

/** Everything in it, aliases as often as they stand. Stops soon after `most`. Throws when an alias holds itself. */
function countValues(value: Json | undefined, most: number, depth = 0): number {
  if (depth > MAX_DEPTH) throw new Error('an alias holds itself')
  let count = 1
  const inner = Array.isArray(value) ? value : isObject(value) ? Object.values(value) : []
  for (const each of inner) {
    if (count > most) return count
    count += countValues(each as Json | undefined, most - count, depth + 1)
  }
  return count
}
