/** The pages that are made from code and definitions. */

import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { load } from 'js-yaml'

import { createProgram } from '../../src/cli/program.ts'
import { isObject } from '../../src/policy/json.ts'
import { chartReference } from './chart.ts'
import { cliReference } from './cli.ts'
import { METRIC_LABELS } from './metric-labels.ts'
import { alertsOf, metricsReference } from './metrics.ts'
import type { Alert } from './metrics.ts'
import { POLICY_EXAMPLES } from './policy-examples.ts'
import { conditionReasons, policyReference } from './policy.ts'
import type { ConditionReasons } from './policy.ts'
import { expositions } from './samples.ts'

const root = join(import.meta.dirname, '../..')

/** Path in the repository → text. */
export async function references(): Promise<Readonly<Record<string, string>>> {
  const definition: unknown = load(await readFile(join(root, 'crds/sessionpolicies.steno.dev.yaml'), 'utf8'))
  if (!isObject(definition)) throw new TypeError('crds/sessionpolicies.steno.dev.yaml is no object')
  const io = { stdin: Readable.from([]), stdout: new PassThrough(), stderr: new PassThrough(), env: {}, signal: new AbortController().signal }
  return {
    'charts/steno/README.md': chartReference(await readFile(join(root, 'charts/steno/values.yaml'), 'utf8')),
    'docs/cli.md': cliReference(createProgram(io, () => {})),
    'docs/metrics.md': metricsReference(await expositions(), await chartAlerts(), METRIC_LABELS),
    'docs/policy.md': policyReference(definition, POLICY_EXAMPLES, await operatorConditions()),
  }
}

export async function chartAlerts(): Promise<Alert[]> {
  return alertsOf(await texts('charts/steno/templates/**/*.yaml'))
}

export async function operatorConditions(): Promise<ConditionReasons[]> {
  const folders = new Set((await names('src/operator/*/*.ts')).map(name => name.replace(/[^/]+$/, '')))
  const [shared = ''] = await texts('src/operator/aws.ts')
  const sources = await Promise.all([...folders].map(async folder => (await texts(`${folder}*.ts`)).join('\n')))
  // What AWS refused is said in the same words by every controller that acts there.
  return conditionReasons(sources.map(text => (/from '\.\.\/aws\.ts'/.test(text) ? `${text}\n${shared}` : text)))
}

async function names(pattern: string): Promise<string[]> {
  const found: string[] = []
  for await (const name of glob(pattern, { cwd: root })) found.push(name)
  return found.sort()
}

async function texts(pattern: string): Promise<string[]> {
  return await Promise.all((await names(pattern)).map(async name => await readFile(join(root, name), 'utf8')))
}
