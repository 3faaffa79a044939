/**
 * Enforces the ingress side of NetworkPolicies in the one-node cluster, with nftables, once a second. A stand-in: the engines that there are
 * need a kernel with nft_queue or eBPF, or modules that are not always to be had. What a node sends to its own pods passes, as everywhere.
 *
 *     node network-policies.ts KUBECTL KUBECONFIG
 */

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { promisify } from 'node:util'

import { isObject, numberAt, objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { selectorOf } from '../../src/operator/selector.ts'
import { selects } from '../../src/policy/select.ts'

const run = promisify(execFile)
const TABLE = 'inet steno-cluster'
const EVERY_MS = 1000

interface Cluster {
  readonly pods: readonly JsonObject[]
  readonly namespaces: readonly JsonObject[]
  readonly policies: readonly JsonObject[]
}

const namespaceOf = (object: JsonObject): string => textAt(object['metadata'], 'namespace') ?? ''
const labelsOf = (object: JsonObject): Readonly<Record<string, string>> => textsAt(objectAt(object, 'metadata'), 'labels')
const addressOf = (pod: JsonObject): string | undefined => (objectAt(pod, 'spec')['hostNetwork'] === true ? undefined : textAt(pod['status'], 'podIP'))

/** One script for `nft -f`: the whole table anew, in one transaction. */
export function rules({ pods, namespaces, policies }: Cluster): string {
  const chains: string[] = []
  const jumps: string[] = []
  for (const pod of pods) {
    const address = addressOf(pod)
    const own = policies.filter(each => namespaceOf(each) === namespaceOf(pod) && decidesIngress(each) && selects(selectorOf(objectAt(each['spec'], 'podSelector')), labelsOf(pod)))
    if (address === undefined || own.length === 0) continue
    const chain = `pod-${address.replaceAll('.', '-')}`
    const admitted = own.flatMap(policy => objectsAt(policy['spec'], 'ingress').flatMap(rule => peers(rule, namespaceOf(policy), { pods, namespaces, policies }).flatMap(peer => ports(rule, pod).map(port => `${peer}${port} accept`))))
    chains.push(`chain ${chain} {\n${admitted.join('\n')}\nmeta l4proto tcp reject with tcp reset\ndrop\n}`)
    jumps.push(`ip daddr ${address} jump ${chain}`)
  }
  return `table ${TABLE}\ndelete table ${TABLE}\ntable ${TABLE} {\n${chains.join('\n')}\nchain forward {\ntype filter hook forward priority filter; policy accept;\nct state established,related accept\n${jumps.join('\n')}\n}\n}\n`
}

function decidesIngress(policy: JsonObject): boolean {
  const types = objectAt(policy, 'spec')['policyTypes']
  return !Array.isArray(types) || types.includes('Ingress')
}

/** What a rule says of where packets come from; everywhere when it says nothing. */
function peers(rule: JsonObject, namespace: string, cluster: Cluster): readonly string[] {
  const from = objectsAt(rule, 'from')
  if (from.length === 0) return ['']
  const addresses = from.flatMap(peer => {
    const block = textAt(peer['ipBlock'], 'cidr')
    if (block !== undefined) return [block]
    const within = isObject(peer['namespaceSelector']) ? cluster.namespaces.filter(each => selects(selectorOf(objectAt(peer, 'namespaceSelector')), labelsOf(each))).map(each => textAt(each['metadata'], 'name')) : [namespace]
    return cluster.pods.filter(pod => within.includes(namespaceOf(pod)) && (!isObject(peer['podSelector']) || selects(selectorOf(objectAt(peer, 'podSelector')), labelsOf(pod)))).flatMap(pod => addressOf(pod) ?? [])
  })
  return addresses.length === 0 ? [] : [`ip saddr { ${addresses.join(', ')} } `]
}

function ports(rule: JsonObject, pod: JsonObject): readonly string[] {
  const listed = objectsAt(rule, 'ports')
  if (listed.length === 0) return ['']
  return listed.flatMap(each => {
    const protocol = (textAt(each, 'protocol') ?? 'TCP').toLowerCase()
    const named = textAt(each, 'port')
    const first = numberAt(each, 'port') ?? containerPort(pod, named)
    if (first === undefined) return named === undefined ? [`meta l4proto ${protocol}`] : []
    const last = numberAt(each, 'endPort') ?? first
    return [`${protocol} dport ${first}-${last}`]
  })
}

function containerPort(pod: JsonObject, name: string | undefined): number | undefined {
  const containers = ['containers', 'initContainers'].flatMap(list => objectsAt(pod['spec'], list))
  return numberAt(containers.flatMap(each => objectsAt(each, 'ports')).find(each => name !== undefined && each['name'] === name), 'containerPort')
}

async function main(kubectl: string, kubeconfig: string): Promise<void> {
  const list = async (kind: string): Promise<readonly JsonObject[]> => {
    const { stdout } = await run(kubectl, ['--kubeconfig', kubeconfig, 'get', kind, '--all-namespaces', '--output', 'json'], { maxBuffer: 1 << 28 })
    const found: unknown = JSON.parse(stdout)
    return isObject(found) ? objectsAt(found, 'items') : []
  }
  let before = ''
  for (;;) {
    try {
      const [pods, namespaces, policies] = await Promise.all([list('pods'), list('namespaces'), list('networkpolicies')])
      const script = rules({ pods, namespaces, policies })
      if (script !== before) {
        const nft = spawn('nft', ['-f', '-'], { stdio: ['pipe', 'inherit', 'inherit'] })
        nft.stdin.end(script)
        const [code] = await once(nft, 'close')
        if (code === 0) before = script
      }
    } catch (error) {
      console.error(String(error))
    }
    await wait(EVERY_MS)
  }
}

if (import.meta.main) {
  const [kubectl, kubeconfig] = process.argv.slice(2)
  if (kubectl === undefined || kubeconfig === undefined) throw new Error('node network-policies.ts KUBECTL KUBECONFIG')
  await main(kubectl, kubeconfig)
}
