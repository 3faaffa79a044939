/**
 * What injection costs, through a real API server: pods created (as server-side dry runs, so that etcd is not what is measured) with the
 * webhook and without, in turns. Throughput is taken as fast as it goes. Latencies are taken at 50 pods/s, below what any part can do: at the limit they
 * tell how long the queue is, and who is at its front is the kernel's choice, since client, API server, etcd and webhook share the machine's cores.
 * Arrivals follow the clock, not the answers, and a pod's time counts from when it was due. Figures are medians over rounds; quote differences.
 */

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
import { startAsInImage } from './support/image.ts'
import { processorUs, residentMb, stopProcess } from './support/processes.ts'

const FULL = { namespaces: 500, policies: 200, pods: 10_000, rounds: 5 }
const QUICK = { namespaces: 5, policies: 2, pods: 200, rounds: 1 }
const AT_ONCE = 16
const STEADY_PER_SECOND = 50
/** Taken before anything is measured: programs that have just started compile what they run. */
const WARM_UP = 500
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
    const { port, admin, child } = injector
    const perRound = Math.ceil(effort.pods / effort.rounds)
    const rounds: { readonly bare: Figures; readonly injected: Figures }[] = []
    const atLimit: Reviews[] = []
    const steadily: Reviews[] = []
    const cpuMs: number[] = []
    const reviews = async (): Promise<Reviews> => reviewsOf(await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text(), '/mutate-pod')
    await installWebhooks(client, { port, authority })
    await until(async () => isRecorded(await create(client, 0)))
    await asFastAsPossible(WARM_UP, async index => void (await create(client, index % effort.policies)))
    await removeWebhooks(client)
    for (let index = 0; index < effort.rounds; index++) {
      const bare = { perSecond: await throughput(client, perRound, effort.policies, false), ...(await latencies(client, perRound, effort.policies, false)) }
      await installWebhooks(client, { port, authority })
      await until(async () => isRecorded(await create(client, 0)))
      const before = { reviews: await reviews(), cpuUs: processorUs(child).all }
      const perSecond = await throughput(client, perRound, effort.policies, true)
      const between = await reviews()
      cpuMs.push((processorUs(child).all - before.cpuUs) / 1000 / perRound)
      const injected = { perSecond, ...(await latencies(client, perRound, effort.policies, true)) }
      atLimit.push(since(before.reviews, between))
      steadily.push(since(between, await reviews()))
      await removeWebhooks(client)
      rounds.push({ bare, injected })
      say(`round ${index + 1}: ${round(bare.perSecond)} pods/s without, ${round(injected.perSecond)} with; P99 ${round(bare.p99Ms)} and ${round(injected.p99Ms)} ms`)
    }
    return {
      pods: perRound * effort.rounds,
      podsPerSecondPerReplica: round(median(rounds.map(each => each.injected.perSecond))),
      podsPerSecondWithout: round(median(rounds.map(each => each.bare.perSecond))),
      steadyPerSecond: STEADY_PER_SECOND,
      serverP99Ms: round(median(steadily.map(each => quantileMs(each, 0.99)))),
      serverP99MsAtLimit: round(median(atLimit.map(each => quantileMs(each, 0.99)))),
      addedP50Ms: round(median(rounds.map(each => each.injected.p50Ms - each.bare.p50Ms))),
      addedP99Ms: round(median(rounds.map(each => each.injected.p99Ms - each.bare.p99Ms))),
      injectorCpuMsPerPod: round(median(cpuMs)),
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
  const { child, talk } = await startAsInImage(folder, 'injector', args, 'ready: policies')
  const [, port, admin] = /"port":(\d+),"admin":(\d+)/.exec(talk) ?? []
  return { port: Number(port), admin: Number(admin), child }
}

interface Figures {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

async function asFastAsPossible(pods: number, one: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < pods) await one(next++)
    }),
  )
}

async function checked(client: KubeClient, namespace: number, recorded: boolean): Promise<void> {
  if (isRecorded(await create(client, namespace)) !== recorded) throw new Error(`a pod came out ${recorded ? 'without' : 'with'} a recorder`)
}

/** @returns pods a second */
async function throughput(client: KubeClient, pods: number, namespaces: number, recorded: boolean): Promise<number> {
  const from = performance.now()
  await asFastAsPossible(pods, async index => await checked(client, index % namespaces, recorded))
  return (pods * 1000) / (performance.now() - from)
}

/** At a steady rate, a fifth of the pods. */
async function latencies(client: KubeClient, pods: number, namespaces: number, recorded: boolean): Promise<Omit<Figures, 'perSecond'>> {
  const times: number[] = []
  const began = performance.now()
  const under: Promise<void>[] = []
  for (let index = 0; index < pods / 5; index++) {
    const dueMs = began + (index * 1000) / STEADY_PER_SECOND
    await wait(Math.max(0, dueMs - performance.now()))
    under.push(checked(client, index % namespaces, recorded).then(() => void times.push(performance.now() - dueMs)))
  }
  await Promise.all(under)
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { p50Ms: at(0.5), p99Ms: at(0.99) }
}

async function removeWebhooks(client: KubeClient): Promise<void> {
  for (const kind of CONFIGURATIONS) await client.request(`/apis/admissionregistration.k8s.io/v1/${kind}/steno-injector`, { method: 'DELETE' })
  await until(async () => !isRecorded(await create(client, 0)))
}

async function create(client: KubeClient, namespace: number): Promise<JsonObject> {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'server-', labels: { app: 'server' } }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }], livenessProbe: { httpGet: { path: '/', port: 'mcp' } } }] } }
  return await client.request(`/api/v1/namespaces/team-${namespace}/pods?dryRun=All`, { method: 'POST', body: pod })
}

function isRecorded(pod: JsonObject): boolean {
  return textsAt(pod['metadata'], 'labels')['steno.dev/recorded'] === 'true'
}

/** How many reviews took at most so long, by seconds; each bucket holds those below it. */
type Reviews = readonly { readonly le: number; readonly count: number }[]

/** The buckets of `steno_admission_seconds`. */
function reviewsOf(metrics: string, path: string): Reviews {
  return [...metrics.matchAll(/^steno_admission_seconds_bucket\{([^}]*)\} (\d+)$/gm)]
    .filter(([, labels]) => labels?.includes(`path="${path}"`) === true)
    .map(([, labels = '', count]) => ({ le: Number(/le="([^"]+)"/.exec(labels)?.[1]?.replace('+Inf', 'Infinity')), count: Number(count) }))
}

function since(before: Reviews, after: Reviews): Reviews {
  return after.map(({ le, count }, index) => ({ le, count: count - (before[index]?.count ?? 0) }))
}

/** As Prometheus' histogram_quantile does. */
function quantileMs(buckets: Reviews, share: number): number {
  const wanted = share * (buckets.at(-1)?.count ?? 0)
  const index = buckets.findIndex(({ count }) => count >= wanted)
  const [below, above] = [buckets[index - 1] ?? { le: 0, count: 0 }, buckets[index]]
  if (above === undefined) return Number.NaN
  return 1000 * (below.le + ((above.le - below.le) * (wanted - below.count)) / (above.count - below.count))
}
