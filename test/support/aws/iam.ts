/**
 * IAM, EKS access entries and the token service on a real socket, for what moto cannot be made to do: fail on command, be slow to know of what was just made,
 * give documents back in another form, refuse who may not, and check tokens against trusts. Requests are signed, or refused.
 */

import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'

import { isObject, objectAt } from '../../../src/policy/json.ts'
import type { Json, JsonObject } from '../../../src/policy/json.ts'
import { listenOnLoopback } from '../loopback.ts'
import { bodyOf } from '../recorder.ts'
import { STATIC_KEYS } from './double.ts'
import { isAllowed } from './policy-rules.ts'
import { signatureProblem } from './signature.ts'
import type { Keys } from './signature.ts'
import { createTokenService } from './token-service.ts'
import type { AssumableRole, TokenService } from './token-service.ts'
import type { IdentityProvider } from './web-identity.ts'

export interface StoredRole {
  readonly name: string
  readonly path: string
  readonly arn: string
  trust: string
  boundary: string | undefined
  readonly tags: Map<string, string>
  readonly inline: Map<string, string>
  readonly attached: Set<string>
  /** Reads to which it is not known yet. */
  hiddenReads: number
  /** Attempts to take it on that fail still. */
  hiddenTrust: number
}

export interface StoredEntry {
  groups: readonly string[]
  readonly tags: Readonly<Record<string, string>>
}

export interface Refusal {
  readonly status: number
  readonly code: string
}

export interface IamDouble {
  readonly endpoint: string
  readonly roles: Map<string, StoredRole>
  /** By ARN of the principal. */
  readonly entries: Map<string, StoredEntry>
  /** Managed policies that exist. */
  readonly managed: Set<string>
  /** What who asks may do; undefined may do all. */
  permissions: readonly JsonObject[] | undefined
  /** Requests that the permissions refused: `iam:CreateRole arn:…`. */
  readonly refused: string[]
  /** Decides about each call before it is done. */
  fault: ((action: string, about: string) => Refusal | 'reset' | undefined) | undefined
  /** Of roles that are made from now on. */
  lag: { readonly reads: number; readonly trust: number }
  /** ms that the token service's clock is ahead of this machine's when it looks at the end of tokens. */
  tokensAheadMs: number
  /** Its token service, for the double of a service at another address. */
  readonly tokens: TokenService
  /** Makes a role beside Steno. */
  put(name: string, role?: Partial<Pick<StoredRole, 'trust' | 'boundary'>> & { readonly tags?: Readonly<Record<string, string>> }): StoredRole
  /** Lets all credentials that were handed out end. */
  revoke(): void
  close(): Promise<void>
}

export const ACCOUNT = '123456789012'
export const PATH = '/steno/'
/** Role of the operator itself. */
export const OPERATOR_ROLE = `arn:aws:iam::${ACCOUNT}:role/steno-operator`
const MAX_TRUST = 2048

export interface AccountOptions {
  /** Issuers whose tokens are taken; none when left out. */
  readonly providers?: readonly IdentityProvider[]
  /** Roles that exist and that nobody changes, by ARN. */
  readonly standing?: Readonly<Record<string, AssumableRole>>
  /** What boundaries say, by ARN; one that is not here limits nothing. */
  readonly boundaries?: Readonly<Record<string, JsonObject>>
}

class Refused extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message = code) {
    super(message)
    this.status = status
    this.code = code
  }
}

export async function startIamDouble({ providers = [], standing = {}, boundaries = {} }: AccountOptions = {}): Promise<IamDouble> {
  const roles = new Map<string, StoredRole>()
  const entries = new Map<string, StoredEntry>()
  const roleOf = (arn: string): AssumableRole | undefined => {
    const role = [...roles.values()].find(each => each.arn === arn)
    if (role === undefined) return standing[arn]
    const boundary = boundaries[role.boundary ?? '']
    const policies = [...role.inline.values()].map(each => JSON.parse(each) as JsonObject)
    return { trust: JSON.parse(role.trust) as JsonObject, limits: [policies, ...(boundary === undefined ? [] : [[boundary]])], isLate: () => role.hiddenTrust > 0 && role.hiddenTrust-- > 0 }
  }
  const tokens = createTokenService({ providers, roleOf, nowMs: () => Date.now() + double.tokensAheadMs })
  const add = (name: string, path: string, trust: string, boundary: string | undefined, tags: Readonly<Record<string, string>>): StoredRole => {
    const role: StoredRole = { name, path, arn: `arn:aws:iam::${ACCOUNT}:role${path}${name}`, trust: normalised(trust), boundary, tags: new Map(Object.entries(tags)), inline: new Map(), attached: new Set(), hiddenReads: double.lag.reads, hiddenTrust: double.lag.trust }
    roles.set(name, role)
    return role
  }
  const double: IamDouble = {
    get endpoint() {
      return listening.origin
    },
    roles,
    entries,
    managed: new Set(['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess', 'arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess']),
    permissions: undefined,
    refused: [],
    fault: undefined,
    lag: { reads: 0, trust: 0 },
    tokensAheadMs: 0,
    tokens,
    put: (name, { trust = '{}', boundary, tags = {} } = {}) => add(name, PATH, trust, boundary, tags),
    revoke: tokens.revoke,
    close: async () => await listening.close(),
  }

  const permit = (action: string, resource: string, context: Readonly<Record<string, string | readonly string[] | undefined>>): void => {
    const present = Object.fromEntries(Object.entries(context).flatMap(([key, value]) => (value === undefined ? [] : [[key.toLowerCase(), value]])))
    if (double.permissions === undefined || isAllowed(double.permissions, { action, resource, context: present })) return
    double.refused.push(`${action} ${resource}`)
    throw new Refused(403, 'AccessDenied', `User is not authorized to perform: ${action} on resource: ${resource}`)
  }
  const visible = (name: string): StoredRole => {
    const role = roles.get(name)
    if (role === undefined || role.hiddenReads > 0) {
      if (role !== undefined) role.hiddenReads--
      throw new Refused(404, 'NoSuchEntity', `The role with name ${name} cannot be found.`)
    }
    return role
  }

  const iam = (form: URLSearchParams): string => {
    const action = form.get('Action') ?? ''
    const name = form.get('RoleName') ?? ''
    const policy = form.get('PolicyName') ?? ''
    const policyArn = form.get('PolicyArn') ?? ''
    const stored = roles.get(name)
    const arn = stored?.arn ?? `arn:aws:iam::${ACCOUNT}:role${form.get('Path') ?? PATH}${name}`
    const newTags = tagsOf(form)
    const context = {
      'iam:permissionsboundary': action === 'CreateRole' ? (form.get('PermissionsBoundary') ?? undefined) : stored?.boundary,
      ...(policyArn === '' ? {} : { 'iam:policyarn': policyArn }),
      ...Object.fromEntries([...(stored?.tags ?? [])].map(([key, value]) => [`aws:ResourceTag/${key}`, value])),
      ...Object.fromEntries(Object.entries(newTags).map(([key, value]) => [`aws:RequestTag/${key}`, value])),
      ...(Object.keys(newTags).length === 0 ? {} : { 'aws:tagkeys': Object.keys(newTags) }),
    }
    permit(`iam:${action}`, arn, context)
    // Who makes something with tags needs the right to tag it too.
    if (action === 'CreateRole' && Object.keys(newTags).length > 0) permit('iam:TagRole', arn, context)
    switch (action) {
      case 'GetRole': {
        const role = visible(name)
        const tags = [...role.tags].map(([key, value]) => `<member><Key>${xml(key)}</Key><Value>${xml(value)}</Value></member>`).join('')
        const boundary = role.boundary === undefined ? '' : `<PermissionsBoundary><PermissionsBoundaryType>Policy</PermissionsBoundaryType><PermissionsBoundaryArn>${role.boundary}</PermissionsBoundaryArn></PermissionsBoundary>`
        return `<Role><Path>${role.path}</Path><RoleName>${role.name}</RoleName><RoleId>AROA</RoleId><Arn>${role.arn}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate><AssumeRolePolicyDocument>${encoded(role.trust)}</AssumeRolePolicyDocument>${boundary}<Tags>${tags}</Tags></Role>`
      }
      case 'CreateRole': {
        const trust = form.get('AssumeRolePolicyDocument') ?? ''
        if (trust.replaceAll(/\s/g, '').length > MAX_TRUST) throw new Refused(409, 'LimitExceeded', 'Cannot exceed quota for ACLSizePerRole: 2048')
        if (!/^[\w+=,.@-]{1,64}$/.test(name)) throw new Refused(400, 'ValidationError', name)
        if ([...roles.keys()].some(each => each.toLowerCase() === name.toLowerCase())) throw new Refused(409, 'EntityAlreadyExists', `Role with name ${name} already exists.`)
        const role = add(name, form.get('Path') ?? '/', trust, form.get('PermissionsBoundary') ?? undefined, newTags)
        return `<Role><Path>${role.path}</Path><RoleName>${name}</RoleName><RoleId>AROA</RoleId><Arn>${role.arn}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>`
      }
      case 'UpdateAssumeRolePolicy':
        if ((form.get('PolicyDocument') ?? '').replaceAll(/\s/g, '').length > MAX_TRUST) throw new Refused(409, 'LimitExceeded')
        visible(name).trust = normalised(form.get('PolicyDocument') ?? '')
        return ''
      case 'TagRole':
        for (const [key, value] of Object.entries(newTags)) visible(name).tags.set(key, value)
        return ''
      case 'DeleteRole': {
        const role = visible(name)
        if (role.inline.size > 0 || role.attached.size > 0) throw new Refused(409, 'DeleteConflict', 'Cannot delete entity, must delete policies first.')
        roles.delete(name)
        return ''
      }
      case 'ListRolePolicies':
        return `<PolicyNames>${[...visible(name).inline.keys()].map(each => `<member>${xml(each)}</member>`).join('')}</PolicyNames><IsTruncated>false</IsTruncated>`
      case 'GetRolePolicy': {
        const document = visible(name).inline.get(policy)
        if (document === undefined) throw new Refused(404, 'NoSuchEntity')
        return `<RoleName>${name}</RoleName><PolicyName>${policy}</PolicyName><PolicyDocument>${encoded(document)}</PolicyDocument>`
      }
      case 'PutRolePolicy':
        visible(name).inline.set(policy, normalised(form.get('PolicyDocument') ?? ''))
        return ''
      case 'DeleteRolePolicy':
        if (!visible(name).inline.delete(policy)) throw new Refused(404, 'NoSuchEntity')
        return ''
      case 'ListAttachedRolePolicies':
        return `<AttachedPolicies>${[...visible(name).attached].map(each => `<member><PolicyName>${each.split('/').at(-1) ?? ''}</PolicyName><PolicyArn>${each}</PolicyArn></member>`).join('')}</AttachedPolicies><IsTruncated>false</IsTruncated>`
      case 'AttachRolePolicy':
        if (!double.managed.has(policyArn)) throw new Refused(404, 'NoSuchEntity', `Policy ${policyArn} does not exist or is not attachable.`)
        visible(name).attached.add(policyArn)
        return ''
      case 'DetachRolePolicy':
        if (!visible(name).attached.delete(policyArn)) throw new Refused(404, 'NoSuchEntity')
        return ''
      default:
        throw new Refused(400, 'InvalidAction', action)
    }
  }

  const assume = (form: URLSearchParams): string => {
    const answer = tokens.assume(form)
    if ('result' in answer) return answer.result
    throw new Refused(answer.status, answer.code, answer.message)
  }

  const eks = (method: string, path: string, body: JsonObject): JsonObject => {
    const [, cluster = '', principal] = /^\/clusters\/([^/]+)\/access-entries(?:\/(.+))?$/.exec(path) ?? []
    const about = principal ?? String(body['principalArn'])
    const action = { GET: 'DescribeAccessEntry', POST: principal === undefined ? 'CreateAccessEntry' : 'UpdateAccessEntry', DELETE: 'DeleteAccessEntry' }[method] ?? method
    const stored = entries.get(about)
    const groups = Array.isArray(body['kubernetesGroups']) ? body['kubernetesGroups'].map(String) : undefined
    const tags = Object.fromEntries(Object.entries(objectAt(body, 'tags')).map(([key, value]) => [key, String(value)]))
    const fault = double.fault?.(`eks:${action}`, about)
    if (fault !== undefined && fault !== 'reset') throw new Refused(fault.status, fault.code)
    const arn = `arn:aws:eks:eu-west-1:${ACCOUNT}:access-entry/${cluster}/role/${ACCOUNT}/${about.split('/').at(-1) ?? ''}/1`
    const context = {
      'eks:kubernetesgroups': groups,
      'eks:principalarn': action === 'CreateAccessEntry' ? about : undefined,
      'eks:accessentrytype': action === 'CreateAccessEntry' ? String(body['type']) : undefined,
      ...Object.fromEntries(Object.entries(stored?.tags ?? {}).map(([key, value]) => [`aws:ResourceTag/${key}`, value])),
      ...Object.fromEntries(Object.entries(tags).map(([key, value]) => [`aws:RequestTag/${key}`, value])),
    }
    permit(`eks:${action}`, action === 'CreateAccessEntry' ? `arn:aws:eks:eu-west-1:${ACCOUNT}:cluster/${cluster}` : arn, context)
    if (action === 'CreateAccessEntry' && Object.keys(tags).length > 0) permit('eks:TagResource', arn, context)
    if (action === 'CreateAccessEntry') {
      if (stored !== undefined) throw new Refused(409, 'ResourceInUseException', 'The specified access entry resource is already in use on this cluster.')
      entries.set(about, { groups: groups ?? [], tags })
      return { accessEntry: { principalArn: about } }
    }
    if (stored === undefined) throw new Refused(404, 'ResourceNotFoundException', 'The specified principalArn could not be found.')
    if (action === 'DeleteAccessEntry') entries.delete(about)
    if (action === 'UpdateAccessEntry') stored.groups = groups ?? []
    return { accessEntry: { principalArn: about, kubernetesGroups: [...stored.groups], tags: stored.tags, clusterName: cluster } }
  }

  const answer = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const body = await bodyOf(req)
    const path = decodeURIComponent(req.url ?? '')
    const isEks = path.startsWith('/clusters/')
    const form = new URLSearchParams(isEks ? '' : body.toString())
    const action = form.get('Action') ?? ''
    const isToken = action === 'AssumeRoleWithWebIdentity'
    try {
      const fault = isEks ? undefined : double.fault?.(`${isToken ? 'sts' : 'iam'}:${action}`, form.get('RoleName') ?? form.get('RoleArn') ?? '')
      if (fault === 'reset') return void req.socket.resetAndDestroy()
      if (fault !== undefined) throw new Refused(fault.status, fault.code)
      if (!isToken) {
        const keysOf = (id: string): Keys | undefined => (id === STATIC_KEYS.id ? { secret: STATIC_KEYS.secret } : tokens.keysOf(id))
        const problem = signatureProblem({ method: req.method ?? '', url: req.url ?? '', headers: req.headers, body }, keysOf, { nowMs: Date.now(), region: 'eu-west-1' })
        if (problem !== undefined) throw new Refused(403, problem.code === 'UnrecognizedClientException' ? 'InvalidClientTokenId' : problem.code, problem.message)
      }
      if (isEks) {
        const given = eks(req.method ?? '', path, body.length === 0 ? {} : (JSON.parse(body.toString()) as JsonObject))
        return void res.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(given))
      }
      const result = isToken ? assume(form) : iam(form)
      const space = isToken ? 'https://sts.amazonaws.com/doc/2011-06-15/' : 'https://iam.amazonaws.com/doc/2010-05-08/'
      res.writeHead(200, { 'Content-Type': 'text/xml' }).end(`<${action}Response xmlns="${space}"><${action}Result>${result}</${action}Result><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></${action}Response>`)
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      if (isEks) res.writeHead(error.status, { 'Content-Type': 'application/json', 'x-amzn-ErrorType': error.code }).end(JSON.stringify({ message: error.message }))
      else res.writeHead(error.status, { 'Content-Type': 'text/xml' }).end(`<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>${error.code}</Code><Message>${xml(error.message)}</Message></Error><RequestId>r</RequestId></ErrorResponse>`)
    }
  }
  const server = createServer((req, res) => void answer(req, res).catch((error: unknown) => res.destroy(error instanceof Error ? error : undefined)))
  const listening = await listenOnLoopback(server)
  return double
}

/** Members in another order, lists of one as single values: as IAM likes to give documents back. */
function normalised(document: string): string {
  const turn = (value: Json | undefined): Json => {
    if (Array.isArray(value)) return value.length === 1 ? turn(value[0]) : value.map(turn).toReversed()
    return isObject(value) ? Object.fromEntries(Object.entries(value).toReversed().map(([key, each]) => [key, key === 'Statement' && Array.isArray(each) ? each.map(turn) : turn(each)])) : (value ?? null)
  }
  return JSON.stringify(turn(JSON.parse(document) as Json))
}

function tagsOf(form: URLSearchParams): Readonly<Record<string, string>> {
  const tags: Record<string, string> = {}
  for (let index = 1; form.has(`Tags.member.${index}.Key`); index++) tags[form.get(`Tags.member.${index}.Key`) ?? ''] = form.get(`Tags.member.${index}.Value`) ?? ''
  return tags
}

/** RFC 3986, as IAM encodes documents. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
