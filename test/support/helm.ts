/** The real helm, on the chart that is shipped. Where it comes from: `hack/kubernetes/helm.sh`. */

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { loadAll } from 'js-yaml'

import { isObject } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'

export const CHART = fileURLToPath(new URL('../../charts/steno', import.meta.url))

export interface Helm {
  /** Standard output; throws with what it said when it fails. */
  run(args: readonly string[]): string
}

/** In CI it must be there; elsewhere undefined says that the tests are to be skipped. */
export function findHelm(): Helm | undefined {
  let program: string
  try {
    program = execFileSync(fileURLToPath(new URL('../../hack/kubernetes/helm.sh', import.meta.url)), ['--find'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  } catch (error) {
    const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr).trim() : String(error)
    if (process.env['CI'] === 'true') throw new Error(stderr, { cause: error })
    console.log(`  skipped, helm is missing: ${stderr}`)
    return undefined
  }
  return {
    run: args => {
      // Nothing of the person's own settings, and nothing left behind.
      const home = mkdtempSync(join(tmpdir(), 'helm-'))
      try {
        const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 60_000, env: { PATH: process.env['PATH'] ?? '', HOME: home, HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home } })
        if (status !== 0) throw new Error(`helm ${args[0]} ended with ${String(status)}: ${stdout}${stderr}`)
        return stdout
      } finally {
        rmSync(home, { recursive: true, force: true })
      }
    },
  }
}

/** What the chart makes of a file of values, as text. */
export function render(helm: Helm, values: string, ...more: readonly string[]): string {
  return helm.run(['template', 'steno', CHART, '--namespace', 'steno-system', '--values', join(CHART, 'ci', values), ...more])
}

export function objectsOf(yaml: string): readonly JsonObject[] {
  return loadAll(yaml).filter(isObject)
}
