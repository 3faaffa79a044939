/** The certificate that the injector has, the one that it shows, and what the API server trusts. */

import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { connect } from 'node:tls'

import { hostOf, hostPort } from '../../../platform/address.ts'
import { objectAt, objectsAt, textAt } from '../../../policy/json.ts'
import type { JsonObject } from '../../../policy/json.ts'
import { SECRET } from '../../../webhook/certificates/issuer.ts'
import { SeeFirst } from '../check.ts'
import type { CheckResult } from '../check.ts'
import { note, ok, problem } from '../check.ts'
import { INJECTOR } from './subject.ts'
import type { ClusterSubject } from './subject.ts'

/** Whoever renews does so earlier: when so little of its time is left, nobody does. */
const LATE_SHARE = 1 / 5
const UNREACHED = 'pods are created without a recorder, or in strict namespaces not at all'

/** Where API servers reach the injector. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly isService: boolean
}

export function webhooksOf({ mutating, validating }: Awaited<ReturnType<ClusterSubject['configurations']>>): readonly JsonObject[] {
  return [...objectsAt(mutating, 'webhooks'), ...objectsAt(validating, 'webhooks')]
}

async function targetOf(subject: ClusterSubject, signal: AbortSignal): Promise<Target> {
  const url = webhooksOf(await subject.configurations(signal)).map(each => textAt(objectAt(each, 'clientConfig'), 'url') ?? '').find(each => URL.canParse(each))
  if (url === undefined) return { host: `${INJECTOR}.${await subject.installation(signal)}.svc`, port: 443, isService: true }
  const target = new URL(url)
  return { host: hostOf(target), port: Number(target.port || 443), isService: false }
}

/** As it is kept. Rejects with a KubeError; a text says why there is none. */
async function keptPem(subject: ClusterSubject, signal: AbortSignal): Promise<string | { readonly missing: string }> {
  const volumes = objectsAt(objectAt(objectAt(objectAt(await subject.deployment(INJECTOR, signal), 'spec'), 'template'), 'spec'), 'volumes')
  const name = textAt(objectAt(volumes.find(each => each['name'] === 'tls'), 'secret'), 'secretName') ?? SECRET
  const namespace = await subject.installation(signal)
  const secret = await subject.find(`/api/v1/namespaces/${namespace}/secrets/${name}`, signal)
  const data = textAt(secret?.['data'], 'tls.crt') ?? ''
  if (data === '') return { missing: `Secret ${name} of ${namespace} ${secret === undefined ? 'does not exist' : 'holds no tls.crt'}` }
  return Buffer.from(data, 'base64').toString()
}

export async function checkValidity(subject: ClusterSubject, signal: AbortSignal): Promise<CheckResult> {
  const kept = await keptPem(subject, signal)
  if (typeof kept !== 'string') return problem(kept.missing, UNREACHED, 'with certificates of its own the injector makes it: see its log; else see who should')
  const leaf = certificatesOf(kept)[0]
  if (leaf === undefined) return problem('tls.crt of the Secret is no certificate', UNREACHED, 'delete what it holds: the injector, or cert-manager, makes it anew')
  const { host } = await targetOf(subject, signal)
  const [from, to, now] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo), subject.now()]
  const until = new Date(to).toISOString()
  if (to <= now) return problem(`it ended ${until}`, UNREACHED, "see why nobody renews it: the injector's log, steno_certificate_steps_total, or cert-manager")
  if (from > now) return problem(`it begins ${new Date(from).toISOString()}`, UNREACHED, 'set the clocks of this machine and of whoever has issued it')
  if (leaf.checkHost(host) === undefined && leaf.checkIP(host) === undefined) return problem(`it is not for ${host}, by which API servers call it, but for ${leaf.subjectAltName ?? 'no name'}`, UNREACHED, `issue it for ${host}`)
  if (to - now < (to - from) * LATE_SHARE) return note(`it ends ${until}`, `it should have been renewed; when it has ended, ${UNREACHED}`, "see why nobody renews it: the injector's log, steno_certificate_steps_total, or cert-manager")
  return ok(`until ${until}`)
}

export async function checkTrust(subject: ClusterSubject, signal: AbortSignal): Promise<CheckResult> {
  const bundles = webhooksOf(await subject.configurations(signal)).map(each => textAt(objectAt(each, 'clientConfig'), 'caBundle') ?? '')
  if (bundles.length === 0) throw new SeeFirst('webhooks.installed')
  const change = "with certificates of its own the injector fills caBundle: see its log; with cert-manager its ca-injector does; else set injector.certificates.caBundle"
  const empty = bundles.filter(each => each === '').length
  if (empty > 0) return problem(`${empty} of ${bundles.length} webhooks have no caBundle`, UNREACHED, change)
  const trusted = [...new Set(bundles)].map(each => certificatesOf(Buffer.from(each, 'base64').toString()))
  const now = subject.now()
  if (trusted.some(each => !each.some(ca => Date.parse(ca.validTo) > now))) return problem('a caBundle holds no certificate that is still valid', UNREACHED, change)
  const kept = await keptPem(subject, signal).catch(() => undefined)
  // Who may not read the Secret may still see what is shown.
  const chain = typeof kept === 'string' ? certificatesOf(kept) : await shownBy(subject, signal)
  if (chain.length === 0) throw new SeeFirst('certificate.valid')
  const fits = (bundle: readonly X509Certificate[]): boolean => bundle.some(ca => chain.some(each => each.fingerprint256 === ca.fingerprint256 || (each.checkIssued(ca) && each.verify(ca.publicKey))))
  const stray = trusted.filter(each => !fits(each)).length
  if (stray > 0) return problem(`${stray === trusted.length ? 'no' : 'not every'} caBundle has the authority of the injector's certificate`, UNREACHED, change)
  return ok(`${bundles.length} webhooks trust its authority`)
}

export async function checkAnswer(subject: ClusterSubject, signal: AbortSignal): Promise<CheckResult> {
  const target = await targetOf(subject, signal)
  const place = hostPort(target.host, target.port)
  if (target.isService && !subject.inPod) return note('not looked at: only pods of the cluster reach its Service', 'whether it shows the certificate that it should is seen from there', 'run this in the cluster too: docs/troubleshooting.md')
  let shown: X509Certificate | undefined
  try {
    shown = await peerOf(target, signal)
  } catch (cause) {
    signal.throwIfAborted()
    return problem(`${place} does not answer: ${cause instanceof Error ? cause.message : String(cause)}`, UNREACHED, 'look at its pods and their log, its Service, and NetworkPolicies before it')
  }
  if (shown === undefined) return problem(`${place} shows no certificate`, UNREACHED, 'see what else listens there')
  const kept = await keptPem(subject, signal).catch(() => undefined)
  const leaf = typeof kept === 'string' ? certificatesOf(kept)[0] : undefined
  const until = new Date(shown.validTo).toISOString()
  if (leaf !== undefined) {
    if (leaf.fingerprint256 === shown.fingerprint256) return ok(`${place} shows the certificate of the Secret`)
    return problem(`${place} shows another certificate than the Secret holds, until ${until}`, `replicas take up a new one within a minute; when they do not, ${UNREACHED}`, "try again in a minute; then see the injector's log: it may not be able to read the Secret")
  }
  if (Date.parse(shown.validTo) <= subject.now()) return problem(`${place} shows a certificate that ended ${until}`, UNREACHED, "see the injector's log")
  return ok(`${place} shows a certificate until ${until}`)
}

/** None where it cannot be seen from here. */
async function shownBy(subject: ClusterSubject, signal: AbortSignal): Promise<readonly X509Certificate[]> {
  const target = await targetOf(subject, signal)
  if (target.isService && !subject.inPod) return []
  const shown = await peerOf(target, signal).catch(() => undefined)
  return shown === undefined ? [] : [shown]
}

async function peerOf({ host, port }: Target, signal: AbortSignal): Promise<X509Certificate | undefined> {
  return await new Promise((resolve, reject) => {
    // What it shows is looked at here; whether it is to be trusted is another check.
    const socket = connect({ host, port, rejectUnauthorized: false, ...(isIP(host) === 0 ? { servername: host } : {}) })
    const end = (): void => void socket.destroy(new Error('stopped'))
    signal.addEventListener('abort', end, { once: true })
    socket.once('error', reject)
    socket.once('close', () => signal.removeEventListener('abort', end))
    socket.once('secureConnect', () => {
      resolve(socket.getPeerX509Certificate())
      socket.destroy()
    })
  })
}

/** Those that can be read. */
function certificatesOf(pem: string): readonly X509Certificate[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).flatMap(each => {
    try {
      return new X509Certificate(each)
    } catch {
      return []
    }
  })
}
