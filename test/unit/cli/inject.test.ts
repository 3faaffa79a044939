import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'
import { load } from 'js-yaml'

import { steno } from '../../support/cli.ts'
import { expectGolden } from '../../support/golden.ts'

const POLICY = 'apiVersion: steno.dev/v1alpha1\nkind: SessionPolicy\nmetadata: {name: tools}\nspec: {selector: {matchLabels: {app: weather}}}\n'
const DEPLOYMENT = `apiVersion: v1
kind: Service
metadata: {name: weather}
spec: {ports: [{port: 80, targetPort: http}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: weather}
spec:
  selector: {matchLabels: {app: weather}}
  template:
    metadata: {labels: {app: weather}}
    spec:
      containers:
      - {name: server, image: example/weather:1, ports: [{name: http, containerPort: 8080}], livenessProbe: {httpGet: {path: /, port: http}}}
`

describe('steno inject --dry-run', () => {
  let folder: string
  const file = async (name: string, content: string): Promise<string> => {
    const path = join(folder, name)
    await writeFile(path, content)
    return path
  }
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dry-run-'))
  })
  afterEach(async () => await rm(folder, { recursive: true, force: true }))

  it('prints the pod of a Deployment with its recorder, and says why on stderr', async () => {
    const run = await steno(['inject', '--dry-run', '-f', await file('web.yaml', DEPLOYMENT), '--policy', await file('policy.yaml', POLICY)])
    expect(run.code).to.equal(0)
    expectGolden('cli/inject-dry-run.txt', `${run.err}\n${run.out}`)
    expect(load(run.out)).to.have.nested.property('spec.containers[0].livenessProbe.httpGet.port', 8080)
  })

  it('prints a pod that is not recorded as it is, with the reason', async () => {
    const run = await steno(['inject', '--dry-run', '-f', '-', '--policy', await file('policy.yaml', POLICY)], { stdin: 'kind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: x, image: z}]}\n' })
    expect(run).to.deep.equal({ code: 0, out: '---\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n    - name: x\n      image: z\n', err: 'a: skip (no-policy): No SessionPolicy of this namespace selects the pod.\n' })
  })

  it('looks at each pod of a List, as kubectl prints it', async () => {
    const pod = (name: string): string => `- {kind: Pod, metadata: {name: ${name}, labels: {app: weather}}, spec: {containers: [{name: x, image: z, ports: [{name: mcp, containerPort: 8080}]}]}}\n`
    const run = await steno(['inject', '--dry-run', '-f', await file('list.yaml', `apiVersion: v1\nkind: List\nitems:\n${pod('a')}${pod('b')}`), '--policy', await file('policy.yaml', `kind: List\nitems:\n- ${POLICY.trim().replaceAll('\n', '\n  ')}\n`)])
    expect(run).to.have.property('code', 0)
    expect(run.err.trim().split('\n').map(line => line.slice(0, 12))).to.deep.equal(['a: inject (i', 'b: inject (i'])
  })

  it('refuses a file that is too large, or grows too large by its aliases', async () => {
    const policy = await file('policy.yaml', POLICY)
    const dryRun = async (content: string): Promise<string> => (await steno(['inject', '--dry-run', '-f', await file('pod.yaml', content), '--policy', policy])).err
    const bomb = Array.from({ length: 9 }, (_, level) => `a${level}: &a${level} [${level === 0 ? 'x' : Array(9).fill(`*a${level - 1}`).join(', ')}]\n`).join('')
    expect(await dryRun(`kind: Pod\nmetadata: {annotations: {x: y}}\n${bomb}spec: {containers: []}\n`)).to.match(/pod\.yaml as YAML: with its aliases it has more than 1000000 values/)
    expect(await dryRun('kind: Pod\nspec: &a {containers: [], more: *a}\n')).to.match(/an alias holds itself/)
    expect(await dryRun(`kind: Pod\nmetadata: {annotations: {x: ${'y'.repeat(9 * 1024 * 1024)}}}\n`)).to.match(/more than 8 MiB; give the objects in several files/)
  })

  it('refuses files for policy and namespace that have none', async () => {
    const web = await file('web.yaml', DEPLOYMENT)
    const without = await steno(['inject', '--dry-run', '-f', web, '--policy', web])
    expect(without).to.deep.include({ code: 2, out: '' })
    expect(without.err).to.match(/no SessionPolicy in .*web\.yaml/)
    const nowhere = await steno(['inject', '--dry-run', '-f', web, '--policy', await file('policy.yaml', POLICY), '--namespace', web])
    expect(nowhere).to.deep.include({ code: 2, out: '' })
    expect(nowhere.err).to.match(/no Namespace in .*web\.yaml/)
  })

  it('follows the namespace and the nodes that it is given', async () => {
    const namespace = await file('ns.yaml', 'apiVersion: v1\nkind: Namespace\nmetadata: {name: open, labels: {pod-security.kubernetes.io/enforce: privileged}}\n')
    const run = await steno(['inject', '--dry-run', '-f', await file('web.yaml', DEPLOYMENT), '--policy', await file('policy.yaml', POLICY), '--namespace', namespace, '--node-minor', '31'])
    expect(run.err).to.equal('weather-: inject (injected): The pod gets a recorder. Capture Redirect, plain sidecar, http → 15080.\n')
  })

  for (const [what, args, text] of [
    ['no file', ['--dry-run'], /--dry-run needs -f FILE/],
    ['no certificate', ['--config', 'x'], /either --own-certificates, or both --certificate and --key/],
    ['a certificate beside its own', ['--config', 'x', '--own-certificates', '--key', 'y'], /either --own-certificates, or both/],
    ['a node version that is none', ['--dry-run', '-f', 'x', '--policy', 'y', '--node-minor', '1.34'], /--node-minor must be the minor version/],
    ['a file that is not there', ['--dry-run', '-f', '/nowhere.yaml', '--policy', 'y'], /cannot read \/nowhere\.yaml/],
  ] as const) {
    it(`refuses ${what} with 2`, async () => {
      const run = await steno(['inject', ...args])
      expect(run.code).to.equal(2)
      expect(run.err).to.match(text)
    })
  }

  it('names everything that is wrong with a policy or with the settings', async () => {
    const web = await file('web.yaml', DEPLOYMENT)
    const wrong = await steno(['inject', '--dry-run', '-f', web, '--policy', await file('wrong.yaml', POLICY.replace('spec: {', 'spec: {captur: Port, onFailure: Stop, '))])
    expect(wrong).to.have.property('code', 1)
    expect(wrong.err).to.match(/spec\.captur: is not known.*spec\.onFailure: must be one of Block, Allow \(policy\.invalid\)/s)
    const settings = await steno(['inject', '--dry-run', '-f', web, '--policy', await file('policy.yaml', POLICY), '--config', await file('config.yaml', 'image: x\nsink: {}\nmemoryMib: 10\n')])
    expect(settings).to.have.property('code', 2)
    expect(settings.err).to.match(/sink: must have one of firehose, claim and emptyDir; memoryMib: must be a whole number of MiB, at least 96 \(config\.invalid\)/)
    const little = await steno(['inject', '--dry-run', '-f', web, '--policy', await file('policy.yaml', POLICY), '--config', await file('config.yaml', 'image: x\nsink: {claim: recordings}\ncpu: "1"\ncpuLimit: 500m\n')])
    expect(little.err).to.match(/cpuLimit: must be at least cpu, which is 1 \(config\.invalid\)/)
  })
})
