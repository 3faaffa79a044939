import { expect } from 'chai'
import fc from 'fast-check'

import { KubeError } from '../../src/kube/client.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { parsePolicy } from '../../src/policy/parse-policy.ts'
import { createNamespace, installCrd, kubeAssets, startApiServer } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'

const PATH = '/apis/steno.dev/v1alpha1/namespaces/team-a/sessionpolicies?dryRun=All&fieldValidation=Strict'

function policy(spec: Json): JsonObject {
  return { apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name: 'tools', namespace: 'team-a' }, spec }
}

/** Specs that an admin might get wrong, with a word of the text that says so. */
const WRONG: readonly (readonly [spec: Json, text: RegExp])[] = [
  [{}, /selector/],
  [{ selector: {}, port: [] }, /port/],
  [{ selector: {}, capture: 'Both' }, /capture/],
  [{ selector: {}, durability: 'offpod' }, /durability/],
  [{ selector: {}, onFailure: '' }, /onFailure/],
  [{ selector: {}, optOut: 'Maybe' }, /optOut/],
  [{ selector: {}, ports: [{ port: 0 }] }, /1 to 65535/],
  [{ selector: {}, ports: [{ port: 70_000 }] }, /1 to 65535/],
  [{ selector: {}, ports: [{ port: 'MCP' }] }, /ports\[0\]\.port in body should match '\^\[a-z0-9\]/],
  [{ selector: {}, ports: [{ port: '8080' }] }, /with a letter/],
  [{ selector: {}, ports: [{ port: 'a-name-much-too-long' }] }, /15/],
  [{ selector: {}, ports: [{ port: 'mcp' }, { port: 'mcp' }] }, /ports\[1\]: Duplicate value/],
  [{ selector: {}, ports: Array.from({ length: 9 }, (_, index) => ({ port: 8000 + index })) }, /8/],
  [{ selector: {}, ports: [{}] }, /port/],
  [{ selector: {}, durability: 'OffPod', onFailure: 'Allow' }, /must be Block with durability OffPod/],
  [{ selector: { matchLabels: { 'not a key': 'x' } } }, /key of a label/],
  [{ selector: { matchLabels: { app: 'not a value!' } } }, /matchLabels/],
  [{ selector: { matchExpressions: [{ key: 'app', operator: 'In' }] } }, /must not be empty with In/],
  [{ selector: { matchExpressions: [{ key: 'app', operator: 'Exists', values: ['x'] }] } }, /absent with Exists/],
  [{ selector: { matchExpressions: [{ key: 'app', operator: 'Like', values: ['x'] }] } }, /operator/],
  [{ selector: {}, sink: {} }, /firehose/],
  [{ selector: {}, directPort: 'Shut' }, /directPort/],
  [{ selector: {}, unrecorded: 'Deny' }, /unrecorded/],
  [{ selector: {}, repair: 'Delete' }, /repair/],
  [{ selector: {}, access: { others: 'Ignore' } }, /others/],
  [{ selector: {}, access: { connect: [{}] } }, /either group, user or role/],
  [{ selector: {}, access: { connect: [{ group: 'a', user: 'b' }] } }, /either group, user or role/],
  [{ selector: {}, access: { connect: [{ group: 'system:authenticated' }] } }, /system:/],
  [{ selector: {}, access: { connect: [{ user: 'a b' }] } }, /user/],
  [{ selector: {}, access: { view: [{ group: 'system:masters' }] } }, /system:/],
  [{ selector: {}, access: { connect: [{ role: 'engineer' }] } }, /role/],
  [{ selector: {}, access: { connect: [{ role: 'arn:aws:iam::123456789012:role/aws-service-role/eks/x' }] } }, /ARN of an IAM role/],
  [{ selector: {}, access: { connect: [{ role: 'arn:aws:iam::123456789012:role/a', group: 'b' }] } }, /either group, user or role/],
  [{ selector: {}, aws: {} }, /policyArns/],
  [{ selector: {}, aws: { policyArns: [] } }, /policyArns/],
  [{ selector: {}, aws: { policyArns: ['AmazonS3ReadOnlyAccess'] } }, /policyArns/],
  [{ selector: {}, aws: { policyArns: ['arn:aws:iam::aws:policy/A', 'arn:aws:iam::aws:policy/A'] } }, /twice/],
  [{ selector: {}, sink: { firehose: { stream: 'a b', region: 'eu-west-1' } } }, /stream/],
  [{ selector: {}, sink: { firehose: { stream: 'a', region: 'Ireland' } } }, /region/],
]

/** Mostly what is right, so that what is wrong is wrong alone. */
const label = mostly(['app', 'example.com/tier'], ['bad key', '', 'x'.repeat(64)])
const value = mostly(['', 'a', 'tools', 'y'.repeat(63)], ['no way', 'y'.repeat(64)])
const port = mostly<string | number>(['mcp', 'http-2', 'abcdefghijklmno', 1, 8080, 65_535], ['80', 'a--b', '-a', 'a-', 'Mcp', 'abcdefghijklmnop', '', 0, -1, 65_536])
const subject = mostly(['developers', 'jürgen@example.com', 'oidc:a/b', '学'], ['', 'a b', 'system:masters', 'x\u0007', 'y'.repeat(257)])
const role = mostly(['arn:aws:iam::123456789012:role/engineer', 'arn:aws-cn:iam::123456789012:role/a/b+c'], ['arn:aws:iam::123456789012:user/x', 'arn:aws:iam::123456789012:role/', 'arn:aws:iam::123456789012:role/aws-service-role/x/y', `arn:aws:iam::123456789012:role/${'x'.repeat(201)}`])
const subjects = fc.array(fc.oneof(fc.record({ group: subject }), fc.record({ user: subject })), { maxLength: 3 })
const connect = fc.array(fc.oneof(fc.record({ group: subject }), fc.record({ user: subject }), fc.record({ role })), { maxLength: 3 })
const spec = fc.record(
  {
    selector: fc.record(
      {
        matchLabels: fc.dictionary(label, value, { maxKeys: 3 }),
        matchExpressions: fc.array(fc.record({ key: label, operator: mostly(['In', 'NotIn', 'Exists', 'DoesNotExist'], ['in']), values: fc.array(value, { maxLength: 2 }) }, { requiredKeys: ['key', 'operator'] }), { maxLength: 2 }),
      },
      { requiredKeys: [] },
    ),
    ports: fc.array(fc.record({ port }), { maxLength: 4 }),
    capture: mostly(['Auto', 'Port', 'Redirect'], ['None']),
    durability: mostly(['Local', 'OffPod'], ['']),
    onFailure: fc.constantFrom('Block', 'Allow'),
    optOut: mostly(['Refuse', 'Allow'], ['x']),
    directPort: mostly(['Close', 'Open'], ['close']),
    unrecorded: mostly(['Allow', 'Refuse'], ['Deny']),
    repair: mostly(['Report', 'Restart'], ['Delete']),
    access: fc.record({ others: fc.constantFrom('Record', 'Refuse'), connect, view: subjects }, { requiredKeys: [] }),
    aws: fc.record({ policyArns: fc.uniqueArray(mostly(['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess', 'arn:aws:iam::123456789012:policy/team/own'], ['', 'arn:aws:iam::aws:role/x', 'arn:aws:iam::1:policy/x']), { minLength: 1, maxLength: 2 }) }),
    sink: fc.record({ firehose: fc.record({ stream: mostly(['steno'], ['a b', '']), region: mostly(['eu-west-1', 'us-gov-east-1'], ['x']) }) }),
  },
  { requiredKeys: ['selector'] },
)

function mostly<T>(right: readonly T[], wrong: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...right) }, { weight: 1, arbitrary: fc.constantFrom(...wrong) })
}

describe('SessionPolicy, on a real API server', function () {
  let server: ApiServer

  before(async function () {
    this.timeout(120_000)
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets)
    await installCrd(server.client)
    await createNamespace(server.client, 'team-a')
  })
  after(async () => await server?.stop())

  const apply = async (document: JsonObject): Promise<string | undefined> => {
    try {
      await server.client.request(PATH, { method: 'POST', body: document })
      return undefined
    } catch (error) {
      if (error instanceof KubeError && (error.status === 422 || error.status === 400)) return error.message
      throw error
    }
  }

  it('takes the smallest policy and fills in what it leaves out', async () => {
    const stored = await server.client.request(PATH, { method: 'POST', body: policy({ selector: {} }) })
    expect(stored['spec']).to.deep.equal({ selector: {}, capture: 'Auto', durability: 'Local', onFailure: 'Block', optOut: 'Refuse', directPort: 'Close', unrecorded: 'Allow', repair: 'Report' })
    expect(parsePolicy(stored)).to.have.nested.property('policy.spec.capture', 'Auto')
  })

  for (const [wrong, text] of WRONG) {
    it(`refuses ${JSON.stringify(wrong).slice(0, 100)} with a clear text, and so does parsePolicy()`, async () => {
      expect(await apply(policy(wrong))).to.match(text)
      expect(parsePolicy(policy(wrong))).to.have.property('problems').that.is.not.empty
    })
  }

  it('agrees with parsePolicy() on whatever is written', async function () {
    this.timeout(120_000)
    const verdicts = { taken: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(spec, async written => {
        const document = policy(written as unknown as Json)
        const parsed = parsePolicy(document)
        const refusal = await apply(document)
        verdicts[refusal === undefined ? 'taken' : 'refused']++
        expect('problems' in parsed, `${refusal ?? 'taken'}; ${JSON.stringify(parsed)}`).to.equal(refusal !== undefined)
      }),
      { numRuns: 500 },
    )
    expect(Math.min(verdicts.taken, verdicts.refused)).to.be.greaterThan(30)
  })
})
