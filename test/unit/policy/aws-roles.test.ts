import { expect } from 'chai'
import fc from 'fast-check'

import { decide } from '../../../src/inject/decide.ts'
import type { AwsInstallation } from '../../../src/policy/aws-installation.ts'
import { ROLE_PARTS, roleName, rolePart } from '../../../src/policy/aws-roles.ts'
import { objectAt, objectsAt } from '../../../src/policy/json.ts'
import type { JsonObject } from '../../../src/policy/json.ts'
import { digest, policyOf, settings } from '../../support/golden-pods.ts'
import { fuzzRuns } from '../../support/fuzz-runs.ts'

const AWS = { account: '123456789012', region: 'eu-west-1', cluster: 'prod', oidcProvider: 'arn:aws:iam::123456789012:oidc-provider/oidc.example/id/1', boundary: 'arn:aws:iam::123456789012:policy/boundary' }
const INSTALLATION: AwsInstallation = { ...AWS, partition: 'aws', rolePath: '/steno/', rolePrefix: 'steno' }
const ID = { namespace: 'team-a', policy: 'tools', purpose: 'ship', part: 0 } as const

describe('roleName()', () => {
  it('names cluster and namespace, and keeps apart what differs only in what is cut off', () => {
    expect(roleName(INSTALLATION, ID, digest)).to.match(/^steno-prod-team-a-[0-9a-f]{16}$/)
    const others = [{ ...ID, namespace: 'team-b' }, { ...ID, policy: 'other' }, { ...ID, purpose: 'work' as const }, { ...ID, part: 1 }]
    const names = [ID, ...others].map(id => roleName(INSTALLATION, id, digest))
    names.push(roleName({ ...INSTALLATION, cluster: 'Prod' }, ID, digest), roleName({ ...INSTALLATION, oidcProvider: `${AWS.oidcProvider}2` }, ID, digest))
    expect(new Set(names).size).to.equal(names.length)
  })

  it('is a name that IAM takes, whatever the cluster is called', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 100 }), fc.stringMatching(/^[a-z0-9][-a-z0-9]{0,61}[a-z0-9]$/), fc.stringMatching(/^[a-z0-9][-a-z0-9.]{0,251}[a-z0-9]$/), (cluster, namespace, policy) => {
        expect(roleName({ ...INSTALLATION, rolePrefix: 'p'.repeat(16), cluster }, { ...ID, namespace, policy }, digest)).to.match(/^[\w+=,.@-]{18,64}$/)
      }),
      fuzzRuns,
    )
  })
})

describe('rolePart()', () => {
  it('spreads service accounts over all parts', () => {
    const counts = new Map<number, number>()
    for (let index = 0; index < 1000; index++) {
      const part = rolePart(`account-${index}`, digest)
      counts.set(part, (counts.get(part) ?? 0) + 1)
    }
    expect([...counts.keys()].toSorted()).to.deep.equal(Array.from({ length: ROLE_PARTS }, (_each, index) => index))
    expect(Math.max(...counts.values())).to.be.lessThan(200)
  })
})

describe("the recorder's role", () => {
  const roleOf = (aws: JsonObject, pod: JsonObject, specs: Readonly<Record<string, JsonObject>> = { tools: {} }): unknown => {
    const policies = Object.entries(specs).map(([name, spec]) => policyOf({ apiVersion: 'steno.dev/v1alpha1', kind: 'SessionPolicy', metadata: { name, namespace: 'team-a' }, spec: { selector: {}, ...spec } }))
    const found = decide({ pod: { apiVersion: 'v1', kind: 'Pod', spec: { containers: [{ name: 'server', ports: [{ name: 'mcp', containerPort: 8080 }] }], ...pod } }, namespace: { name: 'team-a', labels: {}, annotations: {} }, policies, settings: settings(aws), oldestNodeMinor: 34, digest })
    const recorder = objectsAt(objectAt(found.pod, 'spec'), 'initContainers')[0]
    return objectsAt(recorder, 'env').find(each => each['name'] === 'AWS_ROLE_ARN')?.['value']
  }
  const arn = (policy: string, account: string): string => `arn:aws:iam::123456789012:role/steno/${roleName(INSTALLATION, { ...ID, policy, part: rolePart(account, digest) }, digest)}`

  it('is the one that the operator makes for its service account, where it makes any', () => {
    expect(roleOf({ roleArn: undefined, aws: AWS }, {})).to.equal(arn('tools', 'default'))
    expect(roleOf({ roleArn: undefined, aws: AWS }, { serviceAccountName: 'mcp' })).to.equal(arn('tools', 'mcp'))
  })

  it('is that of the policy that names the sink, when several select the pod', () => {
    expect(roleOf({ roleArn: undefined, aws: AWS }, {}, { a: {}, b: { sink: { firehose: { stream: 's', region: 'eu-west-1' } } } })).to.equal(arn('b', 'default'))
    expect(roleOf({ roleArn: undefined, aws: AWS }, {}, { a: {}, b: {} })).to.equal(arn('a', 'default'))
  })

  it('is the one that the installation names, where it names one', () => {
    expect(roleOf({ aws: AWS }, {})).to.equal('arn:aws:iam::123456789012:role/steno')
    expect(roleOf({ roleArn: undefined }, {})).to.equal(undefined)
  })

  it('is not made up from settings that are wrong', () => {
    for (const [field, value] of [['account', 123456789012], ['oidcProvider', 'oidc.example'], ['rolePath', 'steno'], ['rolePrefix', 'a'.repeat(17)], ['boundary', 'none'], ['cluster', ''], ['unknown', 1]] as const) {
      expect(() => settings({ aws: { ...AWS, [field]: value } }), field).to.throw(`aws.${field}`)
    }
  })
})
