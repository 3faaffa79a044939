/**
 * What injection costs, through a real API server: pods created (as server-side dry runs, so that etcd is not what is measured) with the
 * webhook and without, in turns. Throughput is taken as fast as it goes, latencies at 100 pods/s. Figures are medians over rounds; client, API server and webhook share the machine, so quote differences.
 */

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import type { KubeClient } from '../src/kube/client.ts'
import type { JsonObject } from '../src/policy/json.ts'
import { textsAt } from '../src/policy/json.ts'
import { createAuthority } from '../test/support/certificate.ts'
import { createNamespace, createNode, installCrd, kubeAssets, startApiServer, until } from '../test/support/kube-apiserver.ts'
import { installWebhooks } from '../test/support/webhook.ts'
import { median, round } from './support/figures.ts'
import { residentMb, stopProcess } from './support/processes.ts'

const FULL = { namespaces: 500, policies: 200, pods: 10_000, rounds: 5 }
const QUICK = { namespaces: 5, policies: 2, pods: 200, rounds: 1 }
const AT_ONCE = 16
const STEADY_PER_SECOND = 100
const CONFIGURATIONS = ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations']

interface Injector {
  readonly port: number
  readonly admin: number
  readonly child: ChildProcess
}

export async function runInjectBench({ quick, say }: { readonly quick: boolean; readonly say: (line: string) => void }): Promise<object> {
  const effort = quick ? QUICK : FULL
  const assets = kubeAssets()
  if (assets === undefined) throw new Error('no kube-apiserver: run hack/kubernetes/assets.sh')
  const folder = await mkdtemp(join(tmpdir(), 'steno-bench-'))
  const server = await startApiServer(assets)
  let injector: Injector | undefined
  try {
    const { client } = server
    await installCrd(client)
    await createNode(client, 'node-a', 'v1.34.4')
    say(`${effort.namespaces} namespaces, ${effort.policies} policies`)
    for (let index = 0; index < effort.namespaces; index++) await createNamespace(client, `team-${index}`)
    for (let index = 0; index < effort.policies; index++) {
      const body = { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools' }, spec: { selector: { matchLabels: { app: 'server' } } } }
      await client.request(`/apis/steno.dev/v1alpha1/namespaces/team-${index}/sessionpolicies`, { method: 'POST', body })
    }
    const authority = createAuthority()
    injector = await startInjector(folder, server.kubeconfig, authority.issue(['127.0.0.1']))
    const { port, child } = injector
    const perRound = Math.ceil(effort.pods / effort.rounds)
    const rounds: { readonly bare: Figures; readonly injected: Figures }[] = []
    for (let index = 0; index < effort.rounds; index++) {
      const bare = await loads(client, perRound, effort.policies, false)
      await installWebhooks(client, { port, authority })
      await until(async () => isRecorded(await create(client, 0)))
      const injected = await loads(client, perRound, effort.policies, true)
      for (const kind of CONFIGURATIONS) await client.request(`/apis/admissionregistration.k8s.io/v1/${kind}/steno-injector`, { method: 'DELETE' })
      await until(async () => !isRecorded(await create(client, 0)))
      rounds.push({ bare, injected })
      say(`round ${index + 1}: ${round(bare.perSecond)} pods/s without, ${round(injected.perSecond)} with; P99 ${round(bare.p99Ms)} and ${round(injected.p99Ms)} ms`)
    }
    const metrics = await (await fetch(`http://127.0.0.1:${injector.admin}/metrics`)).text()
    return {
      pods: perRound * effort.rounds,
      podsPerSecondPerReplica: round(median(rounds.map(each => each.injected.perSecond))),
      podsPerSecondWithout: round(median(rounds.map(each => each.bare.perSecond))),
      serverP99Ms: round(quantileMs(metrics, '/mutate-pod', 0.99)),
      addedP50Ms: round(median(rounds.map(each => each.injected.p50Ms - each.bare.p50Ms))),
      addedP99Ms: round(median(rounds.map(each => each.injected.p99Ms - each.bare.p99Ms))),
      residentMb: round(residentMb(child)),
    }
  } finally {
    if (injector !== undefined) await stopProcess(injector.child)
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function startInjector(folder: string, kubeconfig: string, pair: { readonly cert: string; readonly key: string }): Promise<Injector> {
  for (const [name, content] of [['tls.crt', pair.cert], ['tls.key', pair.key], ['config.yaml', 'image: example/steno:1\nsink: {claim: recordings}\n']] as const) await writeFile(join(folder, name), content)
  const args = ['inject', '--config', 'config.yaml', '--certificate', 'tls.crt', '--key', 'tls.key', '--kubeconfig', kubeconfig, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--drain', '0s']
  const child = spawn(process.execPath, [join(import.meta.dirname, '../src/main.ts'), ...args], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  let talk = ''
  await new Promise<void>((resolve, reject) => {
    child.once('exit', code => reject(new Error(`steno inject ended with ${String(code)}: ${talk}`)))
    child.stderr.on('data', (chunk: Buffer) => {
      talk = (talk + chunk.toString()).slice(-4000)
      if (talk.includes('ready: policies')) resolve()
    })
  })
  const [, port, admin] = /"port":(\d+),"admin":(\d+)/.exec(talk) ?? []
  return { port: Number(port), admin: Number(admin), child }
}

interface Figures {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** As fast as it goes, which tells the limit; then at a steady rate, which tells what one pod waits for. */
async function loads(client: KubeClient, pods: number, namespaces: number, recorded: boolean): Promise<Figures> {
  const times: number[] = []
  const one = async (index: number): Promise<void> => {
    const began = performance.now()
    if (isRecorded(await create(client, index % namespaces)) !== recorded) throw new Error(`a pod came out ${recorded ? 'without' : 'with'} a recorder`)
    times.push(performance.now() - began)
  }
  let next = 0
  const from = performance.now()
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < pods) await one(next++)
    }),
  )
  const perSecond = (pods * 1000) / (performance.now() - from)
  times.length = 0
  const steady: Promise<void>[] = []
  for (let index = 0; index < pods / 5; index++) {
    steady.push(one(index))
    await wait(1000 / STEADY_PER_SECOND)
  }
  await Promise.all(steady)
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { perSecond, p50Ms: at(0.5), p99Ms: at(0.99) }
}

async function create(client: KubeClient, namespace: number): Promise<JsonObject> {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'server-', labels: { app: 'server' } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }], livenessProbe: { httpGet: { path: '/', port: 'mcp' } } }] } }
  return await client.request(`/api/v1/namespaces/team-${namespace}/pods?dryRun=All`, { method: 'POST', body: pod })
}

function isRecorded(pod: JsonObject): boolean {
  return textsAt(pod['metadata'], 'labels')['steno.dev/recorded'] === 'true'
}

/** From the buckets of `steno_admission_seconds`, as Prometheus' histogram_quantile does. */
function quantileMs(metrics: string, path: string, share: number): number {
  const buckets = [...metrics.matchAll(/^steno_admission_seconds_bucket\{([^}]*)\} (\d+)$/gm)].filter(([, labels]) => labels?.includes(`path="${path}"`) === true).map(([, labels = '', count]) => ({ le: Number(/le="([^"]+)"/.exec(labels)?.[1]?.replace('+Inf', 'Infinity')), count: Number(count) }))
  const wanted = share * (buckets.at(-1)?.count ?? 0)
  const index = buckets.findIndex(({ count }) => count >= wanted)
  const [below, above] = [buckets[index - 1] ?? { le: 0, count: 0 }, buckets[index]]
  if (above === undefined) return Number.NaN
  return 1000 * (below.le + ((above.le - below.le) * (wanted - below.count)) / (above.count - below.count))
}
