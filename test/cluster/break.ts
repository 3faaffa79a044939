/** What is broken on purpose in an installation, each with how it is mended. */

import { issueLeaf } from '../../src/webhook/certificates/issue.ts'
import { readState } from '../../src/webhook/certificates/secret.ts'
import { objectAt, objectsAt, stringsAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { get, INSTALLATION, kubectl, until } from './cluster.ts'

export type Mend = () => Promise<void>

const CERTIFICATES = 'steno-injector-certificates'
const DAY_MS = 86_400_000
/** Of a leaf as the injector makes it. */
const VALID_MS = 30 * DAY_MS

/** A right of a service account of the installation. */
export interface Right {
  /** `role` or `clusterrole` that gives it. */
  readonly from: readonly [kind: 'role' | 'clusterrole', name: string]
  readonly account: string
  readonly group: string
  /** Or `resource/subresource`. */
  readonly resource: string
  readonly verb: string
  readonly name?: string
}

/** Resolves when the API server goes by it. */
export async function withoutRight(right: Right): Promise<Mend> {
  const { from, resource, verb } = right
  const before = objectsAt(await get(...from, '-n', INSTALLATION), 'rules')
  const gives = (rule: JsonObject): boolean => stringsAt(rule, 'resources').includes(resource) && stringsAt(rule, 'verbs').includes(verb)
  const rules = before.map(rule => (gives(rule) ? { ...rule, verbs: stringsAt(rule, 'verbs').filter(each => each !== verb) } : rule)).filter(rule => stringsAt(rule, 'verbs').length > 0)
  await patch([...from], { rules })
  await until(`an account without ${verb} ${resource}`, async () => ((await has(right)) ? undefined : true))
  return async () => {
    await patch([...from], { rules: before })
    await until(`an account with ${verb} ${resource}`, async () => ((await has(right)) ? true : undefined))
  }
}

async function has({ account, group, resource: path, verb, name = '' }: Right): Promise<boolean> {
  const [resource = '', subresource = ''] = path.split('/')
  const spec = { user: `system:serviceaccount:${INSTALLATION}:${account}`, resourceAttributes: { namespace: INSTALLATION, verb, group, resource, subresource, name } }
  const review = JSON.parse(await kubectl(['create', '-f', '-', '-o', 'json'], JSON.stringify({ apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec }))) as JsonObject
  return objectAt(review, 'status')['allowed'] === true
}

/** A merge patch of something in the namespace of the installation. */
export async function patch(what: readonly string[], body: JsonObject): Promise<void> {
  await kubectl(['patch', ...what, '-n', INSTALLATION, '--type', 'merge', '--patch', JSON.stringify(body)])
}

export interface BrokenCertificate {
  /** The injector may write its Secret again, and renews by itself. */
  readonly letRenew: Mend
  /** The certificate of before is there again too. */
  readonly putBack: Mend
}

/** A certificate of the installation's own authority that ends so soon, or has ended, while the injector may not write another into its Secret. */
export async function certificateEndingIn(ms: number): Promise<BrokenCertificate> {
  const letRenew = await withoutRight({ from: ['role', CERTIFICATES], account: 'steno-injector', group: '', resource: 'secrets', verb: 'update', name: CERTIFICATES })
  const secret = await get('secret', CERTIFICATES, '-n', INSTALLATION)
  const { current } = readState(secret)
  if (current === undefined) throw new Error('the injector has no certificate yet')
  const { cert, key } = await issueLeaf(current.authority, current.leaf.names, Date.now() + ms - VALID_MS, VALID_MS)
  const put = async (data: Json): Promise<void> => await patch(['secret', CERTIFICATES], { data })
  await put({ 'tls.crt': Buffer.from(cert).toString('base64'), 'tls.key': Buffer.from(key).toString('base64') })
  const { 'tls.crt': certBefore = '', 'tls.key': keyBefore = '' } = objectAt(secret, 'data')
  return {
    letRenew,
    putBack: async () => {
      await put({ 'tls.crt': certBefore, 'tls.key': keyBefore })
      await letRenew()
    },
  }
}
