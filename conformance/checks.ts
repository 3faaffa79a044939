/** What the suite found, and whether two runs found the same. */

import { glob, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export interface Checks {
  readonly scenarios: number
  readonly passed: number
  readonly failed: number
  readonly warnings: number
  readonly infos: number
  readonly skipped: number
}

export interface Found {
  readonly counts: Checks
  /** How often each `scenario: check STATUS` was reported. */
  readonly reported: ReadonlyMap<string, number>
}

export interface Difference {
  readonly scenario: string
  readonly check: string
  readonly status: string
  readonly direct: number
  readonly recorded: number
}

/** The suite names a folder `[server-]<scenario>-<time>`; a scenario may hold a slash. */
const FOLDER = /^(?:server-)?(.+?)-\d{4}-\d\d-\d\dT[\d-]+Z$/

/** @throws when a file of results is not what the suite is known to write */
export async function readChecks(folder: string): Promise<Found> {
  const reported = new Map<string, number>()
  const scenarios = new Set<string>()
  for await (const file of glob('**/checks.json', { cwd: folder })) {
    const scenario = FOLDER.exec(dirname(file))?.[1]
    if (scenario === undefined) throw new Error(`the suite left results in a folder that names no scenario: ${dirname(file)}`)
    scenarios.add(scenario)
    for (const { id, status } of parseChecks(await readFile(join(folder, file), 'utf8'), file)) {
      const key = keyOf(scenario, id, status)
      reported.set(key, (reported.get(key) ?? 0) + 1)
    }
  }
  const count = (wanted: string): number => [...reported].reduce((sum, [key, times]) => sum + (key.endsWith(`\t${wanted}`) ? times : 0), 0)
  return {
    counts: { scenarios: scenarios.size, passed: count('SUCCESS'), failed: count('FAILURE'), warnings: count('WARNING'), infos: count('INFO'), skipped: count('SKIPPED') },
    reported,
  }
}

/** Every (scenario, check, status) that the two runs did not report equally often, by name. */
export function differences(direct: Found, recorded: Found): Difference[] {
  const keys = [...new Set([...direct.reported.keys(), ...recorded.reported.keys()])].sort()
  return keys.flatMap(key => {
    const [scenario = '', check = '', status = ''] = key.split('\t')
    const difference = { scenario, check, status, direct: direct.reported.get(key) ?? 0, recorded: recorded.reported.get(key) ?? 0 }
    return difference.direct === difference.recorded ? [] : [difference]
  })
}

function keyOf(scenario: string, check: string, status: string): string {
  return `${scenario}\t${check}\t${status}`
}

function parseChecks(text: string, file: string): { id: string; status: string }[] {
  const parsed: unknown = JSON.parse(text)
  if (!Array.isArray(parsed)) throw new Error(`${file} holds no list of checks`)
  return parsed.map((check: unknown) => {
    if (typeof check !== 'object' || check === null || !('id' in check) || !('status' in check)) throw new Error(`${file} holds a check without id or status`)
    return { id: String(check.id), status: String(check.status) }
  })
}
