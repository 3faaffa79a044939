/** What the chart would have installed in `steno-system`, with the statuses that a cluster would give it, on an API server without nodes or controllers. */

import { readFileSync } from 'node:fs'

import { load } from 'js-yaml'

import { KubeError } from '../../src/kube/client.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import type { Cluster } from '../../src/kube/cluster.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'

export const NAMESPACE = 'steno-system'
const CORE = `/api/v1/namespaces/${NAMESPACE}`
const APPS = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments`
const SLICE = `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices`

export interface Installation {
  /** How many replicas are ready. */
  replicas(name: 'steno-injector' | 'steno-operator', ready: number): Promise<void>
  endpoints(ready: boolean): Promise<void>
  certificate(cert: string): Promise<void>
}

/** @param config of the injector, as the chart puts it into its ConfigMap */
export async function installParts(client: KubeClient, config: JsonObject, cert: string): Promise<Installation> {
  const post = async (path: string, body: JsonObject): Promise<void> => {
    await client.request(path, { method: 'POST', body }).catch((error: unknown) => {
      // The account of the injector has made its own already.
      if (!(error instanceof KubeError && error.status === 409)) throw error
    })
  }
  const merge = async (path: string, body: JsonObject): Promise<void> => void (await client.request(path, { method: 'PATCH', contentType: 'application/merge-patch+json', body }))
  const parts: Installation = {
    replicas: async (name, ready) => await merge(`${APPS}/${name}/status`, { status: { replicas: 2, readyReplicas: ready, availableReplicas: ready } }),
    endpoints: async ready => await merge(`${SLICE}/steno-injector-a`, { endpoints: [{ addresses: ['10.9.8.7'], conditions: { ready } }] }),
    certificate: async pem => await merge(`${CORE}/secrets/steno-injector-certificates`, { data: { 'tls.crt': Buffer.from(pem).toString('base64') } }),
  }
  for (const name of ['steno-injector', 'steno-operator'] as const) {
    const labels = { app: name }
    await post(APPS, { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name }, spec: { replicas: 2, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'steno' }] } } } })
    await parts.replicas(name, 2)
  }
  await post(`${CORE}/services`, { apiVersion: 'v1', kind: 'Service', metadata: { name: 'steno-injector' }, spec: { selector: { app: 'steno-injector' }, ports: [{ port: 443, targetPort: 9443 }] } })
  await post(SLICE, { apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', metadata: { name: 'steno-injector-a', labels: { 'kubernetes.io/service-name': 'steno-injector' } }, addressType: 'IPv4', endpoints: [], ports: [{ port: 9443 }] })
  await parts.endpoints(true)
  await post(`${CORE}/configmaps`, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'steno-injector' }, data: { 'config.yaml': JSON.stringify(config) } })
  await post(`${CORE}/secrets`, { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'steno-injector-certificates' } })
  await parts.certificate(cert)
  return parts
}

/** hack/doctor/role.yaml */
export function doctorRole(): JsonObject {
  return load(readFileSync(new URL('../../hack/doctor/role.yaml', import.meta.url), 'utf8')) as JsonObject
}

/** An account that may do what hack/doctor/role.yaml says, or nothing. @returns a kubeconfig of it, as text */
export async function kubeconfigOf(client: KubeClient, cluster: Cluster, name: string, { rights }: { readonly rights: boolean }): Promise<JsonObject & { readonly token: string }> {
  await client.request(`${CORE}/serviceaccounts`, { method: 'POST', body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } } })
  for (const role of rights ? objectsAt(doctorRole(), 'items') : []) {
    const kind = textAt(role, 'kind') ?? ''
    const path = `/apis/rbac.authorization.k8s.io/v1${kind === 'Role' ? `/namespaces/${NAMESPACE}` : ''}/${kind.toLowerCase()}`
    const metadata = objectAt(role, 'metadata')
    await client.request(`${path}s`, { method: 'POST', body: role })
    await client.request(`${path}bindings`, { method: 'POST', body: { apiVersion: 'rbac.authorization.k8s.io/v1', kind: `${kind}Binding`, metadata, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: metadata['name'] ?? '' }, subjects: [{ kind: 'ServiceAccount', name, namespace: NAMESPACE }] } })
  }
  const answer = await client.request(`${CORE}/serviceaccounts/${name}/token`, { method: 'POST', body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} } })
  const token = textAt(objectAt(answer, 'status'), 'token') ?? ''
  return { token, ...kubeconfig(cluster, { token }) }
}

/** @param user as it stands in a kubeconfig */
export function kubeconfig({ server, ca }: Pick<Cluster, 'server' | 'ca'>, user: JsonObject): JsonObject {
  return { apiVersion: 'v1', kind: 'Config', 'current-context': 'c', contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }], clusters: [{ name: 'c', cluster: { server: server.origin, 'certificate-authority-data': Buffer.from(ca ?? '').toString('base64') } }], users: [{ name: 'u', user }] }
}
