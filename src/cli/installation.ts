/** What the installation says about every recorder, as a file; and YAML files at large. */

import { readFile } from 'node:fs/promises'
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

/** Every document of a file, and every entry of a `List` such as `kubectl get` prints. Rejects with `usage.invalid`. */
export async function documents(file: string, io?: CliIo): Promise<Json[]> {
  let content = ''
  try {
    if (file === '-' && io !== undefined) for await (const chunk of io.stdin) content += String(chunk)
    else content = await readFile(file, 'utf8')
    return (loadAll(content) as Json[]).filter(each => each !== null && each !== undefined).flatMap((each): readonly Json[] => (isObject(each) && each['kind'] === 'List' ? objectsAt(each, 'items') : [each]))
  } catch (cause) {
    throw new StenoError('usage.invalid', `cannot read ${file} as YAML: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}
