import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect } from 'chai'
import { dump, load } from 'js-yaml'

import { createKubeClient, KubeError } from '../../src/kube/client.ts'
import { isObject, objectAt, objectsAt, textAt, textsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { steno } from '../support/cli.ts'
import { expectGolden } from '../support/golden.ts'
import { CHART, findHelm, objectsOf, render } from '../support/helm.ts'
import type { Helm } from '../support/helm.ts'
import { createAuthority } from '../support/certificate.ts'
import { createNamespace, createNode, installCrd, kubeAssets, nameOf, startApiServer, until } from '../support/kube-apiserver.ts'
import { documentedPermissions } from '../support/operator-account.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'
import { putConfiguration, reachedAt, startWebhookFor } from '../support/webhook.ts'

const VALUES = readdirSync(join(CHART, 'ci'))
/** Of operators that are not there. */
const FOREIGN = ['cert-manager.io/v1', 'monitoring.coreos.com/v1']
const COLLECTIONS: Readonly<Record<string, string>> = {
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  ConfigMap: 'configmaps',
  CustomResourceDefinition: 'customresourcedefinitions',
  Deployment: 'deployments',
  Lease: 'leases',
  MutatingWebhookConfiguration: 'mutatingwebhookconfigurations',
  NetworkPolicy: 'networkpolicies',
  PodDisruptionBudget: 'poddisruptionbudgets',
  Role: 'roles',
  RoleBinding: 'rolebindings',
  Secret: 'secrets',
  Service: 'services',
  ServiceAccount: 'serviceaccounts',
  ValidatingAdmissionPolicy: 'validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding: 'validatingadmissionpolicybindings',
  ValidatingWebhookConfiguration: 'validatingwebhookconfigurations',
}

describe('the chart', function () {
  this.timeout(120_000)
  let helm: Helm
  before(function () {
    const found = findHelm()
    if (found === undefined) return this.skip()
    helm = found
  })

  for (const values of VALUES) {
    it(`passes helm lint with ${values}`, () => {
      expect(helm.run(['lint', CHART, '--strict', '--values', join(CHART, 'ci', values)])).to.include('0 chart(s) failed')
    })

    it(`makes of ${values} what is kept`, () => {
      // The definition of policies is compared below.
      const objects = objectsOf(render(helm, values)).filter(each => each['kind'] !== 'CustomResourceDefinition')
      expectGolden(`chart/${values}`, objects.map(each => `---\n${dump(each, { lineWidth: -1, noRefs: true })}`).join(''))
    })
  }

  it('ships crds/ and webhooks/ as they are', () => {
    const objects = objectsOf(render(helm, 'own-values.yaml'))
    const folder = (name: string): readonly JsonObject[] => readdirSync(fileURLToPath(new URL(`../../${name}`, import.meta.url))).map(file => load(readFileSync(fileURLToPath(new URL(`../../${name}/${file}`, import.meta.url)), 'utf8'))).filter(isObject)
    const kept = [...folder('crds'), ...folder('webhooks')].flatMap(each => (each['kind'] === 'List' ? objectsAt(each, 'items') : [each]))
    expect(kept.map(each => each['kind'])).to.include.members(['CustomResourceDefinition', 'MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration', 'ClusterRole'])
    const plain = (object: JsonObject): Json => ({ ...object, metadata: Object.fromEntries(Object.entries(objectAt(object, 'metadata')).filter(([name]) => name === 'name' || name === 'namespace')) })
    for (const object of kept) {
      const shipped = objects.find(each => each['kind'] === object['kind'] && nameOf(each) === nameOf(object))
      expect(plain(shipped ?? {}), `${String(object['kind'])} ${nameOf(object)}`).to.deep.equal(plain(object))
    }
  })

  for (const [account, values, tables] of [
    ['steno-operator', 'own-values.yaml', ['Operator']],
    ['steno-operator', 'cert-manager-values.yaml', ['Operator', 'Operator, with operator.repair.enabled']],
    ['steno-operator', 'aws-values.yaml', ['Operator', 'Operator, with AWS']],
    ['steno-injector', 'provided-values.yaml', ['Injector']],
    ['steno-injector', 'own-values.yaml', ['Injector', 'Injector, with certificates of its own']],
  ] as const) {
    it(`grants ${account} with ${values} what docs/permissions.md lists, verb by verb`, () => {
      const objects = objectsOf(render(helm, values))
      const bound = (kind: string): readonly JsonObject[] => {
        const names = objects.filter(each => each['kind'] === `${kind}Binding` && objectsAt(each, 'subjects').some(subject => subject['name'] === account)).map(each => textAt(each['roleRef'], 'name'))
        return objects.filter(each => each['kind'] === kind && names.includes(nameOf(each))).flatMap(each => objectsAt(each, 'rules'))
      }
      const documented = tables.flatMap(documentedPermissions)
      expect(documented).to.not.be.empty
      // Whoever looks at a table does not see an order.
      const plain = (rules: readonly JsonObject[]): readonly string[] => rules.map(({ apiGroups, resources, resourceNames, verbs }) => JSON.stringify({ apiGroups, resources, resourceNames, verbs })).toSorted()
      expect(plain(bound('ClusterRole'))).to.deep.equal(plain(documented.filter(each => each.clusterWide).map(({ rule }) => rule)))
      expect(plain(bound('Role'))).to.deep.equal(plain(documented.filter(each => !each.clusterWide).map(({ rule }) => rule)))
    })
  }

  it('grants no wildcard', () => {
    const rules = VALUES.flatMap(values => objectsOf(render(helm, values)).flatMap(each => objectsAt(each, 'rules').filter(() => each['kind'] === 'ClusterRole' || each['kind'] === 'Role')))
    expect(rules).to.not.be.empty
    expect(JSON.stringify(rules)).to.not.include('*')
  })

  for (const [what, set, says] of [
    ['no image', 'image.repository=', 'image.repository is needed'],
    ['two sinks', 'recorder.sink.claim=recordings', 'maxProperties'],
    ['a claim that no claim can be called', 'recorder.sink.claim=Recordings_1', "at '/recorder/sink/claim'"],
    ['a repository that holds the tag', 'image.repository=registry.example:5000/steno:1', "at '/image/repository'"],
    ['a resource that is no quantity', 'operator.resources.limits.memory=lots', "at '/operator/resources/limits/memory'"],
    ['a value that is not known', 'injector.replica=3', "additional properties 'replica' not allowed"],
    ['no replica', 'injector.replicas=0', 'minimum'],
    ['an account that is a number', 'aws.account=123456789012', 'got number, want string'],
    ['a digest that is none', 'image.digest=latest', 'does not match pattern'],
    ['a Secret that is not named', 'injector.certificates.mode=provided', 'is needed with mode provided'],
  ] as const) {
    it(`refuses ${what}, and says so`, () => {
      expect(() => render(helm, 'cert-manager-values.yaml', '--set', set)).to.throw(says)
    })
  }

  for (const [component, endpoint] of [['operator', 'aws.endpoint'], ['injector', 'recorder.awsEndpoint']] as const) {
    it(`lets the ${component} reach AWS and its names, or the endpoint in its place`, () => {
      const ports = (...set: readonly string[]): readonly string[] => {
        const policy = objectsOf(render(helm, 'aws-values.yaml', '--set', 'networkPolicy.apiServerPorts={6443}', ...set)).find(each => each['kind'] === 'NetworkPolicy' && nameOf(each) === `steno-${component}`)
        return objectsAt(policy?.['spec'], 'egress').flatMap(rule => objectsAt(rule, 'ports').map(each => `${String(each['port'])}/${String(each['protocol'])}`))
      }
      const usual = ['6443/TCP', '53/UDP', '53/TCP', '443/TCP']
      expect(ports()).to.deep.equal(usual)
      expect(ports('--set', `${endpoint}=https://vpce.example`)).to.deep.equal(usual)
      expect(ports('--set', `${endpoint}=http://10.0.0.1:4566`)).to.deep.equal([...usual, '4566/TCP'])
      expect(ports('--set', `${endpoint}=http://moto`)).to.deep.equal([...usual, '80/TCP'])
    })
  }

  it('lets the operator reach nothing but the API server where it makes no roles', () => {
    const policy = objectsOf(render(helm, 'own-values.yaml')).find(each => each['kind'] === 'NetworkPolicy' && nameOf(each) === 'steno-operator')
    expect(objectsAt(policy?.['spec'], 'egress').flatMap(rule => objectsAt(rule, 'ports').map(each => each['port']))).to.deep.equal([443, 6443])
  })

  it('gives the injector a configuration that it reads', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chart-'))
    try {
      for (const values of VALUES) {
        const config = objectsOf(render(helm, values)).find(each => each['kind'] === 'ConfigMap' && nameOf(each) === 'steno-injector')
        await writeFile(join(folder, 'config.yaml'), textAt(config?.['data'], 'config.yaml') ?? '')
        await writeFile(join(folder, 'pod.yaml'), dump({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'server' }, spec: { containers: [{ name: 'server', image: 'x', ports: [{ name: 'mcp', containerPort: 8080 }] }] } }))
        await writeFile(join(folder, 'policy.yaml'), dump({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools', namespace: 'default' }, spec: { selector: {} } }))
        const { code, out, err } = await steno(['inject', '--dry-run', '--config', join(folder, 'config.yaml'), '-f', join(folder, 'pod.yaml'), '--policy', join(folder, 'policy.yaml')])
        expect(code, err).to.equal(0)
        expect(out).to.include('image: registry.example/steno')
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('has alerts that Prometheus reads', async function () {
    const rules = objectsOf(render(helm, 'cert-manager-values.yaml')).filter(each => each['kind'] === 'PrometheusRule')
    expect(rules.map(nameOf)).to.have.members(['steno-injector', 'steno-operator', 'steno-recorder'])
    const folder = await mkdtemp(join(tmpdir(), 'chart-'))
    try {
      await writeFile(join(folder, 'rules.yaml'), dump({ groups: rules.flatMap(rule => objectsAt(rule['spec'], 'groups')) }))
      const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', join(folder, 'rules.yaml')], { encoding: 'utf8' })
      if (error !== undefined && process.env['CI'] !== 'true') return this.skip()
      expect(status, `${stdout}${stderr}`).to.equal(0)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })

  describe('on a real API server', () => {
    let server: ApiServer
    before(async function () {
      const assets = kubeAssets()
      if (assets === undefined) return this.skip()
      server = await startApiServer(assets)
      await createNamespace(server.client, 'steno-system', { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } })
    })
    after(async () => await server?.stop())

    const collectionOf = (object: JsonObject): string => {
      const apiVersion = textAt(object, 'apiVersion') ?? ''
      const namespace = textAt(object['metadata'], 'namespace')
      return `/${apiVersion.includes('/') ? 'apis' : 'api'}/${apiVersion}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${COLLECTIONS[textAt(object, 'kind') ?? ''] ?? 'unknown'}`
    }

    for (const values of VALUES) {
      it(`every object of ${values} is taken in a strict dry run`, async () => {
        const objects = objectsOf(render(helm, values)).filter(each => !FOREIGN.includes(textAt(each, 'apiVersion') ?? ''))
        expect(objects.length).to.be.greaterThan(7)
        for (const object of objects) {
          const refusal = await server.client.request(`${collectionOf(object)}?dryRun=All&fieldValidation=Strict`, { method: 'POST', body: object }).catch((error: unknown) => error)
          expect(refusal, `${String(object['kind'])} ${nameOf(object)}`).to.not.be.instanceOf(Error)
        }
      })
    }

    it('with mode provided, is trusted by the API server with the authority of the values, and by no other', async () => {
      const [authority, other] = [createAuthority(), createAuthority()]
      await installCrd(server.client)
      await createNode(server.client, 'node-a', 'v1.34.4')
      await createNamespace(server.client, 'provided', { labels: { 'steno.dev/strict': 'true' } })
      await server.client.request('/apis/steno.dev/v1alpha1/namespaces/provided/sessionpolicies', { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools' }, spec: { selector: {} } } })
      // Names as the API server asks for them in a cluster: here it reaches the Service by an address.
      const webhook = await startWebhookFor(server.cluster, { authority, names: ['steno-injector.steno-system.svc', '127.0.0.1'] })
      const install = async (values: { readonly cert: string }): Promise<void> => {
        const folder = await mkdtemp(join(tmpdir(), 'chart-'))
        try {
          await writeFile(join(folder, 'ca.pem'), values.cert)
          const objects = objectsOf(render(helm, 'provided-values.yaml', '--set-file', `injector.certificates.caBundle=${join(folder, 'ca.pem')}`))
          for (const [kind, collection] of [['MutatingWebhookConfiguration', 'mutatingwebhookconfigurations'], ['ValidatingWebhookConfiguration', 'validatingwebhookconfigurations']]) {
            const configuration = objects.find(each => each['kind'] === kind) ?? {}
            await putConfiguration(server.client, collection ?? '', { ...configuration, webhooks: objectsAt(configuration, 'webhooks').map(each => reachedAt(each, webhook.port)) })
          }
        } finally {
          await rm(folder, { recursive: true, force: true })
        }
      }
      const create = async (): Promise<unknown> =>
        await server.client.request('/api/v1/namespaces/provided/pods?dryRun=All', { method: 'POST', body: { apiVersion: 'v1', kind: 'Pod', metadata: { generateName: 'server-' }, spec: { containers: [{ name: 'server', image: 'example/mcp:1', ports: [{ name: 'mcp', containerPort: 8080 }] }] } } }).then(
          made => textsAt(made['metadata'], 'labels')['steno.dev/recorded'],
          (error: unknown) => (error instanceof KubeError ? error.message : error),
        )
      try {
        await webhook.synced
        await install(authority)
        await until(async () => (await create()) === 'true')
        await install(other)
        let refusal: unknown
        await until(async () => (refusal = await create()) !== 'true')
        expect(refusal).to.match(/failed calling webhook "strict\.inject\.steno\.dev".*certificate signed by unknown authority/)
        await install({ cert: `${other.cert}${authority.cert}` })
        await until(async () => (await create()) === 'true')
      } finally {
        await webhook.stop()
        for (const collection of ['mutatingwebhookconfigurations', 'validatingwebhookconfigurations']) await server.client.request(`/apis/admissionregistration.k8s.io/v1/${collection}/steno-injector`, { method: 'DELETE' })
        await server.client.request('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sessionpolicies.steno.dev', { method: 'DELETE' })
        await until(async () => await server.client.request('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/sessionpolicies.steno.dev').then(() => false, () => true))
      }
    })

    it('lets the operator ask for tokens for the token service of AWS alone', async () => {
      await createNamespace(server.client, 'steno-tokens')
      const flags = ['--namespace', 'steno-tokens', '--kubeconfig', server.kubeconfig]
      helm.run(['install', 'steno', CHART, ...flags, '--values', join(CHART, 'ci', 'aws-values.yaml'), '--set', 'crds.install=false'])
      try {
        const accounts = '/api/v1/namespaces/steno-tokens/serviceaccounts'
        const request = (audiences: readonly string[], expirationSeconds = 600): JsonObject => ({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences, expirationSeconds } })
        const answer = await server.client.request(`${accounts}/steno-operator/token`, { method: 'POST', body: request([]) })
        const operator = createKubeClient({ ...server.cluster, token: async () => textAt(answer['status'], 'token') ?? '' })
        const ask = async (...wanted: Parameters<typeof request>): Promise<string> => await operator.request(`${accounts}/default/token`, { method: 'POST', body: request(...wanted) }).then(() => 'given', (error: unknown) => String(error))
        // A policy is in force a moment after it was written.
        await until(async () => (await ask(['https://kubernetes.default.svc'])) !== 'given', 30_000)
        expect(await ask(['sts.amazonaws.com'])).to.equal('given')
        for (const [audiences, seconds] of [[['sts.amazonaws.com', 'https://kubernetes.default.svc'], 600], [[], 600], [['sts.amazonaws.com'], 3600]] as const) expect(await ask(audiences, seconds)).to.include('for sts.amazonaws.com only')
        await operator.close()
      } finally {
        helm.run(['uninstall', 'steno', ...flags])
      }
    })

    it('is installed, upgraded and uninstalled; policies stay', async () => {
      const flags = ['--namespace', 'steno-system', '--kubeconfig', server.kubeconfig, '--values', join(CHART, 'ci', 'provided-values.yaml'), '--set', 'crds.install=true']
      helm.run(['install', 'steno', CHART, ...flags])
      const deployment = async (): Promise<JsonObject> => await server.client.request('/apis/apps/v1/namespaces/steno-system/deployments/steno-injector')
      const before = await deployment()
      // The pods of the injector live under the strictest level.
      const template = objectAt(objectAt(before, 'spec'), 'template')
      await server.client.request('/api/v1/namespaces/steno-system/pods?dryRun=All', { method: 'POST', body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'injector' }, spec: objectAt(template, 'spec') } })
      // Policies of a namespace whose webhook does not answer yet are taken.
      await createNamespace(server.client, 'team-a')
      await server.client.request('/apis/steno.dev/v1alpha1/namespaces/team-a/sessionpolicies', { method: 'POST', body: { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools' }, spec: { selector: {} } } })

      helm.run(['upgrade', 'steno', CHART, ...flags, '--set', 'recorder.spoolMib=1024'])
      const checksum = (object: JsonObject): unknown => textsAt(objectAt(objectAt(object, 'spec'), 'template')['metadata'], 'annotations')['checksum/config']
      expect(checksum(await deployment())).to.not.equal(checksum(before))

      helm.run(['uninstall', 'steno', '--namespace', 'steno-system', '--kubeconfig', server.kubeconfig])
      expect(await deployment().catch((error: unknown) => error)).to.be.instanceOf(KubeError).with.property('status', 404)
      expect(nameOf(await server.client.request('/apis/steno.dev/v1alpha1/namespaces/team-a/sessionpolicies/tools'))).to.equal('tools')
    })
  })
})
