/**
 * What the operator costs and how quick it is, on a real API server: how long until every policy is ready, what is written while nothing changes,
 * how long a change of a policy takes until its status speaks of it, and memory at the end and at the worst. The API server shares the machine.
 */

import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { decide } from '../src/inject/decide.ts'
import { parseSettings } from '../src/inject/settings.ts'
import type { KubeClient } from '../src/kube/client.ts'
import { findCondition } from '../src/kube/conditions.ts'
import { numberAt, objectsAt } from '../src/policy/json.ts'
import type { JsonObject } from '../src/policy/json.ts'
import { parsePolicy } from '../src/policy/parse-policy.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer } from '../test/support/kube-apiserver.ts'
import { median, round } from './support/figures.ts'
import { startAsInImage } from './support/image.ts'
import { peakMb, processorUs, residentMb, stopProcess } from './support/processes.ts'

const FULL = { namespaces: 100, policies: 10, pods: 10, changes: 200, idleMs: 60_000 }
const QUICK = { namespaces: 2, policies: 5, pods: 2, changes: 10, idleMs: 2000 }
const AT_ONCE = 8
const INSTALLATION = { image: 'example/steno:1', sink: { claim: 'recordings' } }

export async function runOperateBench({ quick, say }: { readonly quick: boolean; readonly say: (line: string) => void }): Promise<object> {
  const effort = quick ? QUICK : FULL
  const assets = kubeAssets()
  if (assets === undefined) throw new Error('no kube-apiserver: run hack/kubernetes/assets.sh')
  const folder = await mkdtemp(join(tmpdir(), 'steno-bench-'))
  const server = await startApiServer(assets)
  let child: ChildProcess | undefined
  try {
    const { client } = server
    await installCrd(client)
    await createNode(client, 'node-a', 'v1.34.4')
    await createNamespace(client, 'steno-system')
    const names = Array.from({ length: effort.namespaces }, (_, index) => `team-${index}`)
    say(`${effort.namespaces * effort.policies} policies, ${effort.namespaces * effort.policies * effort.pods} pods`)
    await inTurns(names, async namespace => await fill(client, namespace, effort))

    const began = performance.now()
    const { child: operator, admin } = await startOperator(folder, server.kubeconfig)
    child = operator
    const total = names.length * effort.policies
    while ((await readyCount(client)) < total) await wait(100)
    const allReadyS = (performance.now() - began) / 1000
    say(`all ready after ${round(allReadyS)} s`)
    // What the last conditions set off has been looked at by then.
    await wait(2000)
    const before = await writes(admin)
    await wait(effort.idleMs)
    const writesPerIdleMinute = ((await writes(admin)) - before) * (60_000 / effort.idleMs)
    const times: number[] = []
    for (let index = 0; index < effort.changes; index++) times.push(await change(client, names[index % names.length] ?? '', index))
    const sorted = times.toSorted((a, b) => a - b)
    return {
      policies: total,
      pods: total * effort.pods,
      allReadyS: round(allReadyS),
      writesPerIdleMinute: round(writesPerIdleMinute),
      reconcileP50Ms: round(median(times)),
      reconcileP99Ms: round(sorted[Math.floor(sorted.length * 0.99)] ?? sorted.at(-1) ?? Number.NaN),
      rssMb: round(residentMb(operator)),
      peakRssMb: round(peakMb(operator)),
      cpuS: round(processorUs(operator).all / 1e6),
    }
  } finally {
    if (child !== undefined) await stopProcess(child)
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function inTurns<T>(list: readonly T[], work: (each: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    for (let each = list[next++]; each !== undefined; each = list[next++]) await work(each)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

/** Policies that let someone connect, each with pods as the injector would have made them. */
async function fill(client: KubeClient, namespace: string, effort: typeof FULL): Promise<void> {
  await createNamespace(client, namespace)
  const parsedSettings = parseSettings(INSTALLATION, '0.0.0')
  if ('problems' in parsedSettings) throw new Error('the settings of the benchmark are wrong')
  for (let index = 0; index < effort.policies; index++) {
    const app = `app-${index}`
    const body = { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: app }, spec: { selector: { matchLabels: { app } }, access: { connect: [{ group: 'developers' }] } } }
    const stored = parsePolicy(await client.request(`/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies`, { method: 'POST', body }))
    if ('problems' in stored) throw new Error('the policy of the benchmark is wrong')
    for (let pod = 0; pod < effort.pods; pod++) {
      const plain: JsonObject = { apiVersion: 'v1', kind: 'Pod', metadata: { name: `${app}-${pod}`, labels: { app } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080, protocol: 'TCP' }] }] } }
      const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, 16)
      const decision = decide({ pod: plain, namespace: { name: namespace, labels: {}, annotations: {} }, policies: [stored.policy], settings: parsedSettings.settings, oldestNodeMinor: 34, digest })
      await client.request(`/api/v1/namespaces/${namespace}/pods`, { method: 'POST', body: decision.pod })
    }
  }
}

async function startOperator(folder: string, kubeconfig: string): Promise<{ readonly child: ChildProcess; readonly admin: number }> {
  await writeFile(join(folder, 'config.yaml'), JSON.stringify(INSTALLATION))
  const args = ['operate', '--config', 'config.yaml', '--kubeconfig', kubeconfig, '--admin', '127.0.0.1:0', '--drain', '0s']
  const { child, talk } = await startAsInImage(folder, 'operator', args, '"msg":"listening"')
  return { child, admin: Number(/"admin":(\d+)/.exec(talk)?.[1]) }
}

async function readyCount(client: KubeClient): Promise<number> {
  const policies = objectsAt(await client.request('/apis/steno.dev/v1alpha1/sessionpolicies'), 'items')
  return policies.filter(each => findCondition(each, 'Ready')?.['status'] === 'True').length
}

/** Of objects; the lease is renewed by PUT. */
async function writes(admin: number): Promise<number> {
  return sum(await metricsOf(admin), /^rest_client_requests_total\{method="(?:POST|PATCH|DELETE)",code="\d+"\} (\d+)$/gm)
}

async function metricsOf(admin: number): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text()
}

function sum(metrics: string, pattern: RegExp): number {
  return [...metrics.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0)
}

/** @returns ms until every condition of the policy speaks of the change */
async function change(client: KubeClient, namespace: string, index: number): Promise<number> {
  const path = `/apis/steno.dev/v1alpha1/namespaces/${namespace}/sessionpolicies/app-0`
  const changed = await client.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body: { spec: { access: { connect: [{ group: `developers-${index}` }] } } } })
  const began = performance.now()
  const generation = numberAt(changed['metadata'], 'generation')
  for (;;) {
    const conditions = objectsAt((await client.request(path))['status'], 'conditions')
    if (conditions.length >= 8 && conditions.every(each => numberAt(each, 'observedGeneration') === generation)) return performance.now() - began
    await wait(2)
  }
}
