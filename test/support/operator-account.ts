/** A service account that may do what docs/permissions.md says the operator must be allowed to do, and nothing else. */

import { readFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'

import { load } from 'js-yaml'

import type { KubeClient } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { createNode, ensureNamespace, installCrd, startApiServer } from './kube-apiserver.ts'
import type { ApiServer, ApiServerOptions } from './kube-apiserver.ts'

const NAMESPACE = 'steno-system'
const ACCOUNT = 'steno-operator'
const HERE = ', in the namespace of the installation'

export interface Permission {
  readonly rule: JsonObject
  readonly clusterWide: boolean
}

/** The table under a heading of docs/permissions.md. */
export function documentedPermissions(heading: string): Permission[] {
  const document = readFileSync(new URL('../../docs/permissions.md', import.meta.url), 'utf8')
  const text = document.split(/^## /m).find(each => each.startsWith(`${heading}\n`)) ?? ''
  return [...text.matchAll(/^\|([^|]*)\|([^|]*)\|([^|]*)\|[^|]*\|$/gm)].slice(2).map(([, group = '', resource = '', verbs = '']) => {
    const resourceNames = [...resource.matchAll(/`([^`]+)`/g)].flatMap(match => match[1] ?? [])
    const resources = resource.replace(HERE, '').replaceAll(/`[^`]+`/g, '').split(',').map(each => each.trim())
    return {
      rule: { apiGroups: [group.replaceAll('`', '').trim()], resources, ...(resourceNames.length === 0 ? {} : { resourceNames }), verbs: verbs.split(',').map(each => each.trim()) },
      clusterWide: !resource.includes(HERE),
    }
  })
}

const OPERATOR_TABLES = ['Operator', 'Operator, with operator.repair.enabled']
export const TABLES_WITH_AWS = ['Operator', 'Operator, with AWS']

/** Makes the namespace of the installation, the account, its permissions and what limits them. @returns the cluster as that account reaches it */
export async function asOperator(cluster: Cluster, client: KubeClient, tables: readonly string[] = OPERATOR_TABLES): Promise<Cluster> {
  await ensureNamespace(client, NAMESPACE)
  await client.request(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { method: 'POST', body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: ACCOUNT } } })
  const permissions = tables.flatMap(documentedPermissions)
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  const subjects = [{ kind: 'ServiceAccount', name: ACCOUNT, namespace: NAMESPACE }]
  for (const [prefix, suffix, clusterWide] of [['', 'cluster', true], [`/namespaces/${NAMESPACE}`, '', false]] as const) {
    const rules = permissions.filter(each => each.clusterWide === clusterWide).map(({ rule }) => rule)
    const kind = clusterWide ? 'ClusterRole' : 'Role'
    await client.request(`${rbac}${prefix}/${suffix}roles`, { method: 'POST', body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata: { name: ACCOUNT }, rules } })
    await client.request(`${rbac}${prefix}/${suffix}rolebindings`, { method: 'POST', body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: `${kind}Binding`, metadata: { name: ACCOUNT }, subjects, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: ACCOUNT } } })
  }
  for (const object of objectsAt(load(await readFile(new URL('../../webhooks/operator-limits.yaml', import.meta.url), 'utf8')) as JsonObject, 'items')) {
    const collection = textAt(object, 'kind') === 'ValidatingAdmissionPolicy' ? 'validatingadmissionpolicies' : 'validatingadmissionpolicybindings'
    await client.request(`/apis/admissionregistration.k8s.io/v1/${collection}?fieldValidation=Strict`, { method: 'POST', body: object })
  }
  const request = await client.request(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${ACCOUNT}/token`, { method: 'POST', body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } } })
  const token = textAt(objectAt(request, 'status'), 'token') ?? ''
  return { ...cluster, token: async () => token }
}

/** An API server with the definition of policies and one node, and how the operator's account reaches it. @param assets folder of its programs */
export async function startForOperator(assets: string, tables?: readonly string[], options?: ApiServerOptions): Promise<{ readonly server: ApiServer; readonly account: Cluster }> {
  const server = await startApiServer(assets, options)
  await installCrd(server.client)
  await createNode(server.client, 'node-a', 'v1.34.4')
  return { server, account: await asOperator(server.cluster, server.client, tables) }
}
