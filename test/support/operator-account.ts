/** A service account that may do what docs/operate.md says the operator must be allowed to do, and nothing else. */

import { readFileSync } from 'node:fs'

import type { KubeClient } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { objectAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { createNamespace } from './kube-apiserver.ts'

const NAMESPACE = 'steno-system'
const ACCOUNT = 'steno-operator'
const HERE = ', in the namespace of the installation'

interface Permission {
  readonly rule: JsonObject
  readonly clusterWide: boolean
}

/** The table under "Permissions". */
export function documentedPermissions(): Permission[] {
  const text = /## Permissions\n([\s\S]*?)\n## /.exec(readFileSync(new URL('../../docs/operate.md', import.meta.url), 'utf8'))?.[1] ?? ''
  return [...text.matchAll(/^\|([^|]*)\|([^|]*)\|([^|]*)\|$/gm)].slice(2).map(([, group = '', resource = '', verbs = '']) => ({
    rule: { apiGroups: [group.replaceAll('`', '').trim()], resources: resource.replace(HERE, '').split(',').map(each => each.trim()), verbs: verbs.split(',').map(each => each.trim()) },
    clusterWide: !resource.includes(HERE),
  }))
}

/** Makes the namespace of the installation, the account and its permissions. @returns the cluster as that account reaches it */
export async function asOperator(cluster: Cluster, client: KubeClient): Promise<Cluster> {
  await createNamespace(client, NAMESPACE)
  await client.request(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { method: 'POST', body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: ACCOUNT } } })
  const permissions = documentedPermissions()
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  const subjects = [{ kind: 'ServiceAccount', name: ACCOUNT, namespace: NAMESPACE }]
  for (const [prefix, suffix, clusterWide] of [['', 'cluster', true], [`/namespaces/${NAMESPACE}`, '', false]] as const) {
    const rules = permissions.filter(each => each.clusterWide === clusterWide).map(({ rule }) => rule)
    const kind = clusterWide ? 'ClusterRole' : 'Role'
    await client.request(`${rbac}${prefix}/${suffix}roles`, { method: 'POST', body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata: { name: ACCOUNT }, rules } })
    await client.request(`${rbac}${prefix}/${suffix}rolebindings`, { method: 'POST', body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: `${kind}Binding`, metadata: { name: ACCOUNT }, subjects, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: ACCOUNT } } })
  }
  const request = await client.request(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${ACCOUNT}/token`, { method: 'POST', body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 3600 } } })
  const token = textAt(objectAt(request, 'status'), 'token') ?? ''
  return { ...cluster, token: async () => token }
}
