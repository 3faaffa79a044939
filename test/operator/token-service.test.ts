/** The double of AWS's token service, by which trusts of roles are tried: it takes what AWS would take, of tokens that a real API server signs. */

import { createHmac, generateKeyPairSync, sign } from 'node:crypto'

import { FirehoseClient, PutRecordBatchCommand } from '@aws-sdk/client-firehose'
import { expect } from 'chai'

import { objectAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'
import { startAwsDouble, STREAM } from '../support/aws/double.ts'
import type { AwsDouble } from '../support/aws/double.ts'
import { startIamDouble } from '../support/aws/iam.ts'
import type { IamDouble, StoredRole } from '../support/aws/iam.ts'
import { ISSUER, PROVIDER, providerOf } from '../support/aws/installation.ts'
import { altered, takeOn } from '../support/aws/take-on.ts'
import type { IdentityProvider } from '../support/aws/web-identity.ts'
import { createNamespace, kubeAssets, startApiServer } from '../support/kube-apiserver.ts'
import type { ApiServer } from '../support/kube-apiserver.ts'

const AUDIENCE = 'sts.amazonaws.com'
const TEN_MINUTES_S = 600
const HOST = ISSUER.slice('https://'.length)
const OWN = 'system:serviceaccount:team-a:default'

function trust(condition: JsonObject = { StringEquals: { [`${HOST}:aud`]: AUDIENCE, [`${HOST}:sub`]: [OWN] } }, provider = PROVIDER): string {
  return JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: { Federated: provider }, Action: 'sts:AssumeRoleWithWebIdentity', Condition: condition }] })
}

function unsigned(header: JsonObject, claims: JsonObject): string {
  return [header, claims].map(each => Buffer.from(JSON.stringify(each)).toString('base64url')).join('.')
}

function partOf(token: string, index: 0 | 1): JsonObject {
  return JSON.parse(Buffer.from(token.split('.')[index] ?? '', 'base64url').toString()) as JsonObject
}

describe('the token service of the double, with tokens of a real API server', function () {
  this.timeout(60_000)
  let server: ApiServer
  let provider: IdentityProvider
  let iam: IamDouble
  let firehose: AwsDouble
  let role: StoredRole

  before(async function () {
    const assets = kubeAssets()
    if (assets === undefined) return this.skip()
    server = await startApiServer(assets, { issuer: ISSUER })
    for (const name of ['team-a', 'team-b']) await createNamespace(server.client, name)
    await server.client.request('/api/v1/namespaces/team-a/serviceaccounts', { method: 'POST', body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'neighbour' } } })
    provider = await providerOf(server)
    iam = await startIamDouble({ providers: [provider] })
    firehose = await startAwsDouble({ tokens: iam.tokens })
  })
  after(async () => {
    await firehose?.close()
    await iam?.close()
    await server?.stop()
  })
  beforeEach(() => {
    iam.tokensAheadMs = 0
    iam.roles.clear()
    role = iam.put('recorder', { trust: trust() })
  })

  const tokenOf = async (account = 'team-a/default', audience = AUDIENCE): Promise<string> => {
    const [namespace = '', name = ''] = account.split('/')
    const answer = await server.client.request(`/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`, { method: 'POST', body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences: [audience], expirationSeconds: TEN_MINUTES_S } } })
    return textAt(objectAt(answer, 'status'), 'token') ?? ''
  }
  const refusal = async (token: string, arn = role.arn): Promise<string> => {
    const answer = await takeOn(iam.endpoint, arn, token)
    return typeof answer === 'string' ? answer : 'credentials'
  }

  it('gives credentials for a token of the service account that the role trusts', async () => {
    expect(await refusal(await tokenOf())).to.equal('credentials')
  })

  for (const [what, account] of [['another service account of the namespace', 'team-a/neighbour'], ['a service account of that name in another namespace', 'team-b/default']] as const) {
    it(`denies the role to ${what}`, async () => expect(await refusal(await tokenOf(account))).to.equal('AccessDenied'))
  }

  it('denies a role that does not exist', async () => expect(await refusal(await tokenOf(), `${role.arn}-2`)).to.equal('AccessDenied'))

  it('refuses a token for another audience', async () => expect(await refusal(await tokenOf('team-a/default', 'https://elsewhere.example'))).to.equal('InvalidIdentityToken'))

  it('refuses a token that has ended', async () => {
    const token = await tokenOf()
    iam.tokensAheadMs = (TEN_MINUTES_S - 30) * 1000
    expect(await refusal(token)).to.equal('credentials')
    iam.tokensAheadMs = (TEN_MINUTES_S + 30) * 1000
    expect(await refusal(token)).to.equal('ExpiredTokenException')
  })

  describe('refuses a token that the API server did not sign:', () => {
    const forged: readonly (readonly [string, (own: string, neighbours: string) => string])[] = [
      ['with another subject', (_own, neighbours) => altered(neighbours, { sub: OWN })],
      ['with a later end', own => altered(own, { exp: Number(partOf(own, 1)['exp']) + 3600 })],
      ['of a key that is not registered', own => {
        const text = own.split('.').slice(0, 2).join('.')
        return `${text}.${sign('sha256', Buffer.from(text), generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey).toString('base64url')}`
      }],
      ['without a signature', own => `${unsigned({ ...partOf(own, 0), alg: 'none' }, partOf(own, 1))}.`],
      ['by a secret that is the public key', own => {
        const text = unsigned({ ...partOf(own, 0), alg: 'HS256' }, partOf(own, 1))
        return `${text}.${createHmac('sha256', JSON.stringify(provider.keys[0])).update(text).digest('base64url')}`
      }],
      ['of another issuer', own => altered(own, { iss: 'https://oidc.example' })],
      ['that names a key which is not there', own => `${unsigned({ ...partOf(own, 0), kid: 'x' }, partOf(own, 1))}.${own.split('.')[2] ?? ''}`],
      ['that is none', () => 'token'],
    ]
    for (const [what, forge] of forged) it(what, async () => expect(await refusal(forge(await tokenOf(), await tokenOf('team-a/neighbour')))).to.equal('InvalidIdentityToken'))
  })

  it('knows a token of a key on a curve', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    const curve = await startIamDouble({ providers: [{ ...provider, keys: [{ ...(publicKey.export({ format: 'jwk' }) as JsonObject), kid: 'curve', alg: 'ES256' }] }] })
    const text = unsigned({ alg: 'ES256', kid: 'curve' }, partOf(await tokenOf(), 1))
    const token = `${text}.${sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
    const { arn } = curve.put('recorder', { trust: trust() })
    expect(await takeOn(curve.endpoint, arn, token)).to.have.property('accessKeyId')
    expect(await takeOn(curve.endpoint, arn, altered(token, { jti: 'x' }))).to.equal('InvalidIdentityToken')
    await curve.close()
  })

  for (const [what, document] of [
    ['names no subject of the token', trust({ StringEquals: { [`${HOST}:aud`]: AUDIENCE, [`${HOST}:sub`]: ['system:serviceaccount:team-a:other'] } })],
    ['names another audience', trust({ StringEquals: { [`${HOST}:aud`]: 'other', [`${HOST}:sub`]: OWN } })],
    ['asks about another issuer', trust({ StringEquals: { 'oidc.example:aud': AUDIENCE, 'oidc.example:sub': OWN } })],
    ['trusts another provider', trust(undefined, 'arn:aws:iam::123456789012:oidc-provider/oidc.example')],
  ] as const) {
    it(`denies a role whose trust ${what}`, async () => {
      role.trust = document
      expect(await refusal(await tokenOf())).to.equal('AccessDenied')
    })
  }

  it('lets the credentials do at another service what the role may do, while it exists', async () => {
    const given = await takeOn(firehose.endpoint, role.arn, await tokenOf())
    if (typeof given === 'string') return expect.fail(given)
    const client = new FirehoseClient({ region: 'us-east-1', endpoint: firehose.endpoint, credentials: given, maxAttempts: 1 })
    const put = async (): Promise<string> => await client.send(new PutRecordBatchCommand({ DeliveryStreamName: STREAM, Records: [{ Data: Buffer.from('x') }] })).then(({ FailedPutCount }) => `${FailedPutCount} failed`, (error: unknown) => (error instanceof Error ? error.name : ''))
    const may = (stream: string): void => void role.inline.set('steno', JSON.stringify({ Version: '2012-10-17', Statement: { Effect: 'Allow', Action: 'firehose:PutRecordBatch', Resource: `arn:aws:firehose:us-east-1:123456789012:deliverystream/${stream}` } }))
    expect(await put()).to.equal('AccessDeniedException')
    may('other')
    expect(await put()).to.equal('AccessDeniedException')
    may(STREAM)
    expect(await put()).to.equal('0 failed')
    expect(firehose.calls.map(each => each.role)).to.deep.equal([role.arn])
    iam.roles.delete(role.name)
    expect(await put()).to.equal('AccessDeniedException')
    client.destroy()
  })
})
