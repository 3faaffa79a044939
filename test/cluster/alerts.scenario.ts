/** Prometheus scrapes every part of the installation, and the chart's alerts fire when their cause is made, and no other. */

import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'

import { expect } from 'chai'
import { dump } from 'js-yaml'

import { objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { CHART, objectsOf } from '../support/helm.ts'
import { freePort } from '../support/kube-apiserver.ts'
import { clusterAws } from './aws.ts'
import type { ClusterAws } from './aws.ts'
import { certificateEndingIn, withoutRight } from './break.ts'
import type { Mend } from './break.ts'
import { callOnce } from './client.ts'
import { apply, helm, INSTALLATION, install, isReady, items, kubectl, nameOf, namespace, needCluster, pods, policy, rolledOut, server, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

/** Instead of the minutes for which a cause must last, or that are looked back over. */
const LASTING_S = 10
const WINDOW_S = 20
const SCRAPE_S = 2
/** So often each part is scraped before it counts that nothing fires. */
const QUIET_SCRAPES = 3
const DAY_MS = 86_400_000
/** With the spool at its smallest, a few of these fill it. */
const LARGE = 1_500_000

interface Alert {
  readonly name: string
  readonly namespace: string | undefined
}

/** A rule of the chart, that takes seconds instead of minutes. */
function quick(rule: JsonObject): JsonObject {
  const expr = (textAt(rule, 'expr') ?? '').replace(/(_seconds\)) > 300$/, `$1 > ${LASTING_S}`).replace('!="200"}[5m]', `!="200"}[${WINDOW_S}s]`)
  return { ...rule, for: '0s', expr }
}

/** What the Prometheus operator makes of a monitor, as far as ours go. Debian's Prometheus finds no pods itself: it is told by a file. */
function scrape(monitor: JsonObject, folder: string): JsonObject {
  const endpoint = endpointOf(monitor)
  return { job_name: nameOf(monitor), honor_labels: endpoint['honorLabels'] === true, metrics_path: textAt(endpoint, 'path') ?? '', file_sd_configs: [{ files: [join(folder, `${nameOf(monitor)}.json`)] }] }
}

function endpointOf(monitor: JsonObject): JsonObject {
  const spec = objectAt(monitor, 'spec')
  return [...objectsAt(spec, 'endpoints'), ...objectsAt(spec, 'podMetricsEndpoints')][0] ?? {}
}

function targets(monitor: JsonObject, running: readonly JsonObject[]): readonly JsonObject[] {
  const spec = objectAt(monitor, 'spec')
  const anywhere = objectAt(spec, 'namespaceSelector')['any'] === true
  return running.flatMap(pod => {
    const { namespace = null, labels = {} } = objectAt(pod, 'metadata')
    if (!anywhere && namespace !== INSTALLATION) return []
    if (!Object.entries(textsAt(objectAt(spec, 'selector'), 'matchLabels')).every(([label, value]) => objectAt({ labels }, 'labels')[label] === value)) return []
    return ['containers', 'initContainers']
      .flatMap(list => objectsAt(pod['spec'], list))
      .flatMap(container => objectsAt(container, 'ports').filter(port => port['name'] === endpointOf(monitor)['port']).map(port => ({ targets: [`${textAt(pod['status'], 'podIP')}:${String(port['containerPort'])}`], labels: { namespace, pod: nameOf(pod), container: textAt(container, 'name') ?? '' } })))
  })
}

describe('alerts of a cluster', function () {
  this.timeout(300_000)
  let aws: ClusterAws
  let ns: Namespace
  let folder: string
  let prometheus: ChildProcess
  let api: string
  let monitors: readonly JsonObject[] = []
  const retarget = async (): Promise<void> => {
    const running = (await items('pods', '--all-namespaces')).filter(pod => textAt(pod['status'], 'phase') === 'Running' && objectAt(pod, 'metadata')['deletionTimestamp'] === undefined)
    for (const each of monitors) {
      const file = join(folder, `${nameOf(each)}.json`)
      await writeFile(`${file}.part`, JSON.stringify(targets(each, running)))
      await rename(`${file}.part`, file)
    }
  }

  const query = async (path: string): Promise<Json> => {
    const answer = (await (await fetch(`${api}${path}`)).json()) as JsonObject
    return answer['data'] ?? null
  }
  const firing = async (): Promise<readonly Alert[]> =>
    objectsAt(await query('/alerts'), 'alerts')
      .filter(each => each['state'] === 'firing')
      .map(each => ({ name: textAt(each['labels'], 'alertname') ?? '', namespace: textAt(each['labels'], 'namespace') }))
  /** These and no others. */
  const alarmed = async (...names: readonly string[]): Promise<readonly Alert[]> => {
    let last: readonly Alert[] = []
    return await until(`exactly ${names.join(', ') || 'no alert'}`, async () => {
      await retarget()
      last = await firing()
      const found = [...new Set(last.map(({ name }) => name))].toSorted()
      if (JSON.stringify(found) !== JSON.stringify(names.toSorted())) throw new Error(`firing: ${JSON.stringify(last)}`)
      return last
    }, 90_000)
  }

  before(async function () {
    needCluster(this)
    try {
      execFileSync('prometheus', ['--version'], { stdio: 'ignore' })
    } catch (error) {
      if (process.env['CI'] === 'true') throw error
      console.log('  skipped, prometheus is missing (Debian package)')
      return this.skip()
    }
    folder = await mkdtemp(join(tmpdir(), 'alerts-'))
    aws = await clusterAws(this)
    this.timeout(300_000)
    await install(aws.values)
    ns = await namespace('alerts')
    await apply(policy(ns.name), ...server(ns.name))
    const objects = objectsOf(await helm('template', 'steno', CHART, '--namespace', INSTALLATION, '--set', 'image.repository=steno', ...['prometheusRule', 'serviceMonitor', 'podMonitor'].flatMap(each => ['--set', `monitoring.${each}.enabled=true`])))
    monitors = objects.filter(each => each['kind'] === 'ServiceMonitor' || each['kind'] === 'PodMonitor')
    await retarget()
    const rules = objects.filter(each => each['kind'] === 'PrometheusRule')
    await writeFile(join(folder, 'rules.yaml'), dump({ groups: rules.flatMap(rule => objectsAt(rule['spec'], 'groups')).map(group => ({ ...group, interval: '1s', rules: objectsAt(group, 'rules').map(quick) })) }))
    await writeFile(
      join(folder, 'prometheus.yaml'),
      dump({
        global: { scrape_interval: `${SCRAPE_S}s`, scrape_timeout: `${SCRAPE_S}s` },
        rule_files: [join(folder, 'rules.yaml')],
        scrape_configs: monitors.map(each => scrape(each, folder)),
      }),
    )
    const port = await freePort()
    prometheus = spawn('prometheus', [`--config.file=${join(folder, 'prometheus.yaml')}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=error'], { stdio: ['ignore', 'ignore', 'inherit'] })
    api = `http://127.0.0.1:${port}/api/v1`
    await until('Prometheus', async () => await query('/alerts'))
    await rolledOut(ns.name)
    await callOnce(await urlOf(ns.name), 'answer', { id: 'quiet' })
    await until('all parts', async () => {
      await retarget()
      const up = objectsAt(await query(`/query?query=${encodeURIComponent(`sum_over_time(up[1m]) >= ${QUIET_SCRAPES}`)}`), 'result').map(each => textAt(each['metric'], 'container'))
      return ['injector', 'operator', 'steno-recorder'].every(name => up.includes(name)) ? true : undefined
    })
  })
  after(async () => {
    aws?.open()
    if (prometheus !== undefined && prometheus.exitCode === null) {
      const ended = once(prometheus, 'exit')
      prometheus.kill('SIGKILL')
      await ended
    }
    await ns?.remove()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })

  it('of injector and operator fire as they lose a right each, and end when they have it again', async () => {
    await alarmed()
    // A certificate that ends soon, and nobody who may renew it.
    const { letRenew } = await certificateEndingIn(3 * DAY_MS)
    const mends: Mend[] = []
    try {
      // The operator fails on a policy, however seldom it still tries.
      mends.push(await withoutRight({ from: ['clusterrole', 'steno-operator'], account: 'steno-operator', group: 'steno.dev', resource: 'sessionpolicies/status', verb: 'patch' }))
      await apply(policy(ns.name, { selector: { matchLabels: { app: 'nobody' } } }, 'idle'))
      mends.push(async () => void (await kubectl(['delete', 'sessionpolicy', 'idle', '-n', ns.name, '--wait=false'])))
      await alarmed('StenoInjectorCertificateExpires', 'StenoOperatorFails')

      // The injector may not list policies any more: a replica that is made now never sees them.
      mends.push(await withoutRight({ from: ['clusterrole', 'steno-injector'], account: 'steno-injector', group: 'steno.dev', resource: 'sessionpolicies', verb: 'list' }))
      const [injector = {}] = (await pods(INSTALLATION, 'app.kubernetes.io/component=injector')).filter(isReady)
      await kubectl(['delete', 'pod', nameOf(injector), '-n', INSTALLATION, '--wait=false'])
      // It may not look at the pod to which somebody connects either.
      mends.push(await withoutRight({ from: ['clusterrole', 'steno-injector'], account: 'steno-injector', group: '', resource: 'pods', verb: 'get' }))
      const [pod = {}] = await pods(ns.name)
      let enough = false
      const connecting = (async () => {
        while (!enough) await kubectl(['exec', nameOf(pod), '-n', ns.name, '-c', 'server', '--', '/usr/bin/node', '--version']).catch(() => undefined)
      })()
      try {
        await alarmed('StenoBlind', 'StenoInjectorCertificateExpires', 'StenoInjectorFails', 'StenoOperatorFails')
      } finally {
        enough = true
        await connecting
      }
    } finally {
      // What takes longest to be well again first.
      await letRenew()
      for (const mend of mends.toReversed()) await mend()
    }
    await alarmed()
  })

  it('fire one after the other as their causes come and go, with every part scraped', async () => {
    const url = await urlOf(ns.name)
    await alarmed()

    // A pod that was there before its policy.
    await apply(...server(ns.name, 'early', { labels: { 'app.kubernetes.io/component': 'early' } }))
    await rolledOut(ns.name, 'early')
    await apply({ ...policy(ns.name, {}, 'late'), spec: { selector: { matchLabels: { app: 'early' } } } })
    expect(await alarmed('StenoPodsMissing')).to.deep.equal([{ name: 'StenoPodsMissing', namespace: ns.name }])
    await kubectl(['rollout', 'restart', 'deployment/early', '-n', ns.name])
    await alarmed()

    // Nobody operates.
    await kubectl(['scale', 'deployment/steno-operator', '-n', INSTALLATION, '--replicas=0'])
    await alarmed('StenoNobodyOperates')
    await kubectl(['scale', 'deployment/steno-operator', '-n', INSTALLATION, '--replicas=2'])
    await alarmed()

    // Nothing can be shipped; then the spool is full.
    aws.shut()
    await callOnce(url, 'answer', { id: 'unshipped' })
    expect(await alarmed('StenoUnshipped')).to.deep.equal([{ name: 'StenoUnshipped', namespace: ns.name }])
    await until('a call that is refused', async () => {
      const text = await callOnce(url, 'answer', { id: randomBytes(LARGE).toString('base64') }).catch((error: unknown) => String(error))
      return text.startsWith('answer-') ? undefined : text
    }, 120_000)
    // What was refused is missing from the recording.
    await alarmed('StenoBlocked', 'StenoGaps', 'StenoUnshipped')
    aws.open()
    await alarmed('StenoBlocked', 'StenoGaps')
    expect(objectAt(objectsAt(await query('/query?query=steno_spool_bytes'), 'result')[0] ?? {}, 'metric')).to.have.property('namespace')
  })
})
