/** Whatever dies while calls are made: every answer that a client got is in the bucket, once. */

import { expect } from 'chai'
import { setTimeout as wait } from 'node:timers/promises'

import { steno } from '../support/cli.ts'
import { BUCKET, STATIC_KEYS } from '../support/aws/double.ts'
import { setAwsEnvironment } from '../support/aws/environment.ts'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clusterAws } from './aws.ts'
import type { ClusterAws } from './aws.ts'
import { steadyClient } from './client.ts'
import type { SteadyClient } from './client.ts'
import { apply, install, killContainer, kubectl, nameOf, namespace, needCluster, node, pods, policy, rolledOut, server, until, urlOf } from './cluster.ts'
import type { Namespace } from './cluster.ts'

const SINK_DOWN_S = 60
const KUBELET_DOWN_S = 10
const SHIPPED_WITHIN_MS = 60_000

describe('recordings in a cluster in which things die', function () {
  this.timeout(300_000)
  let aws: ClusterAws
  let ns: Namespace
  let url: string
  const onlyPod = async (): Promise<string> => await until('one pod', async () => {
    const all = await pods(ns.name)
    return all.length === 1 && all[0] !== undefined ? nameOf(all[0]) : undefined
  })

  before(async function () {
    needCluster(this)
    aws = await clusterAws(this)
    this.timeout(300_000)
    await install(aws.values)
    ns = await namespace('kills')
    await apply(policy(ns.name), ...server(ns.name))
    await rolledOut(ns.name)
    url = await urlOf(ns.name)
  })
  after(async () => {
    aws?.open()
    await ns?.remove()
  })

  const more = async (client: SteadyClient, count = 20): Promise<void> => {
    const from = client.answered.length
    await until(`${count} more answers`, async () => (client.answered.length >= from + count ? true : undefined))
  }
  const killed = async (container: string): Promise<void> => await killContainer(ns.name, await onlyPod(), container)
  const answered: string[] = []

  for (const [what, disturb] of [
    ['the recorder is killed', async () => await killed('steno-recorder')],
    ['the pod is deleted', async () => void (await kubectl(['delete', 'pod', await onlyPod(), '-n', ns.name]))],
    ['the Deployment is rolled', async () => {
      await kubectl(['rollout', 'restart', 'deployment/server', '-n', ns.name])
      await rolledOut(ns.name)
    }],
    [`nothing can be shipped for ${SINK_DOWN_S} s, in which recorder and server are killed and the kubelet is away`, async client => {
      aws.shut()
      const over = wait(SINK_DOWN_S * 1000)
      await killed('server')
      await more(client)
      await killed('steno-recorder')
      await more(client)
      await node('kubelet', 'stop')
      await wait(KUBELET_DOWN_S * 1000)
      await node('kubelet', 'start')
      await over
      aws.open()
    }],
  ] as const satisfies readonly (readonly [string, (client: SteadyClient) => Promise<void>])[]) {
    it(`answers on after ${what}`, async () => {
      const client = steadyClient(url, what.replaceAll(' ', '-'))
      try {
        await more(client)
        await disturb(client)
        await more(client)
      } finally {
        await client.stop()
        answered.push(...client.answered)
      }
      console.log(`      ${client.answered.length} answers, ${client.failed.length} calls failed`)
    })
  }

  it('has each answer that a client got, once', async () => {
    const counts = await until('what was answered, in the bucket', async () => {
      const found = new Map<string, number>()
      for (const frame of await aws.frames()) {
        if (frame.kind !== 'mcp' || frame.from !== 'server' || frame.type !== 'response') continue
        const id = /"text":"answer-([^"]+)"/.exec(frame.body ?? '')?.[1]
        if (id !== undefined) found.set(id, (found.get(id) ?? 0) + 1)
      }
      return answered.every(id => found.has(id)) ? found : undefined
    }, SHIPPED_WITHIN_MS)
    expect(answered).to.have.length.greaterThan(100)
    expect(answered.filter(id => counts.get(id) !== 1)).to.deep.equal([])
  })

  it('says what it cannot prove, and nothing in it is broken', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kills-'))
    const restore = setAwsEnvironment({ AWS_ACCESS_KEY_ID: STATIC_KEYS.id, AWS_SECRET_ACCESS_KEY: STATIC_KEYS.secret })
    try {
      const verified = await steno(['verify', '--archive', `s3://${BUCKET}/team-a?endpoint=${aws.service.endpoint}`, '-o', 'json'], { env: { XDG_CACHE_HOME: folder }, now: Date.now })
      expect(JSON.parse(verified.out)).to.have.property('verdict').that.is.oneOf(['consistent', 'incomplete'])
    } finally {
      restore()
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('ends each session and each recorder in order, or says where it was cut', async () => {
    await kubectl(['scale', 'deployment/server', '-n', ns.name, '--replicas=0'])
    await until('what every recorder has left', async () => {
      const frames = await aws.frames()
      const starts = frames.flatMap(each => (each.kind === 'writer.start' && each.namespace === ns.name ? [each] : []))
      const writers = new Set(starts.map(({ writer }) => writer))
      // Who is killed is another writer afterwards, which says of whom it took over.
      const cut = new Set(starts.flatMap(({ recovered }) => recovered.filter(({ state }) => state === 'cut').map(({ writer }) => writer)))
      expect([...cut].filter(writer => writers.has(writer))).to.have.length.of.at.least(2)
      const over = (kind: 'writer.stop' | 'session.end'): Set<string> => new Set(frames.flatMap(each => (each.kind === kind ? [`${each.writer} ${each.session ?? ''}`] : [])))
      const [stopped, ended] = [over('writer.stop'), over('session.end')]
      expect([...writers].filter(writer => !stopped.has(`${writer} `) && !cut.has(writer)), 'recorders').to.deep.equal([])
      const sessions = frames.flatMap(each => (each.kind === 'session.start' && writers.has(each.writer) ? [each] : []))
      expect(sessions.filter(({ writer, session = '' }) => !ended.has(`${writer} ${session}`) && !cut.has(writer)), 'sessions').to.deep.equal([])
      return sessions.length > 0 ? true : undefined
    }, SHIPPED_WITHIN_MS)
  })
})
