/** `steno doctor`, as an admin runs it: a sound installation, and each thing that is broken on purpose. */

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { expect } from 'chai'

import type { Finding } from '../../src/cli/doctor/check.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { STATIC_KEYS } from '../support/aws/double.ts'
import { awsEnvironment } from '../support/aws/environment.ts'
import { owner, RIGHT } from '../support/aws/owner.ts'
import type { Owner } from '../support/aws/owner.ts'
import { doctorRole } from '../support/installation.ts'
import { clusterAws } from './aws.ts'
import type { ClusterAws } from './aws.ts'
import { certificateEndingIn, patch } from './break.ts'
import type { Mend } from './break.ts'
import { apply, get, IMAGE, INSTALLATION, install, kubectl, namespace, needCluster, policy, rolledOut, server, until } from './cluster.ts'
import type { Namespace } from './cluster.ts'

const PROGRAM = fileURLToPath(new URL('../../steno', import.meta.url))
const STREAM = 'doctor'
const KEYS = { AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret }
const DAY_MS = 86_400_000
/** Only pods of the cluster can see what the injector shows. */
const SOUND = { 'injector.answers': 'note' }

interface Seen {
  readonly code: number
  readonly findings: readonly Finding[]
}

interface Breakage {
  readonly what: string
  readonly break: () => Promise<Mend>
  /** What is told besides SOUND; what only follows from it names one of these. */
  readonly says: Readonly<Record<string, string>>
  readonly found: readonly [id: string, found: RegExp]
  readonly change: RegExp
}

describe('steno doctor in a cluster', function () {
  this.timeout(180_000)
  let aws: ClusterAws
  let hands: Owner
  let ns: Namespace

  before(async function () {
    needCluster(this)
    aws = await clusterAws(this)
    this.timeout(300_000)
    hands = owner(aws.service.endpoint)
    await hands.makeBucket()
    await hands.makeStream(STREAM, RIGHT)
    await install([...aws.values, `recorder.sink.firehose.stream=${STREAM}`])
    ns = await namespace('doctor')
    await apply(policy(ns.name), ...server(ns.name), ...server(ns.name, 'early', { labels: { 'app.kubernetes.io/component': 'early' } }))
    await rolledOut(ns.name)
    await rolledOut(ns.name, 'early')
  })
  after(async () => {
    if (ns !== undefined) await kubectl(['delete', '-f', '-', '--ignore-not-found'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: account() }))
    await ns?.remove()
    hands?.close()
  })

  const seenIn = (code: number, out: string, err: string): Seen => {
    if (!out.includes('{')) throw new Error(err)
    return { code, findings: out.split('\n').filter(line => line.startsWith('{')).map(line => JSON.parse(line) as Finding) }
  }
  const doctor = async (...argv: readonly string[]): Promise<Seen> => {
    const { PATH = '', HOME = '', KUBECONFIG = '' } = process.env
    return await new Promise((resolve, reject) => {
      execFile(PROGRAM, ['doctor', '-n', ns.name, '-o', 'jsonl', ...argv], { env: { PATH, HOME, KUBECONFIG, ...awsEnvironment(KEYS) } }, (error, out, err) => {
        try {
          resolve(seenIn(typeof error?.code === 'number' ? error.code : 0, out, err))
        } catch (failed) {
          reject(failed instanceof Error ? failed : new Error(String(failed)))
        }
      })
    })
  }
  /** Name and state of all that is not as it should be, without what only follows from something else. */
  const told = ({ findings }: Seen): Readonly<Record<string, string>> => Object.fromEntries(findings.filter(({ state, see }) => state !== 'ok' && see === undefined).map(({ id, state }) => [id, state]))
  const saying = async (expected: Readonly<Record<string, string>>, look = doctor): Promise<Seen> =>
    await until(`a doctor that says ${JSON.stringify(expected)}`, async () => {
      const seen = await look()
      expect(told(seen), JSON.stringify(seen.findings.filter(({ state }) => state !== 'ok'))).to.deep.equal(expected)
      return seen
    })

  it('says of a sound installation that nothing is wrong', async () => {
    const { code, findings } = await saying(SOUND)
    expect(code).to.equal(0)
    expect(findings.filter(({ see }) => see !== undefined)).to.deep.equal([])
    const found = Object.fromEntries(findings.map(each => [each.id, each.found]))
    expect(found).to.include({ 'pods.recorded': '1 pod with a recorder', 'injector.dry-run': 'in 1 dry run', streams: `${STREAM} in us-east-1` })
    expect(found['injector.replicas']).to.match(/^([1-9]) of \1 replicas of steno-injector in steno-system are ready$/)
  })

  const BREAKAGES: readonly Breakage[] = [
    {
      what: 'an injector without replicas',
      break: async () => {
        const { replicas = 1 } = objectAt(await get('deployment', 'steno-injector', '-n', INSTALLATION), 'spec')
        const scale = async (to: string): Promise<void> => void (await kubectl(['scale', 'deployment/steno-injector', '-n', INSTALLATION, `--replicas=${to}`]))
        await scale('0')
        return async () => await scale(String(replicas))
      },
      says: { 'injector.replicas': 'problem' },
      found: ['injector.replicas', /^0 of 0 replicas/],
      change: /^kubectl -n steno-system scale deployment steno-injector --replicas/,
    },
    {
      what: 'a Service that leads nowhere',
      break: async () => {
        const selector = { 'app.kubernetes.io/component': 'injector' }
        await patch(['service', 'steno-injector'], { spec: { selector: { 'app.kubernetes.io/component': 'nobody' } } })
        return async () => await patch(['service', 'steno-injector'], { spec: { selector } })
      },
      says: { 'injector.endpoints': 'problem' },
      found: ['injector.endpoints', /^Service steno-injector of steno-system leads to no ready pod/],
      change: /compare its selector with the labels of the pods/,
    },
    {
      what: 'a certificate that has ended',
      break: async () => {
        const { putBack } = await certificateEndingIn(-DAY_MS)
        // Those that are made anew take it up at once.
        await kubectl(['delete', 'pods', '-n', INSTALLATION, '-l', 'app.kubernetes.io/component=injector', '--wait=false'])
        await until('an injector that is not ready', async () => (objectAt(await get('deployment', 'steno-injector', '-n', INSTALLATION), 'status')['readyReplicas'] === undefined ? true : undefined))
        return putBack
      },
      says: { 'certificate.valid': 'problem' },
      found: ['certificate.valid', /^it ended 2/],
      change: /see why nobody renews it: the injector's log/,
    },
    {
      what: 'a policy without pods',
      break: async () => {
        await apply(policy(ns.name, { selector: { matchLabels: { app: 'nobody' } } }, 'idle'))
        return async () => void (await kubectl(['delete', 'sessionpolicy', 'idle', '-n', ns.name]))
      },
      says: { 'policies.pods': 'note' },
      found: ['policies.pods', /^1 policy without a pod that runs: doctor-\w+\/idle$/],
      change: /compare the selector with kubectl get pods --show-labels/,
    },
    {
      what: 'a pod that was there before its policy',
      break: async () => {
        await apply(policy(ns.name, { selector: { matchLabels: { app: 'early' } } }, 'late'))
        // As it says.
        return async () => void (await kubectl(['rollout', 'restart', 'deployment/early', '-n', ns.name]))
      },
      says: { 'pods.recorded': 'problem' },
      found: ['pods.recorded', /^1 pod without a recorder; created before their policy: doctor-\w+\/early-/],
      change: /^restart their owners \(kubectl rollout restart/,
    },
    {
      what: 'a stream that does not exist',
      break: async () => {
        await hands.removeStream(STREAM)
        return async () => await hands.makeStream(STREAM, RIGHT)
      },
      says: { 'stream.read': 'problem' },
      found: ['stream.read', /^doctor in us-east-1: there is no such stream in us-east-1/],
      change: /check name, region and account/,
    },
    {
      what: 'a stream that compresses, and buffers hardly anything',
      break: async () => {
        await hands.removeStream(STREAM)
        await hands.makeStream(STREAM, { ...RIGHT, CompressionFormat: 'GZIP', BufferingHints: { IntervalInSeconds: 0, SizeInMBs: 1 } })
        return async () => {
          await hands.removeStream(STREAM)
          await hands.makeStream(STREAM, RIGHT)
        }
      },
      says: { 'stream.compression': 'problem', 'stream.buffering': 'note' },
      found: ['stream.compression', /^doctor in us-east-1: CompressionFormat is GZIP$/],
      change: /^set CompressionFormat to UNCOMPRESSED$/,
    },
  ]
  for (const { what, break: breakIt, says, found: [id, found], change } of BREAKAGES) {
    it(`names ${what}, and what to change; and says that all is well when it is mended`, async () => {
      const mend = await breakIt()
      try {
        const { code, findings } = await saying({ ...SOUND, ...says })
        expect(code).to.equal(Object.values(says).includes('problem') ? 1 : 0)
        const finding = findings.find(each => each.id === id)
        expect(finding?.found).to.match(found)
        expect(finding?.change).to.match(change)
        // What hangs on it names it, and nothing else.
        expect(findings.flatMap(({ see }) => see ?? []).filter(each => each !== id)).to.deep.equal([])
      } finally {
        await mend()
      }
      expect((await saying(SOUND)).code).to.equal(0)
    })
  }

  /** hack/doctor/role.yaml, for an account of its own. */
  const account = (): readonly JsonObject[] => {
    const metadata = { name: 'steno-doctor', namespace: INSTALLATION }
    const subjects = [{ kind: 'ServiceAccount', ...metadata }]
    const bound = (kind: string): JsonObject => ({ apiVersion: 'rbac.authorization.k8s.io/v1', kind: `${kind}Binding`, metadata, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: 'steno-doctor' }, subjects })
    return [...objectsAt(doctorRole(), 'items'), bound('ClusterRole'), bound('Role'), { apiVersion: 'v1', kind: 'ServiceAccount', metadata }]
  }
  /** In a pod, by the image, with the rights of hack/doctor/role.yaml. */
  const inPod = async (): Promise<Seen> => {
    const ip = textAt((await get('service', 'steno-injector', '-n', INSTALLATION))['spec'], 'clusterIP') ?? ''
    const name = `steno-doctor-${Math.random().toString(36).slice(2, 7)}`
    // The cluster may be one without DNS.
    const hostAliases = [{ ip, hostnames: [`steno-injector.${INSTALLATION}.svc`] }]
    const env = Object.entries(awsEnvironment(KEYS)).map(([variable, value]) => ({ name: variable, value }))
    await apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: INSTALLATION }, spec: { serviceAccountName: 'steno-doctor', restartPolicy: 'Never', hostAliases, containers: [{ name: 'doctor', image: IMAGE, args: ['doctor', '-n', ns.name, '-o', 'jsonl'], env }] } })
    try {
      const ended = await until('its end', async () => objectsAt((await get('pod', name, '-n', INSTALLATION))['status'], 'containerStatuses').map(each => objectAt(objectAt(each, 'state'), 'terminated')).find(each => typeof each['exitCode'] === 'number'))
      const log = await kubectl(['logs', name, '-n', INSTALLATION])
      return seenIn(Number(ended['exitCode']), log, log)
    } finally {
      await kubectl(['delete', 'pod', name, '-n', INSTALLATION, '--wait=false'])
    }
  }

  it('sees from a pod too, with the rights of hack/doctor/role.yaml, when the injector does not answer', async () => {
    await apply(...account())
    expect((await saying({}, inPod)).code).to.equal(0)
    const ports = (target: string): JsonObject => ({ spec: { ports: [{ name: 'webhook', port: 443, targetPort: target, protocol: 'TCP' }, { name: 'admin', port: 15090, targetPort: 'admin', protocol: 'TCP' }] } })
    await patch(['service', 'steno-injector'], ports('admin'))
    try {
      const { findings } = await saying({ 'injector.answers': 'problem' }, inPod)
      // The API server may still have connections from before, so that a dry run comes out recorded.
      expect(findings.find(each => each.id === 'injector.answers')).to.deep.include({ state: 'problem', change: 'look at its pods and their log, its Service, and NetworkPolicies before it' })
    } finally {
      await patch(['service', 'steno-injector'], ports('webhook'))
    }
    await saying({}, inPod)
  })
})
